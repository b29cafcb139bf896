"""What a template's expressions come to at given parameter values, as far as a deploy needn't tell."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.infrastructure.cloudformation import Template, get_att, walk

SUBSTITUTE = re.compile(r"\$\{([^!}]+)\}")


class Unknown(str):
    """A value that only the deploy will tell: not empty, and equal to nothing a template compares it with."""

    __slots__ = ()


Value = str | list[str] | None


class Evaluation:
    """A template at parameter values; attributes of its resources are unknown unless they are given.

    Args:
        template: as `load_templates` gives it.
        values: of the parameters that don't keep their default.
        region: the value of `AWS::Region`.
        known: values of attributes, such as `{"Auth.Outputs.AgentScopes": ""}`.

    """

    def __init__(
        self, template: Template, values: Mapping[str, Value], region: str, known: Mapping[str, Value]
    ) -> None:
        self.template = template
        self._region = region
        self._known = known
        self._values: dict[str, Value] = {}
        for name, declaration in template["Parameters"].items():
            if name not in values and "Default" not in declaration:
                raise ValueError(f"parameter {name} has no value")
            value = values.get(name, declaration.get("Default"))
            listed = (
                "List" in declaration["Type"] and isinstance(value, str) and not isinstance(value, Unknown)
            )
            self._values[name] = str(value).split(",") if listed else _text(value)
        self._conditions: dict[str, bool] = {}

    def exists(self, logical_id: str) -> bool:
        """Return whether a resource's or output's condition holds, if it has one."""
        entry = self.template["Resources"].get(logical_id) or self.template["Outputs"][logical_id]
        return "Condition" not in entry or self.holds(entry["Condition"])

    def resources(self) -> dict[str, dict[str, Any]]:
        """Return the resources that will be created, without the branches that aren't taken."""
        return {
            name: self.pruned(resource)
            for name, resource in self.template["Resources"].items()
            if self.exists(name)
        }

    def holds(self, condition: str) -> bool:
        """Return what a condition comes to."""
        if condition not in self._conditions:
            self._conditions[condition] = bool(self._test(self.template["Conditions"][condition]))
        return self._conditions[condition]

    def pruned(self, node: Any) -> Any:
        """Return a copy of a node in which only the chosen branch of every `Fn::If` is left.

        CloudFormation waits for what that branch refers to, and not for the other's:
        https://cloudonaut.io/optional-dependson-with-cloudformation-metadata-to-the-rescue
        """
        if isinstance(node, list):
            return [self.pruned(item) for item in node]
        if not isinstance(node, dict):
            return node
        if set(node) == {"Fn::If"}:
            condition, chosen, otherwise = node["Fn::If"]
            return self.pruned(chosen if self.holds(condition) else otherwise)
        return {key: self.pruned(value) for key, value in node.items()}

    def value(self, node: Any) -> Value:
        """Return what an expression comes to; an intrinsic function that isn't known here is a ValueError."""
        if isinstance(node, list):
            return [str(self.value(item)) for item in node]
        if not isinstance(node, dict):
            return _text(node)
        ((function, argument),) = node.items()
        match function:
            case "Ref":
                return self._reference(argument)
            case "Fn::GetAtt":
                name = str(get_att(node))
                return self._known.get(name, Unknown(f"<{name}>"))
            case "Fn::If":
                return self.value(self.pruned(node))
            case "Fn::Sub":
                return self._substituted(argument)
            case "Fn::Join":
                parts = self.value(argument[1])
                return parts if isinstance(parts, Unknown) else _joined(argument[0], parts)
            case "Fn::Split":
                text = self.value(argument[1])
                return text if isinstance(text, Unknown) else str(text).split(argument[0])
            case "Fn::Select":
                items = self.value(argument[1])
                return items[int(argument[0])] if isinstance(items, list) else Unknown("<Fn::Select>")
            case "Fn::FindInMap":
                keys = [str(self.value(key)) for key in argument]
                return _text(self.template["Mappings"][keys[0]].get(keys[1], {}).get(keys[2]))
            case "Fn::GetAZs" | "Fn::Cidr" | "Fn::Base64":
                return Unknown(f"<{function}>")
        raise ValueError(f"{function} isn't understood here; add it to {__name__}")

    def _reference(self, name: str) -> Value:
        if name in self._values:
            return self._values[name]
        constants = {"AWS::Region": self._region, "AWS::Partition": "aws", "AWS::NoValue": None}
        return constants.get(name, Unknown(f"<{name}>"))

    def _substituted(self, argument: Any) -> str:
        text, local = (argument, {}) if isinstance(argument, str) else argument
        unknown = False
        for name in SUBSTITUTE.findall(text):
            node = local.get(name) or ({"Fn::GetAtt": name} if "." in name else {"Ref": name})
            value = self.value(node)
            unknown = unknown or isinstance(value, Unknown)
            text = text.replace(f"${{{name}}}", str(value))
        return Unknown(text) if unknown else str(text)

    def _test(self, node: Any) -> bool:
        ((function, argument),) = node.items()
        match function:
            case "Condition":
                return self.holds(argument)
            case "Fn::Equals":
                left, right = (self.value(item) for item in argument)
                return left == right and not isinstance(left, Unknown)
            case "Fn::Not":
                return not self._test(argument[0])
            case "Fn::And":
                return all(self._test(item) for item in argument)
            case "Fn::Or":
                return any(self._test(item) for item in argument)
        raise ValueError(f"{function} is no condition that is understood here; add it to {__name__}")


def _text(value: Any) -> Value:
    if value is None or isinstance(value, str | list):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _joined(separator: str, parts: Value) -> str:
    items = parts if isinstance(parts, list) else [str(parts)]
    unknown = any(isinstance(item, Unknown) for item in items)
    return Unknown(separator.join(items)) if unknown else separator.join(items)


def made(
    template: Template, values: Mapping[str, Value], region: str = "eu-west-1"
) -> dict[str, dict[str, Any]]:
    """Return the resources that parameter values make, without what `AWS::NoValue` leaves out.

    A parameter without value or default is empty.
    """
    empty = {name: "" for name, item in template["Parameters"].items() if "Default" not in item}
    chosen = Evaluation(template, {**empty, **values}, region, {}).resources()
    return {name: _without_nothing(resource) for name, resource in chosen.items()}


def _without_nothing(node: Any) -> Any:
    nothing = {"Ref": "AWS::NoValue"}
    if isinstance(node, list):
        return [_without_nothing(item) for item in node if item != nothing]
    if not isinstance(node, dict):
        return node
    return {key: _without_nothing(value) for key, value in node.items() if value != nothing}


def references(node: Any) -> Iterator[str]:
    """Yield what a node refers to: `Vpc` of a Ref, `Vpc.CidrBlock` of a GetAtt, and either within a Sub."""
    for _, child in walk(node):
        if not isinstance(child, dict):
            continue
        if isinstance(child.get("Ref"), str):
            yield child["Ref"]
        if target := get_att(child):
            yield target
        if "Fn::Sub" in child:
            text, local = (child["Fn::Sub"], {}) if isinstance(child["Fn::Sub"], str) else child["Fn::Sub"]
            yield from (name for name in SUBSTITUTE.findall(text) if name not in local)
