"""Typed properties out of CloudFormation's strings.

CloudFormation sends every scalar as a string. A model is a frozen dataclass whose fields are made with
`text`, `choice`, `whole_number`, `text_list`, `object_list`, `json_list` or `json_object`; a field
`gateway_identifier` reads the property `GatewayIdentifier`. `parse` returns an instance or raises
PropertyError that names the property, the value and what is expected.

Type, limits, default, description and update behaviour of a property are said here once: what `parse`
enforces is what `documented` gives to the reference pages.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from custom_resources.errors import PropertyError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Raw = Mapping[str, Any]
Model = TypeVar("Model", bound="DataclassInstance")

# CloudFormation's own, sent along with the resource's.
RESERVED = frozenset({"ServiceToken", "ServiceTimeout"})
LONGEST_ECHO = 80
_KIND = "kind"


class Update(Enum):
    """What a change of a property does, in the words of CloudFormation's reference."""

    IN_PLACE = "No interruption"
    # Of a property in the physical id: CloudFormation deletes what has the old id once the new one is made.
    REPLACEMENT = "Replacement"


@dataclass(frozen=True)
class Kind:
    """What a field is: how its property is read, and what the reference says of it.

    `type_name` and the names in `limits` are those of CloudFormation's reference; `expected` completes
    "expected …"; `model` is that of the objects in a list.
    """

    convert: Callable[[str, Any], Any]
    type_name: str
    expected: str
    description: str
    update: Update
    limits: Mapping[str, str]
    model: "type[DataclassInstance] | None" = None


@dataclass(frozen=True)
class Documented:
    """A property as a template's author sees it.

    `default` is None where the property is required, and "" where its absence stands for nothing.
    """

    name: str
    kind: Kind
    default: str | None


def text(
    pattern: str,
    expected: str,
    *,
    default: str | None = None,
    secret: bool = False,
    description: str = "",
    update: Update = Update.IN_PLACE,
) -> Any:
    """Make a field for a string that matches `pattern` in full; without a default the property is required.

    `expected` completes "expected …"; the value of a `secret` property is left out of messages.
    """

    def convert(name: str, value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            shown = "the given value" if secret else _echo(value)
            raise PropertyError(f"Property {name}: {shown} isn't valid; expected {expected}")
        return value

    kind = Kind(convert, "String", expected, description, update, {"Pattern": pattern})
    return _property(kind, MISSING if default is None else default)


def choice(
    *allowed: str, default: str | None = None, description: str = "", update: Update = Update.IN_PLACE
) -> Any:
    """Make a field for one of a few words; without a default the property is required."""
    expected = f"one of {', '.join(allowed)}"

    def convert(name: str, value: Any) -> str:
        if value not in allowed:
            raise PropertyError(f"Property {name}: {_echo(value)} isn't valid; expected {expected}")
        return str(value)

    kind = Kind(convert, "String", expected, description, update, {"Allowed values": " | ".join(allowed)})
    return _property(kind, MISSING if default is None else default)


def whole_number(
    minimum: int,
    maximum: int,
    *,
    default: int | None = None,
    description: str = "",
    update: Update = Update.IN_PLACE,
) -> Any:
    """Make a field for an integer from `minimum` to `maximum`; without a default the property is required."""
    expected = f"a whole number from {minimum} to {maximum}"

    def convert(name: str, value: Any) -> int:
        shown = str(value)
        if not re.fullmatch(r"[0-9]{1,18}", shown) or not minimum <= int(shown) <= maximum:
            raise PropertyError(f"Property {name}: {_echo(value)} isn't valid; expected {expected}")
        return int(shown)

    limits = {"Minimum": str(minimum), "Maximum": str(maximum)}
    kind = Kind(convert, "Integer", expected, description, update, limits)
    return _property(kind, MISSING if default is None else default)


def text_list(
    pattern: str,
    expected: str,
    *,
    at_most: int,
    description: str = "",
    update: Update = Update.IN_PLACE,
) -> Any:
    """Make an optional field for a list of strings that each match `pattern` in full; parsed to a tuple.

    Empty strings count for nothing: that is what CloudFormation makes of an empty CommaDelimitedList.
    """

    def convert(name: str, value: Any) -> tuple[str, ...]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list):
            raise PropertyError(
                f"Property {name}: {_echo(value)} isn't a list; expected a list of {expected}"
            )
        given = [item for item in items if item != ""]
        for item in given:
            if not isinstance(item, str) or not re.fullmatch(pattern, item):
                raise PropertyError(
                    f"Property {name}: {_echo(item)} isn't valid; expected a list of {expected}"
                )
        if len(given) > at_most:
            raise PropertyError(f"Property {name}: has {len(given)} entries; expected at most {at_most}")
        return tuple(given)

    limits = {"Pattern of an item": pattern, "Maximum items": str(at_most)}
    kind = Kind(convert, "List of String", f"a list of {expected}", description, update, limits)
    return _property(kind, ())


def object_list(
    model: "type[DataclassInstance]",
    *,
    at_most: int,
    unique: str = "",
    description: str = "",
    update: Update = Update.IN_PLACE,
) -> Any:
    """Make an optional field for a list of objects, each read like `model`; parsed to a tuple of them.

    `unique` is the field of `model` that no two of them may have the same value in.
    """

    def convert(name: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise PropertyError(f"Property {name}: {_echo(value)} isn't valid; expected a list of objects")
        if len(value) > at_most:
            raise PropertyError(f"Property {name}: has {len(value)} entries; expected at most {at_most}")
        parsed = []
        for number, item in enumerate(value, start=1):
            try:
                parsed.append(parse(model, item))
            except PropertyError as error:
                raise PropertyError(f"Property {name}, entry {number}: {error}") from error
        values = [getattr(item, unique) for item in parsed] if unique else []
        for value in values:
            if values.count(value) > 1:
                raise PropertyError(
                    f"Property {name}: {property_name(unique)} {_echo(value)} is given more than once"
                )
        return tuple(parsed)

    limits = {"Maximum items": str(at_most)} | ({"Unique": property_name(unique)} if unique else {})
    kind = Kind(convert, f"List of {model.__name__}", "a list of objects", description, update, limits, model)
    return _property(kind, ())


def json_list(
    expected: str,
    *,
    at_most: int | None = None,
    description: str = "",
    update: Update = Update.IN_PLACE,
) -> Any:
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
        if at_most is not None and len(value) > at_most:
            raise PropertyError(f"Property {name}: has {len(value)} entries; expected at most {at_most}")
        return tuple(value)

    limits = {} if at_most is None else {"Maximum items": str(at_most)}
    kind = Kind(convert, "List of object, or its JSON text", expected, description, update, limits)
    return _property(kind, ())


def json_object(expected: str, *, description: str = "", update: Update = Update.IN_PLACE) -> Any:
    """Make a required field for an object, written in the template as one or as JSON text; parsed to a dict.

    In JSON text numbers stay numbers; CloudFormation makes strings of those in an object.
    """

    def convert(name: str, value: Any) -> dict[str, Any]:
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError as error:
                raise PropertyError(
                    f"Property {name}: not valid JSON ({error}); expected {expected}"
                ) from error
        if not isinstance(value, dict):
            raise PropertyError(
                f"Property {name}: not an object but {type(value).__name__}; expected {expected}"
            )
        return value

    return _property(Kind(convert, "Object, or its JSON text", expected, description, update, {}), MISSING)


def documented(model: "type[DataclassInstance]") -> list[Documented]:
    """Return what a template's author must know of each property, in the model's order."""
    return [
        Documented(
            name=property_name(item.name),
            kind=item.metadata[_KIND],
            default=None if item.default is MISSING else str(item.default or ""),
        )
        for item in fields(model)
    ]


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


def _property(kind: Kind, default: Any) -> Any:
    return field(default=default, metadata={_KIND: kind})


def _value(name: str, item: "Field[Any]", raw: Raw) -> Any:
    if name in raw:
        kind: Kind = item.metadata[_KIND]
        return kind.convert(name, raw[name])
    if item.default is MISSING:
        raise PropertyError(f"Property {name} is required")
    return item.default


def _echo(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= LONGEST_ECHO else f"{shown[:LONGEST_ECHO]}…"
