"""The reference pages say what the code does."""

from __future__ import annotations

import re
from typing import Any

import pytest

from custom_resources.errors import PropertyError
from custom_resources.properties import Update, documented
from tests.custom_resources.reference import PAGES, CustomResource, custom_resources, pages

TYPES = custom_resources()
each_type = pytest.mark.parametrize("custom", TYPES, ids=[custom.type_name for custom in TYPES])


def models(model: type[Any]) -> list[type[Any]]:
    """The model and those of the objects in it."""
    inner = [item.kind.model for item in documented(model) if item.kind.model is not None]
    return [model, *(found for one in inner for found in models(one))]


def test_the_pages_are_up_to_date() -> None:
    written = {path.name: path.read_text() for path in PAGES.glob("*.md")}
    assert written == pages(), "run `make reference`"


def test_the_readme_links_every_page_and_no_other() -> None:
    readme = (PAGES.parent / "README.md").read_text()
    assert sorted(re.findall(r"\]\(reference/(\w+\.md)\)", readme)) == sorted(pages())


@each_type
def test_every_property_is_described(custom: CustomResource) -> None:
    for model in models(custom.resource.model):
        for item in documented(model):
            assert re.fullmatch(r"(?s)[A-Z`].*\.", item.kind.description), item.name


@each_type
def test_a_property_replaces_if_it_is_part_of_the_physical_id(custom: CustomResource) -> None:
    """CloudFormation takes a new physical id, and nothing else, for a replacement."""
    items = documented(custom.resource.model)
    identify = custom.resource.identify
    for item in items:
        others = {
            other.name: example(custom, other.name, "other") for other in items if other.name != item.name
        }
        # The least that is needed goes along, for a type that looks at all properties.
        needed = {
            other.name: others[other.name]
            for other in items
            if other.default is None and other.name != item.name
        }
        bases = [others, needed, {}]
        assert item.kind.update in {Update.IN_PLACE, Update.REPLACEMENT}
        changes = False
        for base in bases:
            try:
                ids = {
                    identify({**base, item.name: example(custom, item.name, text)}) for text in ("one", "two")
                }
            except PropertyError:
                continue
            changes = changes or len(ids) == 2
        assert changes == (item.kind.update is Update.REPLACEMENT), item.name


def example(custom: CustomResource, name: str, text: str) -> Any:
    """A value for a property, another one for another text."""
    (item,) = [item for item in documented(custom.resource.model) if item.name == name]
    if "Allowed values" in item.kind.limits:
        allowed = item.kind.limits["Allowed values"].split(" | ")
        return allowed[-1 if text == "two" else 0]
    if item.kind.type_name == "Integer":
        return item.kind.limits["Maximum" if text == "two" else "Minimum"]
    name = f"{text}.example.com"
    if item.kind.type_name.startswith("List"):
        return [name]
    wanted = item.kind.limits.get("Pattern", ".*")
    return name if re.fullmatch(wanted, name) else f"Z{text.upper()}"


@each_type
def test_the_page_has_the_sections_of_cloudformations_own(custom: CustomResource) -> None:
    text = (PAGES / f"{custom.resource.__name__}.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == [
        "Syntax",
        "Properties",
        "Return values",
        "Create, update and delete",
        "Permissions",
        *(["Failure reasons"] if custom.resource.failures else []),
        "Example",
    ]
