"""Typed properties out of strings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from custom_resources.errors import PropertyError
from custom_resources.properties import choice, json_list, parse, property_name, required_text, text


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
