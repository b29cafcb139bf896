"""Scalable targets and scaling policies, through the Application Auto Scaling API."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from ... import application_auto_scaling as api
from ...context import CloudContext
from .. import aws_clients, registry
from ..registry import Properties, Result

_TARGET_KEY = ("ResourceId", "ScalableDimension", "ServiceNamespace")
_POLICY_CONFIGURATIONS = {
    "TargetTrackingScaling": "TargetTrackingScalingPolicyConfiguration",
    "StepScaling": "StepScalingPolicyConfiguration",
}


def install(context: CloudContext) -> None:
    """Serve the API and register its types."""
    api.install(context)
    registry.register(
        "AWS::ApplicationAutoScaling::ScalableTarget",
        create=_register_target,
        update=_update_target,
        delete=_deregister_target,
        blocking=True,
    )
    registry.register(
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        create=_put_policy,
        update=_update_policy,
        delete=_delete_policy,
        blocking=True,
    )


def _register_target(_logical_id: str, props: Properties, _stack_name: str) -> Result:
    names = (*_TARGET_KEY, "MinCapacity", "MaxCapacity", "RoleARN", "SuspendedState")
    aws_clients.client(api.SIGNING_NAME).register_scalable_target(
        **{name: props[name] for name in names if name in props}
    )
    target_id = "|".join(str(props[name]) for name in _TARGET_KEY)
    return target_id, {"Id": target_id}


def _update_target(_target_id: str, _old: Properties, new: Properties, stack_name: str) -> Result:
    return _register_target("", new, stack_name)


def _deregister_target(target_id: str, _props: Properties) -> None:
    key = dict(zip(_TARGET_KEY, target_id.split("|"), strict=True))
    _ignoring_absence(aws_clients.client(api.SIGNING_NAME).deregister_scalable_target, **key)


def _policy_key(props: Properties) -> dict[str, Any]:
    if "ScalingTargetId" in props:
        return dict(zip(_TARGET_KEY, str(props["ScalingTargetId"]).split("|"), strict=True))
    return {name: props[name] for name in _TARGET_KEY}


def _put_policy(_logical_id: str, props: Properties, _stack_name: str) -> Result:
    configuration = _POLICY_CONFIGURATIONS.get(props["PolicyType"])
    if configuration is None or configuration not in props:
        raise ValueError(
            f"The local cloud has no scaling policy of type {props['PolicyType']} with this configuration."
        )
    answer = aws_clients.client(api.SIGNING_NAME).put_scaling_policy(
        **_policy_key(props),
        PolicyName=props["PolicyName"],
        PolicyType=props["PolicyType"],
        **{configuration: props[configuration]},
    )
    return answer["PolicyARN"], {"Arn": answer["PolicyARN"]}


def _update_policy(_arn: str, _old: Properties, new: Properties, stack_name: str) -> Result:
    return _put_policy("", new, stack_name)


def _delete_policy(_arn: str, props: Properties) -> None:
    _ignoring_absence(
        aws_clients.client(api.SIGNING_NAME).delete_scaling_policy,
        **_policy_key(props),
        PolicyName=props["PolicyName"],
    )


def _ignoring_absence(call: Any, **arguments: Any) -> None:
    try:
        call(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ObjectNotFoundException":
            raise
