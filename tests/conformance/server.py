"""The generated server with the suite's fixtures in it: `python -m tests.conformance.server <package>`.

Everything but the list of tools is what the package's own command line starts.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from .fixtures import contents, notifications, requests, rounds

if __name__ == "__main__":
    package = sys.argv[1]
    tools: Any = importlib.import_module(f"{package}.tools")
    tools.TOOLS = (*tools.TOOLS, contents, notifications, requests, rounds)
    sys.exit(importlib.import_module(f"{package}.__main__").main([]))
