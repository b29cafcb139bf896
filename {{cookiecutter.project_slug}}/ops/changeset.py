"""Change sets: what a deployment would change, and doing it."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import ClientError

from ops import stacks
from ops.errors import OpsError, error_code, error_message
from ops.follow import Pauses

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.client import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import ChangeTypeDef

Kind = Literal["CREATE", "UPDATE"]

# CloudFormation tells an empty change set from a failed one by its text only.
_EMPTY = ("didn't contain changes", "No updates are to be performed")


@dataclass(frozen=True)
class ChangeSet:
    """A change set that is ready.

    Attributes:
        id: its ARN.
        stack_id: the stack's ARN; a stack without resources was made for it if there was none.
        kind: whether it creates or updates the stack.
        added: how many resources of the root template come.
        changed: how many change.
        removed: how many go.
        replaced: the logical ids of those that are replaced.

    """

    id: str
    stack_id: str
    kind: Kind
    added: int
    changed: int
    removed: int
    replaced: list[str]

    @property
    def summary(self) -> str:
        """The counts in words."""
        text = f"{self.added} to add, {self.changed} to change, {self.removed} to remove"
        return f"{text}; replaces {', '.join(self.replaced)}" if self.replaced else text


def create(
    cloudformation: CloudFormationClient,
    stack_name: str,
    kind: Kind,
    template_url: str,
    parameters: dict[str, str],
    tags: dict[str, str],
) -> ChangeSet | None:
    """Make a change set and wait until it is ready.

    Returns:
        The change set; None if nothing would change (the empty one is deleted).

    Raises:
        OpsError: CloudFormation refused the template, a parameter or the change.

    """
    try:
        answer = cloudformation.create_change_set(
            StackName=stack_name,
            ChangeSetName=f"ops-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}",
            ChangeSetType=kind,
            TemplateURL=template_url,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
    except ClientError as error:
        if error_code(error) in {"ValidationError", "InsufficientCapabilitiesException"}:
            raise OpsError(_refused(stack_name, error_message(error))) from error
        raise
    change_set, stack_id = answer["Id"], answer["StackId"]
    try:
        return _wait(cloudformation, change_set, stack_id, stack_name, kind)
    except KeyboardInterrupt:
        discard(cloudformation, change_set, stack_id, kind)
        raise


def _wait(
    cloudformation: CloudFormationClient, change_set: str, stack_id: str, stack_name: str, kind: Kind
) -> ChangeSet | None:
    pauses = Pauses()
    while True:
        answer = cloudformation.describe_change_set(ChangeSetName=change_set)
        status, reason = answer["Status"], answer.get("StatusReason", "")
        if status == "CREATE_COMPLETE":
            return _ready(cloudformation, change_set, stack_id, kind)
        if status == "FAILED":
            discard(cloudformation, change_set, stack_id, kind)
            if any(text in reason for text in _EMPTY):
                return None
            raise OpsError(_refused(stack_name, " ".join(reason.split())))
        pauses.wait()


def _ready(cloudformation: CloudFormationClient, change_set: str, stack_id: str, kind: Kind) -> ChangeSet:
    changes: list[ChangeTypeDef] = []
    token = ""
    while True:
        more = {"NextToken": token} if token else {}
        page = cloudformation.describe_change_set(ChangeSetName=change_set, **more)  # type: ignore[arg-type]
        changes += page.get("Changes", [])
        token = page.get("NextToken", "")
        if not token:
            break
    parts = [item["ResourceChange"] for item in changes if "ResourceChange" in item]
    actions = [part.get("Action") for part in parts]
    replaced = [part.get("LogicalResourceId", "") for part in parts if part.get("Replacement") == "True"]
    added, removed = actions.count("Add"), actions.count("Remove")
    return ChangeSet(change_set, stack_id, kind, added, len(actions) - added - removed, removed, replaced)


def execute(cloudformation: CloudFormationClient, change_set: ChangeSet, *, rollback: bool) -> None:
    """Start a change set.

    Args:
        cloudformation: the client.
        change_set: from `create`.
        rollback: False leaves what was made before a failure, to be looked at.

    """
    cloudformation.execute_change_set(ChangeSetName=change_set.id, DisableRollback=not rollback)


def discard(cloudformation: CloudFormationClient, change_set: str, stack_id: str, kind: Kind) -> None:
    """Delete a change set that won't be executed, and the empty stack that was made for it."""
    cloudformation.delete_change_set(ChangeSetName=change_set)
    if kind == "CREATE":
        stack = stacks.describe(cloudformation, stack_id)
        if stack and stack["StackStatus"] == "REVIEW_IN_PROGRESS":
            cloudformation.delete_stack(StackName=stack_id)


def _refused(stack_name: str, reason: str) -> str:
    return f"CloudFormation refused the change of {stack_name}: {reason.rstrip('.')}."
