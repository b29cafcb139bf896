"""Typed properties out of strings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from custom_resources.errors import PropertyError
from custom_resources.properties import (
    choice,
    json_list,
    object_list,
    parse,
    property_name,
    required_text,
    text,
    text_list,
    whole_number,
)


@dataclass(frozen=True)
class Model:
    gateway_identifier: str = text("[a-z]{1,8}", "up to 8 lower-case letters")
    token: str = text("[0-9]*", "digits", default="", secret=True)
    mode: str = choice("ON", "OFF", default="ON")
    items: tuple[dict[str, Any], ...] = json_list("a list of objects")


def test_names_are_those_of_the_template() -> None:
    assert property_name("gateway_identifier") == "GatewayIdentifier"


def test_cloudformations_own_properties_are_ignored_and_defaults_taken() -> None:
    raw = {"GatewayIdentifier": "tools", "ServiceToken": "arn", "ServiceTimeout": "900"}
    assert parse(Model, raw) == Model("tools", "", "ON", ())


@pytest.mark.parametrize("value", ['[{"a": "b"}]', [{"a": "b"}]])
def test_a_list_may_be_json_text_or_a_list(value: Any) -> None:
    assert parse(Model, {"GatewayIdentifier": "tools", "Items": value}).items == ({"a": "b"},)


@pytest.mark.parametrize("value", ["", " ", "[]", []])
def test_an_empty_list_may_be_written_in_any_way(value: Any) -> None:
    assert parse(Model, {"GatewayIdentifier": "tools", "Items": value}).items == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"GatewayIdentifier": "TOOLS"},
            r"Property GatewayIdentifier: 'TOOLS' isn't valid; expected up to 8",
        ),
        ({"GatewayIdentifier": "tools\n"}, "Property GatewayIdentifier"),
        ({"GatewayIdentifier": {"Ref": "X"}}, "Property GatewayIdentifier"),
        ({"Mode": "MAYBE"}, "Property Mode: 'MAYBE' isn't valid; expected one of ON, OFF"),
        ({"Mode": ["ON"]}, "Property Mode"),
        ({"Items": "[1]"}, "Property Items: not a list of objects"),
        ({"Items": "{"}, "Property Items: not valid JSON"),
        ({"Itmes": "[]"}, "Property Itmes isn't known; known are GatewayIdentifier, Token, Mode, Items"),
    ],
)
def test_messages_name_property_value_and_expectation(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PropertyError, match=message):
        parse(Model, {"GatewayIdentifier": "tools", **change})


def test_a_missing_property_is_named() -> None:
    with pytest.raises(PropertyError, match="Property GatewayIdentifier is required"):
        parse(Model, {})


def test_secrets_and_long_values_are_not_repeated() -> None:
    with pytest.raises(PropertyError) as secret:
        parse(Model, {"GatewayIdentifier": "tools", "Token": "hunter2"})
    assert "hunter2" not in str(secret.value)
    with pytest.raises(PropertyError) as long:
        parse(Model, {"GatewayIdentifier": "x" * 5000})
    assert len(str(long.value)) < 200


@pytest.mark.parametrize("raw", [{}, {"Name": ""}, {"Name": ["a"]}])
def test_required_text_wants_text(raw: dict[str, Any]) -> None:
    with pytest.raises(PropertyError, match="Name"):
        required_text(raw, "Name")


@dataclass(frozen=True)
class Part:
    name: str = text("[a-z]+", "lower-case letters")


@dataclass(frozen=True)
class Lists:
    numbers: int = whole_number(1, 9, default=5)
    words: tuple[str, ...] = text_list("[a-z]+", "lower-case words", at_most=2)
    parts: tuple[Part, ...] = object_list(Part, at_most=2)
    free: tuple[dict[str, Any], ...] = json_list("a list of objects", at_most=1)


def test_lists_and_numbers_are_read() -> None:
    assert parse(Lists, {}) == Lists(5, (), (), ())
    raw = {"Numbers": "9", "Words": ["a", "", "b"], "Parts": [{"Name": "x"}], "Free": '[{"a": 1}]'}
    assert parse(Lists, raw) == Lists(9, ("a", "b"), (Part("x"),), ({"a": 1},))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"Numbers": "0"}, "Property Numbers: '0' isn't valid; expected a whole number from 1 to 9"),
        ({"Numbers": "ten"}, "Property Numbers: 'ten' isn't valid; expected a whole number from 1 to 9"),
        ({"Words": {"a": 1}}, "Property Words: {'a': 1} isn't a list; expected a list of lower-case words"),
        ({"Words": ["A"]}, "Property Words: 'A' isn't valid; expected a list of lower-case words"),
        ({"Words": ["a", "b", "c"]}, "Property Words: has 3 entries; expected at most 2"),
        ({"Parts": ["x"]}, "Property Parts: ['x'] isn't valid; expected a list of objects"),
        ({"Parts": [{"Name": "x"}] * 3}, "Property Parts: has 3 entries; expected at most 2"),
        ({"Parts": [{"Name": "x"}, {}]}, "Property Parts, entry 2: Property Name is required"),
        ({"Free": [{}, {}]}, "Property Free: has 2 entries; expected at most 1"),
    ],
)
def test_what_is_wrong_in_a_list_is_named(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(PropertyError) as caught:
        parse(Lists, raw)
    assert str(caught.value) == message
