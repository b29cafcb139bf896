"""Composite alarms, through the CloudWatch API; alarms on a query or an expression, which are kept only."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from typing import Any

from ministack.services.cloudformation import provisioners  # type: ignore[import-untyped]

from ...context import CloudContext
from .. import aws_clients, patching, registry
from ..registry import Properties, Result

_ALPHABET = string.ascii_uppercase + string.digits
# What an alarm on a metric has, and one on an expression doesn't.
_OF_ONE_METRIC = ("Dimensions", "ExtendedStatistic", "MetricName", "Namespace", "Period", "Statistic", "Unit")
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
    patching.wrap(provisioners, "_cw_metric_alarm_record", _with_expressions)


def _with_expressions(original: Callable[..., Any]) -> Callable[..., Any]:
    """Keep `Metrics`, which the emulator refuses; such an alarm changes its state by SetAlarmState alone."""

    def record(name: str, props: Properties) -> dict[str, Any]:
        metrics = props.get("Metrics")
        if not metrics:
            alarm: dict[str, Any] = original(name, props)
            return alarm
        # The emulator insists on a metric; what it makes of this one is dropped again.
        stand_in = {**props, "Metrics": None, "MetricName": "Expression", "Namespace": "Expression"}
        kept = {key: value for key, value in original(name, stand_in).items() if key not in _OF_ONE_METRIC}
        return {**kept, "Metrics": metrics}

    return record


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
