"""Read CloudFormation templates as plain data, and evaluate the parts that don't need an account.

A template is `{"Parameters": {...}, "Resources": {...}, ...}` with intrinsic functions in their long form
(`{"Ref": "Vpc"}`, `{"Fn::GetAtt": ["Vpc", "CidrBlock"]}`); cfn-lint's decoder does the reading.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cfnlint.decode.cfn_yaml import load as decode  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "{{cookiecutter.project_slug}}"
INFRASTRUCTURE = PROJECT / "infrastructure"
STAGES = INFRASTRUCTURE / "stages"

Template = dict[str, Any]
Templates = dict[str, Template]


def template_paths(directory: Path = INFRASTRUCTURE) -> list[Path]:
    """Return the paths of all templates, sorted; never empty."""
    paths = sorted(directory.glob("*.yaml"))
    if not paths:
        raise FileNotFoundError(f"{directory} holds no *.yaml")
    return paths


def load_templates(directory: Path = INFRASTRUCTURE) -> Templates:
    """Return every template by its stem, for the caller to change: `{"main": {...}, "network": {...}}`."""
    return {
        path.stem: json.loads(_as_json(path, path.stat().st_mtime_ns)) for path in template_paths(directory)
    }


@cache
def _as_json(path: Path, _changed: int) -> str:
    """Return a template as JSON. Reading YAML takes long, and tests of promises want a fresh copy each."""
    return json.dumps(decode(str(path)))


def resources(template: Template, resource_type: str) -> dict[str, dict[str, Any]]:
    """Return `{logical id: properties}` of the resources of one type; a type that ends with * is a prefix."""
    prefix = resource_type.removesuffix("*")
    return {
        name: resource.get("Properties", {})
        for name, resource in template["Resources"].items()
        if resource["Type"] == resource_type
        or (prefix != resource_type and resource["Type"].startswith(prefix))
    }


def all_resources(templates: Templates, resource_type: str) -> list[tuple[str, dict[str, Any]]]:
    """Return (template.LogicalId, properties) of every resource of a type, over all templates."""
    return [
        (f"{stem}.{name}", properties)
        for stem, template in templates.items()
        for name, properties in resources(template, resource_type).items()
    ]


def walk(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield (path, value) of the node and of everything below it."""
    yield path, node
    children: Iterator[tuple[str | int, Any]]
    if isinstance(node, dict):
        children = iter(node.items())
    elif isinstance(node, list):
        children = iter(enumerate(node))
    else:
        return
    for key, child in children:
        yield from walk(child, (*path, key))


def get_att(node: Any) -> str | None:
    """Return `Resource.Attribute` if the node is a GetAtt, else None."""
    if not isinstance(node, dict) or "Fn::GetAtt" not in node:
        return None
    target = node["Fn::GetAtt"]
    return target if isinstance(target, str) else ".".join(target)


def dependencies(template: Template, logical_id: str) -> set[str]:
    """Return the logical ids a resource waits for: by Ref, by GetAtt, within Sub, or by DependsOn.

    A resource that isn't there waits for nothing.
    """
    resource = template["Resources"].get(logical_id, {})
    explicit = resource.get("DependsOn", [])
    found = {explicit} if isinstance(explicit, str) else set(explicit)
    for _, node in walk(resource):
        if not isinstance(node, dict):
            continue
        if "Ref" in node:
            found.add(node["Ref"])
        if target := get_att(node):
            found.add(target.split(".")[0])
        if "Fn::Sub" in node:
            text = node["Fn::Sub"] if isinstance(node["Fn::Sub"], str) else node["Fn::Sub"][0]
            found.update(name.split(".")[0] for name in re.findall(r"\$\{([^!}]+)\}", text))
    return found & set(template["Resources"])


def parameter_problems(template: Template, values: Mapping[str, str]) -> list[str]:
    """Return what CloudFormation would refuse about parameter values, one sentence each."""
    declared = template["Parameters"]
    problems = [f"{name} is no parameter" for name in values if name not in declared]
    for name, declaration in declared.items():
        if name not in values and "Default" not in declaration:
            problems.append(f"{name} has no value")
        value = str(values.get(name, declaration.get("Default", "")))
        allowed = [str(item) for item in declaration.get("AllowedValues", [])]
        if name in values and allowed and value not in allowed:
            problems.append(f"{name}={value} is none of {allowed}")
        if name in values and not re.fullmatch(declaration.get("AllowedPattern", "(?s).*"), value):
            problems.append(f"{name}={value} doesn't match {declaration['AllowedPattern']}")
        if len(value) > int(declaration.get("MaxLength", len(value))):
            problems.append(f"{name}={value} is too long")
        if name in values and declaration["Type"] == "Number":
            if not value.isdigit():
                problems.append(f"{name}={value} is no number")
            elif not declaration.get("MinValue", 0) <= int(value) <= declaration.get("MaxValue", 1e9):
                problems.append(f"{name}={value} is out of range")
    return problems


def rule_problems(template: Template, values: Mapping[str, str]) -> list[str]:
    """Return the AssertDescription of every assertion in Rules that the parameter values break."""
    defaults = {name: str(item.get("Default", "")) for name, item in template["Parameters"].items()}
    given = {"AWS::Region": "eu-west-1"} | defaults | dict(values)
    return [
        assertion["AssertDescription"]
        for rule in template["Rules"].values()
        if "RuleCondition" not in rule or _evaluate(rule["RuleCondition"], given)
        for assertion in rule["Assertions"]
        if not _evaluate(assertion["Assert"], given)
    ]


def _evaluate(node: Any, values: Mapping[str, str]) -> Any:
    """Evaluate a rule-specific intrinsic function; an unknown one is a KeyError."""
    if isinstance(node, list):
        return [_evaluate(item, values) for item in node]
    if not isinstance(node, dict):
        return node
    ((function, argument),) = node.items()
    if function == "Ref":
        return values[argument]
    arguments = [_evaluate(item, values) for item in argument]
    operations: dict[str, Callable[[], Any]] = {
        "Fn::Equals": lambda: str(arguments[0]) == str(arguments[1]),
        "Fn::Contains": lambda: str(arguments[1]) in arguments[0],
        "Fn::Not": lambda: not arguments[0],
        "Fn::And": lambda: all(arguments),
        "Fn::Or": lambda: any(arguments),
    }
    return operations[function]()
