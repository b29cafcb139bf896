"""The promises by name, and what they are written with."""

from collections.abc import Callable
from typing import Any

from tests.infrastructure.cloudformation import (
    Template,
    Templates,
    resources,
)
from tests.infrastructure.server_source import constant, default

SERVER_PORT = default("PORT")
TEST_PORT = 9001
HEALTH_PATH = constant("health", "HEALTH_PATH")

Promise = Callable[[Templates], list[str]]

PROMISES: dict[str, Promise] = {}


def promise(function: Promise) -> Promise:
    """Enter a function into PROMISES under its own name, which reads as a sentence."""
    PROMISES[function.__name__] = function
    return function


def only(template: Template, resource_type: str) -> dict[str, Any]:
    """Return the properties of the one resource of a type; raises ValueError if there isn't exactly one."""
    (properties,) = resources(template, resource_type).values()
    return properties


def containers(templates: Templates) -> list[dict[str, Any]]:
    """Return the task's containers, the server's first; those that a condition decides on are among them."""
    defined = only(templates["fargate"], "AWS::ECS::TaskDefinition")["ContainerDefinitions"]
    return [each["Fn::If"][1] if "Fn::If" in each else each for each in defined]


def target_groups(templates: Templates) -> dict[str, dict[str, Any]]:
    """Return the properties of the blue and the green target group by their logical id."""
    return resources(templates["alb"], "AWS::ElasticLoadBalancingV2::TargetGroup")


def differences(what: str, actual: Any, expected: Any) -> list[str]:
    return [] if actual == expected else [f"{what} is {actual!r}, not {expected!r}"]
