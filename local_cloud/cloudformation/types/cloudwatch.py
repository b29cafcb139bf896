"""Composite alarms, through the CloudWatch API."""

from __future__ import annotations

import secrets
import string

from ...context import CloudContext
from .. import aws_clients, registry
from ..registry import Properties, Result

_ALPHABET = string.ascii_uppercase + string.digits
_PUT = (
    "ActionsEnabled",
    "ActionsSuppressor",
    "ActionsSuppressorExtensionPeriod",
    "ActionsSuppressorWaitPeriod",
    "AlarmActions",
    "AlarmDescription",
    "AlarmRule",
    "InsufficientDataActions",
    "OKActions",
)


def install(_context: CloudContext) -> None:
    """Register the types of this module."""
    registry.register(
        "AWS::CloudWatch::CompositeAlarm", create=_create, update=_update, delete=_delete, blocking=True
    )


def _create(logical_id: str, props: Properties, stack_name: str) -> Result:
    suffix = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    return _put(props.get("AlarmName") or f"{stack_name}-{logical_id}-{suffix}", props)


def _update(name: str, old: Properties, new: Properties, stack_name: str) -> Result:
    if new.get("AlarmName") != old.get("AlarmName"):
        return _create("CompositeAlarm", new, stack_name)
    return _put(name, new)


def _put(name: str, props: Properties) -> Result:
    client = aws_clients.client("cloudwatch")
    tags = {"Tags": props["Tags"]} if props.get("Tags") else {}
    client.put_composite_alarm(AlarmName=name, **{key: props[key] for key in _PUT if key in props}, **tags)
    alarms = client.describe_alarms(AlarmNames=[name], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    return name, {"Arn": alarms[0]["AlarmArn"]}


def _delete(name: str, _props: Properties) -> None:
    aws_clients.client("cloudwatch").delete_alarms(AlarmNames=[name])
