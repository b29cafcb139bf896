# ruff: noqa: N803 - the services' own parameter names
"""Custom::ManagedPrefixList against prefix lists in memory."""

from __future__ import annotations

from typing import Any

import pytest

from custom_resources.managed_prefix_list import ManagedPrefixList
from tests.custom_resources.conftest import Run
from tests.custom_resources.fakes import Backend, Clients

NAME = "com.amazonaws.global.cloudfront.origin-facing"
PROPERTIES = {"PrefixListName": NAME}


class PrefixLists(Backend):
    """A region's prefix lists: (id, name, owner)."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = [("pl-0000000000000001", NAME, "123456789012"), ("pl-0000000000000002", NAME, "AWS")]

    def describe_managed_prefix_lists(self, Filters: list[dict[str, Any]]) -> dict[str, Any]:
        wanted = {one["Name"]: one["Values"] for one in Filters}
        return {
            "PrefixLists": [
                {"PrefixListId": identifier, "PrefixListName": name, "OwnerId": owner}
                for identifier, name, owner in self.lists
                if name in wanted["prefix-list-name"] and owner in wanted["owner-id"]
            ]
        }


@pytest.fixture
def lists() -> PrefixLists:
    return PrefixLists()


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_the_list_of_aws_is_found(run: Run, lists: PrefixLists, kind: str) -> None:
    """A list of the same name that an account made is not it."""
    response = run(ManagedPrefixList, Clients(ec2=lists), kind, PROPERTIES)
    assert response["Status"] == "SUCCESS"
    assert response["PhysicalResourceId"] == f"managed-prefix-list|{NAME}"
    assert response["Data"] == {"PrefixListId": "pl-0000000000000002"}


def test_a_list_that_is_not_there_is_named(run: Run, lists: PrefixLists) -> None:
    lists.lists = []
    response = run(ManagedPrefixList, Clients(ec2=lists), "Create", PROPERTIES)
    assert response["Status"] == "FAILED"
    assert NAME in response["Reason"]


def test_delete_asks_nothing(run: Run, lists: PrefixLists) -> None:
    physical_id = f"managed-prefix-list|{NAME}"
    response = run(ManagedPrefixList, Clients(ec2=lists), "Delete", PROPERTIES, physical_id=physical_id)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", physical_id)
    assert lists.calls == []
