"""Whose a target is."""

from __future__ import annotations

import pytest

from custom_resources.ownership import LONGEST_DESCRIPTION, Owner
from tests.custom_resources.fakes import STACK_ID

OWNER = Owner(STACK_ID, "Target")


def test_the_description_says_whose_it_is_and_carries_the_mark() -> None:
    text = OWNER.description()
    assert text == f"Managed by CloudFormation: Target of tools-dev [owner {OWNER.mark}]"
    assert OWNER.owns(text)


def test_a_long_name_is_cut_but_never_the_mark() -> None:
    owner = Owner(STACK_ID, "T" * 255)
    assert len(owner.description()) == LONGEST_DESCRIPTION
    assert owner.owns(owner.description())


@pytest.mark.parametrize(
    "other",
    [
        Owner(STACK_ID, "Other"),
        Owner(STACK_ID.replace("6b0c1c2e", "ffffffff"), "Target"),
        Owner(STACK_ID.replace("tools-dev", "tools-prod"), "Target"),
    ],
)
def test_another_resource_or_stack_has_another_mark(other: Owner) -> None:
    assert len(other.mark) == 32
    assert not OWNER.owns(other.description())


@pytest.mark.parametrize("text", ["", "[owner ]", f"{OWNER.description()} and more", OWNER.mark])
def test_what_carries_no_mark_is_nobodys(text: str) -> None:
    assert not OWNER.owns(text)


def test_a_stack_id_that_is_no_arn_is_its_own_name() -> None:
    assert Owner("local", "Target").stack_name == "local"
