"""The custom resources of the templates and the functions behind them fit together.

A property the function doesn't know, or a call its role doesn't allow, would show up amid a deploy.
"""

import dataclasses
import importlib
import inspect
from types import ModuleType
from typing import Any

import pytest

from custom_resources import properties as typed
from tests.infrastructure.cloudformation import all_resources, get_att, load_templates

TEMPLATES = load_templates()
CUSTOM_RESOURCES = [
    (stem, name, resource)
    for stem, template in TEMPLATES.items()
    for name, resource in template["Resources"].items()
    if resource["Type"].startswith("Custom::")
]
IDS = [f"{stem}.{name}" for stem, name, _ in CUSTOM_RESOURCES]


def function_of(stem: str, resource: dict[str, Any]) -> dict[str, Any]:
    name = str(get_att(resource["Properties"]["ServiceToken"])).removesuffix(".Arn")
    return dict(TEMPLATES[stem]["Resources"][name]["Properties"])


def module_of(stem: str, resource: dict[str, Any]) -> ModuleType:
    return importlib.import_module(function_of(stem, resource)["Handler"].rpartition(".")[0])


def model_of(module: ModuleType) -> Any:
    """Return the dataclass of a resource's properties."""
    (model,) = [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if dataclasses.is_dataclass(value)
        and value.__module__ == module.__name__
        and value.__name__.endswith("Properties")
    ]
    return model


@pytest.mark.parametrize(("stem", "name", "resource"), CUSTOM_RESOURCES, ids=IDS)
def test_the_function_knows_every_property_and_gets_every_one_it_needs(
    stem: str, name: str, resource: dict[str, Any]
) -> None:
    module = module_of(stem, resource)
    assert callable(module.handler)
    fields = dataclasses.fields(model_of(module))
    known = {typed.property_name(field.name) for field in fields}
    needed = {typed.property_name(field.name) for field in fields if field.default is dataclasses.MISSING}
    given = set(resource["Properties"]) - typed.RESERVED
    assert needed <= given <= known


# ECS invokes the one, and that one the other.
SMOKE_TEST = {"smoke-test.HookFunction.Arn", "smoke-test.ProbeFunction.Arn"}


def test_every_function_stands_behind_a_custom_resource_or_is_the_smoke_test() -> None:
    tokens = {
        f"{stem}.{get_att(resource['Properties']['ServiceToken'])}" for stem, _, resource in CUSTOM_RESOURCES
    }
    functions = {f"{name}.Arn" for name, _ in all_resources(TEMPLATES, "AWS::Lambda::Function")}
    assert functions == tokens | SMOKE_TEST
