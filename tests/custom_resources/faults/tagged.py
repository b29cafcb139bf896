"""Tags in the worlds: a thing has those of the property, those that somebody else gave it, and no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hypothesis import strategies as st

THEIRS = {"CostCentre": "4711"}
"""What somebody else gives a thing of ours."""

A_FEW = [{"Key": "Project", "Value": "tools"}, {"Key": "Stage", "Value": "dev"}]
# One is changed, one is gone, one is new.
CHANGED = [{"Key": "Project", "Value": "search"}, {"Key": "Owner", "Value": "platform team"}]
some_tags = st.sampled_from([A_FEW, CHANGED, []])

Things = Iterable[tuple[dict[str, Any], Mapping[str, str]]]
"""Things, each as the fake keeps it from its making to its end, and their tags."""


def untrue_tags(things: Things, properties: Mapping[str, Any], given: list[dict[str, Any]]) -> list[str]:
    """Return which things don't have the tags of the property; `given` are those with THEIRS as well."""
    wanted = {tag["Key"]: tag["Value"] for tag in properties["Tags"]}
    untruths = []
    for thing, tags in things:
        theirs = THEIRS if any(thing is one for one in given) else {}
        found = {key: value for key, value in tags.items() if not key.startswith("custom-resource:")}
        if found != {**wanted, **theirs}:
            untruths.append(f"tags {found} for {wanted} and {theirs}")
    return untruths
