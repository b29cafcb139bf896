"""Reading stacks: one stack, its outputs, and everything below it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from ops.errors import error_code, error_message

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.client import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackTypeDef

STACK_TYPE = "AWS::CloudFormation::Stack"


@dataclass(frozen=True)
class Resource:
    """A resource of a stack.

    Attributes:
        path: logical ids from the root stack down, such as `Network/Vpc`.
        kind: the resource type.
        physical_id: empty if it was never made.
        status: such as `CREATE_COMPLETE`.
        reason: what CloudFormation says about the status; may be empty.

    """

    path: str
    kind: str
    physical_id: str
    status: str
    reason: str


def is_missing(error: ClientError) -> bool:
    """Tell whether CloudFormation says that there is no such stack."""
    return error_code(error) == "ValidationError" and "does not exist" in error_message(error)


def describe(cloudformation: CloudFormationClient, name: str) -> StackTypeDef | None:
    """Return a stack by name or id; None if there is none."""
    try:
        return cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if is_missing(error):
            return None
        raise


def outputs(stack: StackTypeDef) -> dict[str, str]:
    """Return the outputs of a stack by key."""
    return {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])}


def resources(cloudformation: CloudFormationClient, stack_id: str, path: str = "") -> Iterator[Resource]:
    """Yield the resources of a stack and of all stacks nested in it, those that are gone left out."""
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack_id)
    try:
        summaries = [item for page in pages for item in page["StackResourceSummaries"]]
    except ClientError as error:
        if is_missing(error):
            return
        raise
    for item in summaries:
        if item["ResourceStatus"] == "DELETE_COMPLETE":
            continue
        found = Resource(
            f"{path}{item['LogicalResourceId']}",
            item["ResourceType"],
            item.get("PhysicalResourceId", ""),
            item["ResourceStatus"],
            item.get("ResourceStatusReason", ""),
        )
        yield found
        if found.kind == STACK_TYPE and found.physical_id:
            yield from resources(cloudformation, found.physical_id, f"{found.path}/")
