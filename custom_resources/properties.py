"""Typed properties out of CloudFormation's strings.

CloudFormation sends every scalar as a string. A model is a frozen dataclass whose fields are made with
`text`, `choice` or `json_list`; a field `gateway_identifier` reads the property `GatewayIdentifier`. `parse`
returns an instance or raises PropertyError that names the property, the value and what is expected.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from custom_resources.errors import PropertyError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Raw = Mapping[str, Any]
Model = TypeVar("Model", bound="DataclassInstance")

# CloudFormation's own, sent along with the resource's.
RESERVED = frozenset({"ServiceToken", "ServiceTimeout"})
LONGEST_ECHO = 80
_PARSE = "parse"


def text(pattern: str, expected: str, *, default: str | None = None, secret: bool = False) -> Any:
    """Make a field for a string that matches `pattern` in full; without a default the property is required.

    `expected` completes "expected …"; the value of a `secret` property is left out of messages.
    """

    def convert(name: str, value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            shown = "the given value" if secret else _echo(value)
            raise PropertyError(f"Property {name}: {shown} isn't valid; expected {expected}")
        return value

    return _property(convert, MISSING if default is None else default)


def choice(*allowed: str, default: str | None = None) -> Any:
    """Make a field for one of a few words; without a default the property is required."""

    def convert(name: str, value: Any) -> str:
        if value not in allowed:
            raise PropertyError(
                f"Property {name}: {_echo(value)} isn't valid; expected one of {', '.join(allowed)}"
            )
        return str(value)

    return _property(convert, MISSING if default is None else default)


def json_list(expected: str) -> Any:
    """Make an optional field for a list of objects, written in the template as a list or as JSON text.

    The parsed value is a tuple of dicts; absent, empty text and an empty list all give ().
    """

    def convert(name: str, value: Any) -> tuple[dict[str, Any], ...]:
        if isinstance(value, str):
            try:
                value = json.loads(value) if value.strip() else []
            except ValueError as error:
                raise PropertyError(
                    f"Property {name}: not valid JSON ({error}); expected {expected}"
                ) from error
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise PropertyError(
                f"Property {name}: not a list of objects but {type(value).__name__}; expected {expected}"
            )
        return tuple(value)

    return _property(convert, ())


def parse(model: type[Model], raw: Raw) -> Model:
    """Return `model` filled from a request's ResourceProperties; raises PropertyError."""
    known = {property_name(item.name): item for item in fields(model)}
    unknown = sorted(set(raw) - set(known) - RESERVED)
    if unknown:
        raise PropertyError(f"Property {unknown[0]} isn't known; known are {', '.join(known)}")
    values = {item.name: _value(name, item, raw) for name, item in known.items()}
    return model(**values)


def required_text(raw: Raw, name: str) -> str:
    """Return a property that must be a string with something in it; raises PropertyError."""
    value = raw.get(name)
    if not isinstance(value, str) or not value:
        raise PropertyError(f"Property {name} is required and must be a string that isn't empty")
    return value


def property_name(field_name: str) -> str:
    """Return the template's spelling of a field: `gateway_identifier` gives `GatewayIdentifier`."""
    return "".join(word.capitalize() for word in field_name.split("_"))


def _property(convert: Callable[[str, Any], Any], default: Any) -> Any:
    return field(default=default, metadata={_PARSE: convert})


def _value(name: str, item: "Field[Any]", raw: Raw) -> Any:
    if name in raw:
        return item.metadata[_PARSE](name, raw[name])
    if item.default is MISSING:
        raise PropertyError(f"Property {name} is required")
    return item.default


def _echo(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= LONGEST_ECHO else f"{shown[:LONGEST_ECHO]}…"
