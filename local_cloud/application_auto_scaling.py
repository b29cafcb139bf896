"""The Application Auto Scaling API for ECS services: targets and policies are checked and kept, not acted on.

Requests are validated against botocore's model of the service, and a target's ECS service must exist.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from functools import cache
from typing import Any

from ministack.core.responses import get_region  # type: ignore[import-untyped]
from ministack.services import ecs  # type: ignore[import-untyped]

from .context import ACCOUNT_ID, CloudContext, Receive, Scope, Send

SIGNING_NAME = "application-autoscaling"
_TARGET_PREFIX = b"AnyScaleFrontendService."
_KEY = ("ServiceNamespace", "ResourceId", "ScalableDimension")

Record = dict[str, Any]


class ServiceError(Exception):
    """An error answer of the API: a code of the service's model and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ApplicationAutoScaling:
    """State of all regions, and the actions on it."""

    def __init__(self) -> None:
        self._targets: dict[tuple[str, ...], Record] = {}
        self._policies: dict[tuple[str, ...], Record] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of the AWS JSON 1.1 protocol."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        action = headers.get(b"x-amz-target", b"").removeprefix(_TARGET_PREFIX).decode()
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        try:
            status, answer = 200, self._act(action, json.loads(body or b"{}"))
        except ServiceError as error:
            status, answer = 400, {"__type": error.code, "message": str(error)}
        content = json.dumps(answer).encode()
        response_headers = [
            (b"content-type", b"application/x-amz-json-1.1"),
            (b"content-length", str(len(content)).encode()),
            (b"x-amzn-requestid", str(uuid.uuid4()).encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": response_headers})
        await send({"type": "http.response.body", "body": content})

    def _act(self, action: str, request: Record) -> Record:
        actions: dict[str, Callable[[Record], Record]] = {
            "RegisterScalableTarget": self._register_target,
            "DescribeScalableTargets": self._describe_targets,
            "DeregisterScalableTarget": self._deregister_target,
            "PutScalingPolicy": self._put_policy,
            "DescribeScalingPolicies": self._describe_policies,
            "DeleteScalingPolicy": self._delete_policy,
            "DescribeScalingActivities": lambda _request: {"ScalingActivities": []},
        }
        if action not in actions:
            raise ServiceError(
                "UnknownOperationException", f"The local cloud doesn't have {action or 'that action'}."
            )
        _validate(action, request)
        return actions[action](request)

    def _register_target(self, request: Record) -> Record:
        if request["ServiceNamespace"] != "ecs":
            raise ServiceError(
                "ValidationException", "The local cloud scales ECS services only (namespace ecs)."
            )
        _require_service(request["ResourceId"])
        key = _key(request)
        known = self._targets.get(key)
        if known is None and not {"MinCapacity", "MaxCapacity"} <= request.keys():
            raise ServiceError(
                "ValidationException", "MinCapacity and MaxCapacity are required for a new target."
            )
        target = {
            **(
                known
                or {
                    "CreationTime": time.time(),
                    "ScalableTargetARN": _arn(f"scalable-target/{uuid.uuid4().hex}"),
                }
            ),
            **{name: value for name, value in request.items() if name not in {"Tags", "RoleARN"}},
            "RoleARN": request.get("RoleARN") or _service_role(),
        }
        if target["MinCapacity"] > target["MaxCapacity"]:
            raise ServiceError("ValidationException", "Maximum capacity cannot be less than minimum capacity")
        self._targets[key] = target
        return {"ScalableTargetARN": target["ScalableTargetARN"]}

    def _describe_targets(self, request: Record) -> Record:
        targets = [
            target
            for key, target in self._targets.items()
            if key[0] == get_region()
            and target["ServiceNamespace"] == request["ServiceNamespace"]
            and (not request.get("ResourceIds") or target["ResourceId"] in request["ResourceIds"])
            and request.get("ScalableDimension") in {None, target["ScalableDimension"]}
        ]
        return {"ScalableTargets": targets}

    def _deregister_target(self, request: Record) -> Record:
        key = _key(request)
        if self._targets.pop(key, None) is None:
            raise ServiceError(
                "ObjectNotFoundException", f"No scalable target found for {request['ResourceId']}"
            )
        # The service drops a target's policies with it (API reference, DeregisterScalableTarget).
        for policy in [policy for policy in self._policies if policy[:4] == key]:
            del self._policies[policy]
        return {}

    def _put_policy(self, request: Record) -> Record:
        key = _key(request)
        if key not in self._targets:
            raise ServiceError(
                "ObjectNotFoundException", f"No scalable target registered for {request['ResourceId']}"
            )
        name = request["PolicyName"]
        known = self._policies.get((*key, name)) or {
            "CreationTime": time.time(),
            "PolicyARN": _arn(
                f"scalingPolicy:{uuid.uuid4()}:resource/{request['ServiceNamespace']}/{request['ResourceId']}"
                f":policyName/{name}"
            ),
            "Alarms": [],
        }
        self._policies[(*key, name)] = {**known, **request}
        return {"PolicyARN": known["PolicyARN"], "Alarms": known["Alarms"]}

    def _describe_policies(self, request: Record) -> Record:
        policies = [
            policy
            for key, policy in self._policies.items()
            if key[0] == get_region()
            and policy["ServiceNamespace"] == request["ServiceNamespace"]
            and request.get("ResourceId") in {None, policy["ResourceId"]}
            and request.get("ScalableDimension") in {None, policy["ScalableDimension"]}
            and (not request.get("PolicyNames") or policy["PolicyName"] in request["PolicyNames"])
        ]
        return {"ScalingPolicies": policies}

    def _delete_policy(self, request: Record) -> Record:
        if self._policies.pop((*_key(request), request["PolicyName"]), None) is None:
            raise ServiceError(
                "ObjectNotFoundException", f"No scaling policy found for {request['PolicyName']}"
            )
        return {}


def install(context: CloudContext) -> None:
    """Serve the API for requests signed for it."""
    context.route_service(SIGNING_NAME, ApplicationAutoScaling())


def _key(request: Record) -> tuple[str, ...]:
    return (get_region(), *(request[name] for name in _KEY))


def _arn(resource: str) -> str:
    service = "autoscaling" if resource.startswith("scalingPolicy") else SIGNING_NAME
    return f"arn:aws:{service}:{get_region()}:{ACCOUNT_ID}:{resource}"


def _service_role() -> str:
    path = "role/aws-service-role/ecs.application-autoscaling.amazonaws.com"
    return f"arn:aws:iam::{ACCOUNT_ID}:{path}/AWSServiceRoleForApplicationAutoScaling_ECSService"


def _require_service(resource_id: str) -> None:
    parts = resource_id.split("/")
    if len(parts) != 3 or parts[0] != "service":
        raise ServiceError(
            "ValidationException", f"ResourceId must be service/<cluster>/<service>, not {resource_id}"
        )
    services = ecs._services.values()
    if not any(
        service["serviceName"] == parts[2]
        and service["clusterArn"].endswith(f"/{parts[1]}")
        and service["status"] == "ACTIVE"
        for service in services
    ):
        raise ServiceError("ValidationException", f"ECS service doesn't exist: {resource_id}")


def _validate(action: str, request: Record) -> None:
    from botocore.validate import ParamValidator

    report: Any = ParamValidator().validate(request, _model().operation_model(action).input_shape)
    if report.has_errors():
        raise ServiceError("ValidationException", report.generate_report())


@cache
def _model() -> Any:
    import botocore.session

    return botocore.session.get_session().get_service_model(SIGNING_NAME)
