"""What the templates promise: each a function from all templates to a list of breaches, empty if it is kept.

They look at the templates as plain data, so that a test can break a copy and see the breach reported.
"""

from tests.infrastructure.promises import edge, functions, house_rules, network, operations, roles, service
from tests.infrastructure.promises.registry import PROMISES

__all__ = ["PROMISES", "edge", "functions", "house_rules", "network", "operations", "roles", "service"]
