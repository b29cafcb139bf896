"""The custom resources of the templates and the functions behind them fit together.

A property the function doesn't know, or a call its role doesn't allow, would show up amid a deploy.
"""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from botocore import xform_name
from botocore.session import Session

from custom_resources import properties as typed
from tests.infrastructure.cloudformation import ROOT, all_resources, get_att, load_templates, walk

TEMPLATES = load_templates()
CUSTOM_RESOURCES = [
    (stem, name, resource)
    for stem, template in TEMPLATES.items()
    for name, resource in template["Resources"].items()
    if resource["Type"].startswith("Custom::")
]
IDS = [f"{stem}.{name}" for stem, name, _ in CUSTOM_RESOURCES]

# botocore's name of a service whose operations are named like its IAM actions, and the prefix of the actions
SERVICES = {
    "bedrock-agentcore-control": "bedrock-agentcore",
    "codebuild": "codebuild",
    "ec2": "ec2",
    "ecr": "ecr",
    "logs": "logs",
}


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


def imported_modules(module: ModuleType) -> set[Path]:
    """Return the source files of a handler and of the modules it imports for itself."""
    path = Path(str(module.__file__))
    names = re.findall(r"^from custom_resources\.(\w+) import", path.read_text(), re.MULTILINE)
    own = {name for name in names if name not in ("aws", "errors", "lifecycle", "properties", "waiting")}
    return {path} | {ROOT / "custom_resources" / f"{name}.py" for name in own}


def actions_called(module: ModuleType) -> set[str]:
    """Return the IAM actions of the operations that a handler's source calls."""
    source = "\n".join(path.read_text() for path in imported_modules(module))
    called = set(re.findall(r"\.([a-z]+(?:_[a-z0-9]+)+)\(", source))
    session = Session()
    return {
        f"{prefix}:{operation}"
        for service, prefix in SERVICES.items()
        if re.search(rf"\b{service.split('-')[0]}", source)
        for operation in session.get_service_model(service).operation_names
        if xform_name(operation) in called
    }


def actions_allowed(stem: str, resource: dict[str, Any]) -> set[str]:
    role = str(get_att(function_of(stem, resource)["Role"])).removesuffix(".Arn")
    allowed: set[str] = set()
    for _, node in walk(TEMPLATES[stem]["Resources"][role]["Properties"]["Policies"]):
        if isinstance(node, dict) and node.get("Effect") == "Allow":
            allowed |= {node["Action"]} if isinstance(node["Action"], str) else set(node["Action"])
    return allowed


@pytest.mark.parametrize(
    ("stem", "name", "resource"),
    # The function of Custom::Emptied also empties repositories; here it is given a bucket only.
    [case for case in CUSTOM_RESOURCES if case[2]["Type"] != "Custom::Emptied"],
    ids=[name for name in IDS if not name.endswith("Emptied")],
)
def test_the_role_allows_every_call(stem: str, name: str, resource: dict[str, Any]) -> None:
    called = actions_called(module_of(stem, resource))
    assert called
    assert called <= actions_allowed(stem, resource)


def test_the_role_may_empty_a_bucket_with_versions() -> None:
    ((stem, _, resource),) = [case for case in CUSTOM_RESOURCES if case[2]["Type"] == "Custom::Emptied"]
    assert {
        "s3:ListBucket",
        "s3:ListBucketVersions",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
    } <= actions_allowed(stem, resource)


def test_every_function_stands_behind_a_custom_resource() -> None:
    tokens = {
        f"{stem}.{get_att(resource['Properties']['ServiceToken'])}" for stem, _, resource in CUSTOM_RESOURCES
    }
    functions = {f"{name}.Arn" for name, _ in all_resources(TEMPLATES, "AWS::Lambda::Function")}
    assert functions == tokens
