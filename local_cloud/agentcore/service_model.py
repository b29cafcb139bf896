"""Requests and responses of the control API, read from botocore's own model of the service.

The model is what the SDKs are generated from, so paths, members, patterns and lengths are the service's.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote

import botocore.session
from botocore.model import (
    ListShape,
    MapShape,
    OperationModel,
    ServiceModel,
    Shape,
    StringShape,
    StructureShape,
)

from .errors import ValidationError

SERVICE = "bedrock-agentcore-control"
SIGNING_NAME = "bedrock-agentcore"

OPERATIONS = (
    "CreateGateway",
    "GetGateway",
    "ListGateways",
    "UpdateGateway",
    "DeleteGateway",
    "CreateGatewayTarget",
    "GetGatewayTarget",
    "ListGatewayTargets",
    "UpdateGatewayTarget",
    "DeleteGatewayTarget",
    "SynchronizeGatewayTargets",
    "CreateOauth2CredentialProvider",
    "GetOauth2CredentialProvider",
    "ListOauth2CredentialProviders",
    "UpdateOauth2CredentialProvider",
    "DeleteOauth2CredentialProvider",
    "ListTagsForResource",
    "TagResource",
    "UntagResource",
)


@cache
def service_model() -> ServiceModel:
    """The service's model."""
    return botocore.session.get_session().get_service_model(SERVICE)


@dataclass(frozen=True)
class Route:
    """An operation with the pattern of its path."""

    operation: OperationModel
    method: str
    pattern: re.Pattern[str]


@cache
def _routes() -> tuple[Route, ...]:
    routes = []
    for name in OPERATIONS:
        operation = service_model().operation_model(name)
        path = operation.http["requestUri"].rstrip("/")
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))
        routes.append(Route(operation, operation.http["method"], re.compile(pattern + "/?")))
    return tuple(routes)


def match(method: str, raw_path: str) -> tuple[OperationModel, dict[str, str]] | None:
    """The operation that ``method raw_path`` calls, and the parameters in the path; None for other APIs."""
    for route in _routes():
        found = route.pattern.fullmatch(raw_path) if route.method == method else None
        if found:
            return route.operation, {name: unquote(value) for name, value in found.groupdict().items()}
    return None


def parse(operation: OperationModel, path: Mapping[str, str], query: str, body: bytes) -> dict[str, Any]:
    """The operation's parameters, checked against the model. Raises ValidationError."""
    shape = operation.input_shape
    if shape is None:
        return {}
    content = _json_object(body)
    arguments = parse_qs(query, keep_blank_values=True)
    params: dict[str, Any] = {}
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        wire = member.serialization.get("name", name)
        if location == "uri":
            params[name] = path[wire]
        elif location == "querystring":
            if wire in arguments:
                params[name] = _from_query(member, arguments[wire], name)
        elif content.get(wire) is not None:
            params[name] = _known_members(member, content[wire])
    check(operation, params)
    return params


def check(operation: OperationModel, params: Mapping[str, Any]) -> None:
    """Raise ValidationError unless ``params`` satisfy the operation's model."""
    problems = list(_problems(operation.input_shape, params, "")) if operation.input_shape else []
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        message = count + "; ".join(f"Value at '{path}' {text}" for path, text in problems)
        raise ValidationError(message, fields=problems)


def serialize(operation: OperationModel, result: Mapping[str, Any]) -> bytes:
    """The response's body; members that the model doesn't have are an error of this program."""
    shape = operation.output_shape
    if shape is None or not shape.members:
        return b""
    return json.dumps(_wire(shape, result)).encode()


def _json_object(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        content = json.loads(body)
    except ValueError as error:
        raise ValidationError("The request body is not JSON.", reason="CannotParse") from error
    if not isinstance(content, dict):
        raise ValidationError("The request body is not a JSON object.", reason="CannotParse")
    return content


def _from_query(shape: Shape, values: list[str], name: str) -> Any:
    if shape.type_name == "list":
        return values
    if shape.type_name == "integer":
        try:
            return int(values[-1])
        except ValueError as error:
            raise ValidationError(f"{name} must be an integer, not {values[-1]!r}.", "CannotParse") from error
    return values[-1]


def _known_members(shape: Shape, value: Any) -> Any:
    """``value`` without members that the model lacks and without nulls, which the service ignores."""
    if isinstance(shape, StructureShape) and isinstance(value, dict) and not shape.is_document_type:
        return {
            name: _known_members(member, value[name])
            for name, member in shape.members.items()
            if value.get(name) is not None
        }
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_known_members(shape.member, item) for item in value]
    return value


_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "structure": dict,
    "map": dict,
    "list": list,
}


def _problems(shape: Shape, value: Any, path: str) -> Iterator[tuple[str, str]]:
    if getattr(shape, "is_document_type", False):
        return
    expected = _TYPES.get(shape.type_name)
    wrong_boolean = isinstance(value, bool) and shape.type_name != "boolean"
    if expected is not None and (wrong_boolean or not isinstance(value, expected)):
        yield path, f"failed to satisfy constraint: Member must be a {shape.type_name}"
        return
    if isinstance(shape, StructureShape):
        yield from _structure_problems(shape, value, path)
    elif isinstance(shape, ListShape):
        yield from _size_problems(shape, len(value), path)
        for number, item in enumerate(value, start=1):
            yield from _problems(shape.member, item, f"{path}.{number}.member")
    elif isinstance(shape, MapShape):
        yield from _size_problems(shape, len(value), path)
        for key, item in value.items():
            yield from _problems(shape.key, key, f"{path}.key")
            yield from _problems(shape.value, item, f"{path}.{key}")
    elif isinstance(shape, StringShape) or shape.type_name == "string":
        yield from _string_problems(shape, value, path)
    elif shape.type_name in {"integer", "long"}:
        yield from _size_problems(shape, value, path)


def _structure_problems(shape: StructureShape, value: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    prefix = f"{path}." if path else ""
    for name in shape.required_members:
        if value.get(name) is None:
            yield f"{prefix}{name}", "failed to satisfy constraint: Member must not be null"
    if shape.is_tagged_union and len(value) != 1:
        members = ", ".join(shape.members)
        yield path, f"failed to satisfy constraint: exactly one of [{members}] must be set, {len(value)} are"
    for name, member in shape.members.items():
        if value.get(name) is not None:
            yield from _problems(member, value[name], f"{prefix}{name}")


def _string_problems(shape: Shape, value: str, path: str) -> Iterator[tuple[str, str]]:
    yield from _size_problems(shape, len(value), path, kind="length")
    choices = getattr(shape, "enum", None)
    if choices and value not in choices:
        yield (
            path,
            f"failed to satisfy constraint: Member must satisfy enum value set: [{', '.join(choices)}]",
        )
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(pattern, value):
        yield path, f"failed to satisfy constraint: Member must satisfy regular expression pattern: {pattern}"


def _size_problems(shape: Shape, size: int, path: str, kind: str = "") -> Iterator[tuple[str, str]]:
    subject = (
        f"have {kind}" if kind else ("have length" if shape.type_name in {"list", "map"} else "have value")
    )
    smallest, largest = shape.metadata.get("min"), shape.metadata.get("max")
    if smallest is not None and size < smallest:
        yield path, f"failed to satisfy constraint: Member must {subject} greater than or equal to {smallest}"
    if largest is not None and size > largest:
        yield path, f"failed to satisfy constraint: Member must {subject} less than or equal to {largest}"


def _wire(shape: Shape, value: Any) -> Any:
    if isinstance(shape, StructureShape) and not shape.is_document_type:
        unknown = set(value) - set(shape.members)
        missing = {name for name in shape.required_members if value.get(name) is None}
        if unknown or missing:
            raise TypeError(f"{shape.name}: unknown members {sorted(unknown)}, missing {sorted(missing)}")
        return {name: _wire(shape.members[name], item) for name, item in value.items() if item is not None}
    if isinstance(shape, ListShape):
        return [_wire(shape.member, item) for item in value]
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value
