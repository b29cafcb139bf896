"""Whose a thing in the account is: a mark in its tags, or at the end of a gateway target's description.

Targets have no tags (botocore model of CreateGatewayTarget). The mark stays the same for the life of the
resource in its stack and differs for every other, also for a later stack of the same name.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LONGEST_DESCRIPTION = 200
OWNER_TAG = "custom-resource:owner"
STACK_TAG = "custom-resource:stack"
_MARK = re.compile(r"\[owner ([0-9a-f]{32})\]$")


@dataclass(frozen=True)
class Owner:
    """A custom resource in a stack.

    `instance` tells apart what one resource has before and after a replacement.
    """

    stack_id: str
    logical_resource_id: str
    instance: str = ""

    @property
    def mark(self) -> str:
        """32 hex digits that only this resource of this stack has."""
        parts = [self.stack_id, self.logical_resource_id, *filter(None, [self.instance])]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    def description(self) -> str:
        """Return the target's description: whose it is in words, and the mark; at most 200 characters."""
        ending = f" [owner {self.mark}]"
        words = f"Managed by CloudFormation: {self.logical_resource_id} of {self.stack_name}"
        return words[: LONGEST_DESCRIPTION - len(ending)] + ending

    def tags(self) -> dict[str, str]:
        """Return the tags that say whose it is: the mark for us, the stack's name for people."""
        return {OWNER_TAG: self.mark, STACK_TAG: self.stack_name}

    @property
    def stack_name(self) -> str:
        """The name in the stack's ARN, arn:…:stack/<name>/<uuid>."""
        parts = self.stack_id.split("/")
        return parts[1] if len(parts) > 1 else self.stack_id

    def owns(self, description: str) -> bool:
        """Whether a target with this description is this resource's."""
        found = _MARK.search(description)
        return found is not None and found.group(1) == self.mark

    def owns_tagged(self, tags: Mapping[str, str]) -> bool:
        """Whether what has these tags is this resource's."""
        return tags.get(OWNER_TAG) == self.mark


def tag_list(tags: Mapping[str, str]) -> list[Any]:
    """Return tags as most services take them: `[{"Key": …, "Value": …}, …]`."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_mapping(tags: list[Any]) -> dict[str, str]:
    """Return tags as `{key: value}` from a list of Key and Value."""
    return {tag["Key"]: tag.get("Value", "") for tag in tags}
