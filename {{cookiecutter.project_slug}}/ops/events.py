"""Stack events: read through nested stacks, and the first causes of a failure found in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from ops.stacks import STACK_TYPE, is_missing

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.client import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackEventTypeDef

# What CloudFormation writes at resources it stopped because another one had failed.
_CONSEQUENCES = ("Resource creation cancelled", "Resource update cancelled", "Resource deletion cancelled")
_STARTS = frozenset({"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"})
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Event:
    """One stack event.

    Attributes:
        stack_id: the stack it happened in.
        path: logical ids from the root stack down; the root stack's own events have its name.
        kind: the resource type.
        physical_id: empty while unknown.
        status: such as `CREATE_FAILED`.
        reason: what CloudFormation or a hook says about it; may be empty.
        time: with time zone.

    """

    stack_id: str
    path: str
    kind: str
    physical_id: str
    status: str
    reason: str
    time: datetime

    @property
    def of_stack_itself(self) -> bool:
        """Whether it tells of a stack as a whole, told by that stack."""
        return self.physical_id == self.stack_id

    @property
    def nested_stack(self) -> str | None:
        """The id of the nested stack that this event of its parent is about."""
        known = self.kind == STACK_TYPE and self.physical_id and not self.of_stack_itself
        return self.physical_id if known else None


def newest(cloudformation: CloudFormationClient, stack_id: str) -> datetime:
    """Return the time of a stack's newest event: what is later belongs to the next operation.

    The last event of an operation is the root stack's own, so the time holds for nested stacks too.
    """
    for item in _pages(cloudformation, stack_id):
        return item["Timestamp"]
    return _LONG_AGO


def operation_start(cloudformation: CloudFormationClient, stack_id: str) -> datetime:
    """Return a time just before the first event of a stack's newest operation."""
    for item in _pages(cloudformation, stack_id):
        if item.get("PhysicalResourceId") == stack_id and item.get("ResourceStatus") in _STARTS:
            return item["Timestamp"] - timedelta(microseconds=1)
    return _LONG_AGO


def _pages(cloudformation: CloudFormationClient, stack_id: str) -> Iterator[StackEventTypeDef]:
    """Yield a stack's events, newest first; none if there is no such stack."""
    try:
        for page in cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id):
            yield from page["StackEvents"]
    except ClientError as error:
        if not is_missing(error):
            raise


class EventStream:
    """New events of a stack and of those nested in it, as they come.

    Args:
        cloudformation: the client.
        stack_id: the root stack.
        name: what the root stack is called in paths.
        since: only events later than this are told.

    """

    def __init__(
        self, cloudformation: CloudFormationClient, stack_id: str, name: str, since: datetime
    ) -> None:
        self._cloudformation = cloudformation
        self._since = since
        self._newest: dict[str, str] = {}
        self._paths = {stack_id: name}
        self._root = stack_id
        self.all: list[Event] = []

    def poll(self) -> list[Event]:
        """Return what is new since the last call, oldest first, nested stacks included."""
        fresh: list[Event] = []
        queue = list(self._paths)
        while queue:
            stack_id = queue.pop(0)
            for event in self._read(stack_id):
                fresh.append(event)
                nested = event.nested_stack
                if nested and nested not in self._paths:
                    self._paths[nested] = event.path
                    queue.append(nested)
        fresh.sort(key=lambda event: event.time)
        self.all += fresh
        return fresh

    def _read(self, stack_id: str) -> list[Event]:
        """Read one stack's events, newest first, back to the last one told; return them oldest first."""
        found = []
        for item in _pages(self._cloudformation, stack_id):
            if item["EventId"] == self._newest.get(stack_id) or item["Timestamp"] <= self._since:
                break
            found.append(item)
        if found:
            self._newest[stack_id] = found[0]["EventId"]
        return [self._event(stack_id, item) for item in reversed(found)]

    def _event(self, stack_id: str, item: StackEventTypeDef) -> Event:
        physical, logical = item.get("PhysicalResourceId", ""), item.get("LogicalResourceId", "")
        here = self._paths[stack_id]
        path = logical if stack_id == self._root else f"{here}/{logical}"
        if physical == stack_id:
            path = here
        return Event(
            stack_id,
            path,
            item.get("ResourceType", ""),
            physical,
            item.get("ResourceStatus", ""),
            item.get("ResourceStatusReason") or item.get("HookStatusReason", ""),
            item["Timestamp"],
        )


def causes(events: Iterable[Event]) -> list[Event]:
    """Return the failures that others follow from, oldest first.

    Left out are cancelled resources, a stack's own summary, and a nested stack whose own events tell more.
    Failures of the rollback are told only where nothing else failed.
    """
    failed = [event for event in events if event.status.endswith("_FAILED") and not event.of_stack_itself]
    told = {event.stack_id for event in failed}
    real = [
        event
        for event in failed
        if not event.reason.startswith(_CONSEQUENCES)
        and not (event.nested_stack and event.nested_stack in told)
    ]
    first = [
        event for event in real if not event.status.startswith(("DELETE", "ROLLBACK", "UPDATE_ROLLBACK"))
    ]
    return first or real


def summary(events: Iterable[Event]) -> str:
    """Return what the stacks themselves say of a failure, for when no resource does."""
    said = [event.reason for event in events if event.of_stack_itself and event.reason]
    return said[-1] if said else ""
