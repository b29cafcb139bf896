"""Checks a resource's resolved properties against its schema, as CloudFormation does before it acts.

CloudFormation's coercions apply first: ``"8080"`` where a number is wanted, ``"true"`` for a boolean, a
number where a string is wanted. Messages have CloudFormation's style
(``#/Cpu: expected type: Integer, found: String``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from .resource_schemas import Schema, schema_of

_UNCHECKED = frozenset({"AWS::CloudFormation::CustomResource", "AWS::CDK::Metadata"})
_INTEGER = re.compile(r"[+-]?\d+")
_TYPE_NAMES = {
    "array": "JSONArray",
    "boolean": "Boolean",
    "integer": "Integer",
    "null": "Null",
    "number": "Number",
    "object": "JSONObject",
    "string": "String",
}


class PropertyValidationError(ValueError):
    """Properties that CloudFormation would refuse; the message is the resource's status reason."""


def validated(type_name: str, logical_id: str, properties: dict[str, Any], region: str) -> dict[str, Any]:
    """``properties`` with CloudFormation's coercions applied.

    Raises PropertyValidationError when they don't satisfy the schema of ``type_name`` in ``region``, or when
    CloudFormation has no such type there. Custom resources have no schema and pass.
    """
    if type_name.startswith("Custom::") or type_name in _UNCHECKED:
        return properties
    schema = schema_of(type_name, region)
    if schema is None:
        raise PropertyValidationError(f"Resource type {type_name} is not available in {region}.")
    coerced = _Coercion(schema).apply(properties, schema)
    problems = list(_Validator(schema).problems(coerced, schema, "#"))
    if problems:
        raise PropertyValidationError(
            f"Properties validation failed for resource {logical_id} with message:\n" + "\n".join(problems)
        )
    result: dict[str, Any] = coerced
    return result


def coerced(type_name: str, properties: dict[str, Any], region: str) -> dict[str, Any]:
    """``properties`` with coercions, unchecked: for a resource's previous properties."""
    schema = None if type_name.startswith("Custom::") else schema_of(type_name, region)
    if schema is None:
        return properties
    result: dict[str, Any] = _Coercion(schema).apply(properties, schema)
    return result


class _Resolver:
    def __init__(self, root: Schema) -> None:
        self._root = root

    def deref(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            node: Any = self._root
            for part in schema["$ref"].removeprefix("#/").split("/"):
                node = node[part]
            schema = {**node, **{key: value for key, value in schema.items() if key != "$ref"}}
        return schema


class _Coercion(_Resolver):
    def apply(self, value: Any, schema: Schema) -> Any:
        schema = self.deref(schema)
        if isinstance(value, dict):
            return {key: self._member(schema, key, member) for key, member in value.items()}
        if isinstance(value, list):
            items = schema.get("items")
            return [self.apply(item, items) for item in value] if isinstance(items, dict) else value
        types = _types_of(schema)
        for branch in ("anyOf", "oneOf", "allOf"):
            for alternative in schema.get(branch, ()) if not types else ():
                types |= _types_of(self.deref(alternative))
        return _coerce_scalar(value, types)

    def _member(self, schema: Schema, key: str, value: Any) -> Any:
        found = schema.get("properties", {}).get(key)
        if found is None:
            found = next(
                (
                    sub
                    for pattern, sub in schema.get("patternProperties", {}).items()
                    if _matches(pattern, key)
                ),
                None,
            )
        if found is None:
            for branch in ("anyOf", "oneOf", "allOf"):
                for alternative in schema.get(branch, ()):
                    found = self.deref(alternative).get("properties", {}).get(key)
                    if found is not None:
                        return self.apply(value, found)
            additional = schema.get("additionalProperties")
            found = additional if isinstance(additional, dict) else None
        return value if found is None or found is True else self.apply(value, found)


def _coerce_scalar(value: Any, types: set[str]) -> Any:
    if isinstance(value, bool):
        return str(value).lower() if types and "boolean" not in types and "string" in types else value
    if isinstance(value, int | float):
        return str(value) if types and not types & {"integer", "number"} and "string" in types else value
    if isinstance(value, str) and types and "string" not in types:
        if "boolean" in types and value.lower() in {"true", "false"}:
            return value.lower() == "true"
        if types & {"integer", "number"} and _INTEGER.fullmatch(value):
            return int(value)
        if "number" in types:
            try:
                return float(value)
            except ValueError:
                return value
    return value


class _Validator(_Resolver):
    """The part of JSON schema (and of cfn-lint's additions to it) that resource schemas use."""

    def problems(self, value: Any, schema: Schema, path: str) -> Iterator[str]:
        """Every violation of ``schema`` by ``value``, in CloudFormation's words."""
        schema = self.deref(schema)
        types = _types_of(schema)
        if types and not any(_is_type(value, name) for name in types):
            wanted = " or ".join(_TYPE_NAMES[name] for name in sorted(types))
            yield f"{path}: expected type: {wanted}, found: {_type_of(value)}"
            return
        yield from self._value_problems(value, schema, path)
        if isinstance(value, dict):
            yield from self._object_problems(value, schema, path)
        elif isinstance(value, list):
            yield from self._array_problems(value, schema, path)
        elif isinstance(value, str):
            yield from _string_problems(value, schema, path)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield from _number_problems(value, schema, path)
        yield from self._combined_problems(value, schema, path)

    def _value_problems(self, value: Any, schema: Schema, path: str) -> Iterator[str]:
        if "enum" in schema and value not in schema["enum"]:
            yield f"{path}: {value} is not a valid enum value"
        folded = schema.get("enumCaseInsensitive")
        if folded and str(value).lower() not in {str(member).lower() for member in folded}:
            yield f"{path}: {value} is not a valid enum value"
        if "const" in schema and value != schema["const"]:
            yield f"{path}: must be {schema['const']!r}"

    def _object_problems(self, value: dict[str, Any], schema: Schema, path: str) -> Iterator[str]:
        properties: Schema = schema.get("properties", {})
        patterns: Schema = schema.get("patternProperties", {})
        additional = schema.get("additionalProperties", True)
        read_only = _read_only(schema) if path == "#" else frozenset()
        for key, member in value.items():
            member_path = f"{path}/{key}"
            matched = [sub for pattern, sub in patterns.items() if _matches(pattern, key)]
            if key in read_only:
                yield f"{path}: extraneous key [{key}] is not permitted (it is read-only)"
            elif key in properties:
                yield from self.problems(member, properties[key], member_path)
            elif matched:
                for sub in matched:
                    yield from self.problems(member, sub, member_path)
            elif additional is False:
                yield f"{path}: extraneous key [{key}] is not permitted"
            elif isinstance(additional, dict):
                yield from self.problems(member, additional, member_path)
        for key in schema.get("required", ()):
            if key not in value:
                yield f"{path}: required key [{key}] not found"
        if len(value) < schema.get("minProperties", 0):
            yield f"{path}: minimum size: [{schema['minProperties']}], found: [{len(value)}]"
        if len(value) > schema.get("maxProperties", len(value)):
            yield f"{path}: maximum size: [{schema['maxProperties']}], found: [{len(value)}]"
        yield from _dependency_problems(value, schema, path)

    def _array_problems(self, value: list[Any], schema: Schema, path: str) -> Iterator[str]:
        if len(value) < schema.get("minItems", 0):
            yield f"{path}: expected minimum item count: {schema['minItems']}, found: {len(value)}"
        if len(value) > schema.get("maxItems", len(value)):
            yield f"{path}: expected maximum item count: {schema['maxItems']}, found: {len(value)}"
        if schema.get("uniqueItems") and any(item in value[:index] for index, item in enumerate(value)):
            yield f"{path}: array items are not unique"
        items = schema.get("items")
        if isinstance(items, dict):
            for index, item in enumerate(value):
                yield from self.problems(item, items, f"{path}/{index}")

    def _combined_problems(self, value: Any, schema: Schema, path: str) -> Iterator[str]:
        for alternative in schema.get("allOf", ()):
            yield from self.problems(value, alternative, path)
        for keyword, accepts in (("anyOf", _at_least_one), ("oneOf", _exactly_one)):
            alternatives = schema.get(keyword)
            if alternatives:
                failures = [list(self.problems(value, alternative, path)) for alternative in alternatives]
                valid = sum(not failure for failure in failures)
                if not accepts(valid):
                    yield (
                        f"{path}: {valid} subschemas matched instead of one"
                        if keyword == "oneOf"
                        else (f"{path}: no subschema matched out of the total {len(alternatives)} subschemas")
                    )
        if "if" in schema:
            holds = not any(True for _ in self.problems(value, schema["if"], path))
            branch = schema.get("then" if holds else "else")
            if isinstance(branch, dict):
                yield from self.problems(value, branch, path)


def _at_least_one(count: int) -> bool:
    return count >= 1


def _exactly_one(count: int) -> bool:
    return count == 1


def _string_problems(value: str, schema: Schema, path: str) -> Iterator[str]:
    if len(value) < schema.get("minLength", 0):
        yield f"{path}: expected minLength: {schema['minLength']}, actual: {len(value)}"
    if len(value) > schema.get("maxLength", len(value)):
        yield f"{path}: expected maxLength: {schema['maxLength']}, actual: {len(value)}"
    pattern = schema.get("pattern")
    if pattern and not _matches(pattern, value):
        yield f"{path}: failed validation constraint for keyword [pattern] ({value!r}, not {pattern})"


def _number_problems(value: float, schema: Schema, path: str) -> Iterator[str]:
    if value < schema.get("minimum", value):
        yield f"{path}: {value} is not greater or equal to {schema['minimum']}"
    if value > schema.get("maximum", value):
        yield f"{path}: {value} is not less or equal to {schema['maximum']}"


def _dependency_problems(value: dict[str, Any], schema: Schema, path: str) -> Iterator[str]:
    for key, needed in schema.get("dependentRequired", {}).items():
        for other in needed if key in value else ():
            if other not in value:
                yield f"{path}: property [{key}] requires property [{other}]"
    for key, excluded in schema.get("dependentExcluded", {}).items():
        for other in excluded if key in value else ():
            if other in value:
                yield f"{path}: property [{key}] must not be given together with [{other}]"
    exclusive = schema.get("requiredXor")
    if exclusive and sum(key in value for key in exclusive) != 1:
        yield f"{path}: exactly one of [{', '.join(exclusive)}] is required"
    alternatives = schema.get("requiredOr")
    if alternatives and not any(key in value for key in alternatives):
        yield f"{path}: one of [{', '.join(alternatives)}] is required"


def _read_only(schema: Schema) -> frozenset[str]:
    names = (pointer.removeprefix("/properties/") for pointer in schema.get("readOnlyProperties", ()))
    return frozenset(name for name in names if "/" not in name)


def _types_of(schema: Schema) -> set[str]:
    kind = schema.get("type", ())
    return {kind} if isinstance(kind, str) else set(kind)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (
        not isinstance(value, bool)
        and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    ),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}


def _is_type(value: Any, name: str) -> bool:
    return _CHECKS[name](value)


def _type_of(value: Any) -> str:
    return next((_TYPE_NAMES[name] for name, check in _CHECKS.items() if check(value)), type(value).__name__)


def _matches(pattern: str, value: str) -> bool:
    compiled = _compile(pattern)
    return compiled is None or compiled.search(value) is not None


@cache
def _compile(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        # Java syntax that Python's re lacks (\p{L}); the service's own check is the last word there.
        return None
