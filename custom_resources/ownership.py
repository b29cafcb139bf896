"""Whose a gateway target is: a mark at the end of its description.

Targets have no tags (botocore model of CreateGatewayTarget), so the description carries the mark. It stays
the same for the life of the resource in its stack and differs for every other, also for a later stack of the
same name.
"""

import hashlib
import re
from dataclasses import dataclass

LONGEST_DESCRIPTION = 200
_MARK = re.compile(r"\[owner ([0-9a-f]{32})\]$")


@dataclass(frozen=True)
class Owner:
    """A custom resource in a stack."""

    stack_id: str
    logical_resource_id: str

    @property
    def mark(self) -> str:
        """32 hex digits that only this resource of this stack has."""
        return hashlib.sha256(f"{self.stack_id}\n{self.logical_resource_id}".encode()).hexdigest()[:32]

    def description(self) -> str:
        """Return the target's description: whose it is in words, and the mark; at most 200 characters."""
        ending = f" [owner {self.mark}]"
        words = f"Managed by CloudFormation: {self.logical_resource_id} of {self.stack_name}"
        return words[: LONGEST_DESCRIPTION - len(ending)] + ending

    @property
    def stack_name(self) -> str:
        """The name in the stack's ARN, arn:…:stack/<name>/<uuid>."""
        parts = self.stack_id.split("/")
        return parts[1] if len(parts) > 1 else self.stack_id

    def owns(self, description: str) -> bool:
        """Whether a target with this description is this resource's."""
        found = _MARK.search(description)
        return found is not None and found.group(1) == self.mark
