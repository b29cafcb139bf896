# ruff: noqa: N803 - the services' own parameter names
"""AWS without AWS: real botocore clients whose calls are answered by a Python object.

botocore checks every request against its service model before it gets here, and every answer is checked
against the model's output shape, so neither the handlers nor these fakes can use a shape that isn't there.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3
from botocore import xform_name
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ParamValidationError
from botocore.validate import validate_parameters

from custom_resources import aws

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
STACK_ID = (
    "arn:aws:cloudformation:us-east-1:123456789012:stack/tools-dev/6b0c1c2e-0000-1111-2222-333344445555"
)
GATEWAY = "tools-a1b2c3d4e5"


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.on_sleep: Callable[[], None] = lambda: None

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.time += seconds
        self.on_sleep()


@dataclass
class Context:
    """Lambda's context: a function that dies `seconds` after the clock's time at its start."""

    clock: Any
    seconds: float = 600.0
    aws_request_id: str = "invocation-1"

    def __post_init__(self) -> None:
        self.end = self.clock.now() + self.seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self.end - self.clock.now()) * 1000)


class ApiError(Exception):
    """Answer a call with this error of the service."""

    def __init__(self, code: str, message: str = "no", status: int = 400) -> None:
        super().__init__(code)
        self.code, self.message, self.status = code, message, status


@cache
def _session() -> Any:
    return boto3.session.Session("test", "test", region_name="us-east-1")


def client_for(service: str, backend: Any) -> Any:
    """A boto3 client of `service` whose operations are methods of `backend`, recorded in `backend.calls`.

    `backend.errors[operation]` is a list of errors to answer the next calls with (None: let one pass).
    """
    client = _session().client(service)
    parameters: list[dict[str, Any]] = [{}]

    def remember(params: dict[str, Any], **_: Any) -> None:
        parameters[0] = dict(params)

    def answer(model: Any, **_: Any) -> tuple[AWSResponse, dict[str, Any]]:
        name = xform_name(model.name)
        backend.calls.append((name, parameters[0]))
        try:
            planned = backend.errors.get(name)
            error = planned.pop(0) if planned else None
            if error is not None:
                raise error
            body = getattr(backend, name)(**parameters[0])
        except ApiError as error:
            metadata = {"HTTPStatusCode": error.status}
            failure = {"Error": {"Code": error.code, "Message": error.message}, "ResponseMetadata": metadata}
            return AWSResponse("", error.status, HTTPHeaders(), None), failure
        streamed = {key: value for key, value in body.items() if key == "Body"}
        checked = {key: value for key, value in body.items() if key != "Body"}
        _check_answer(checked, model.output_shape)
        return AWSResponse("", 200, HTTPHeaders(), None), {
            **checked,
            **streamed,
            "ResponseMetadata": {"HTTPStatusCode": 200},
        }

    endpoint = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register_first(f"before-parameter-build.{endpoint}.*", remember)
    client.meta.events.register_first(f"before-call.{endpoint}.*", answer)
    return client


def _check_answer(answer: dict[str, Any], shape: Any) -> None:
    """Check types and names; services don't keep to minimum lengths, as ECR's empty imageIds shows."""
    if shape is None:
        assert answer == {}, "the operation has no answer"
        return
    try:
        validate_parameters(answer, shape)
    except ParamValidationError as error:
        if any("valid min length" not in line for line in str(error).splitlines()[1:]):
            raise


class Backend:
    """What `client_for` needs."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.errors: dict[str, list[ApiError | None]] = {}

    def called(self, operation: str) -> list[dict[str, Any]]:
        return [parameters for name, parameters in self.calls if name == operation]


@dataclass
class StoredTarget:
    """A target and the statuses its next reads will show; the last one stays."""

    parameters: dict[str, Any]
    statuses: list[str]
    reasons: list[str] = field(default_factory=list)
    synchronized: int = 0


GONE = "GONE"


class Gateway(Backend):
    """AgentCore's targets of one gateway, with a plan of the statuses each change leads through."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: dict[str, StoredTarget] = {}
        self.plans = {
            "create": ["CREATING", "READY"],
            "update": ["UPDATING", "READY"],
            "synchronize": ["SYNCHRONIZING", "READY"],
            "delete": ["DELETING", GONE],
        }
        self.reasons: list[str] = []
        self._tokens: dict[str, tuple[str, tuple[str, str]]] = {}
        self._ids: Iterator[str] = (f"TARGET{number:04d}" for number in itertools.count(1))

    def add(self, name: str, description: str, *statuses: str, **parameters: Any) -> str:
        """Put a target there; `parameters` as CreateGatewayTarget takes them."""
        target_id = next(self._ids)
        self.targets[target_id] = StoredTarget(
            {"name": name, "description": description, **parameters},
            list(statuses or ("READY",)),
            self.reasons,
        )
        return target_id

    def names(self) -> list[str]:
        return sorted(str(target.parameters["name"]) for target in self.targets.values())

    def list_gateway_targets(self, gatewayIdentifier: str, nextToken: str = "0") -> dict[str, Any]:
        self._check(gatewayIdentifier)
        start = int(nextToken)
        items = list(self.targets.items())
        answer: dict[str, Any] = {
            "items": [
                {
                    "targetId": target_id,
                    "name": target.parameters["name"],
                    "status": target.statuses[0] if target.statuses[0] != GONE else "DELETING",
                    "createdAt": NOW,
                    "updatedAt": NOW,
                }
                for target_id, target in items[start : start + 2]
            ]
        }
        if start + 2 < len(items):
            answer["nextToken"] = str(start + 2)
        return answer

    def get_gateway_target(self, gatewayIdentifier: str, targetId: str) -> dict[str, Any]:
        self._check(gatewayIdentifier)
        target = self._target(targetId)
        status = target.statuses.pop(0) if len(target.statuses) > 1 else target.statuses[0]
        if status == GONE:
            del self.targets[targetId]
            raise ApiError("ResourceNotFoundException", status=404)
        return self._describe(targetId, target, status)

    def create_gateway_target(
        self, gatewayIdentifier: str, clientToken: str, name: str, **parameters: Any
    ) -> dict[str, Any]:
        self._check(gatewayIdentifier)
        assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){32,255}", clientToken)
        if clientToken in self._tokens:
            target_id, first = self._tokens[clientToken]
            if first != (name, str(parameters)):
                raise ApiError("ValidationException", "The token was used with other parameters")
            target = self.targets.get(target_id) or StoredTarget({"name": name, **parameters}, ["CREATING"])
            return self._describe(target_id, target, target.statuses[0])
        if name in self.names():
            raise ApiError("ConflictException", "A target with this name exists", 409)
        request = (name, str(parameters))
        target_id = self.add(name, _description(parameters), *self.plans["create"], **parameters)
        self._tokens[clientToken] = target_id, request
        return self._describe(target_id, self.targets[target_id], "CREATING")

    def update_gateway_target(
        self, gatewayIdentifier: str, targetId: str, **parameters: Any
    ) -> dict[str, Any]:
        target = self._changeable(targetId)
        target.parameters, target.statuses = parameters, list(self.plans["update"])
        return self._describe(targetId, target, "UPDATING")

    def synchronize_gateway_targets(self, gatewayIdentifier: str, targetIdList: list[str]) -> dict[str, Any]:
        target = self._changeable(targetIdList[0])
        target.statuses = list(self.plans["synchronize"])
        target.synchronized += 1
        return {"targets": [self._describe(targetIdList[0], target, "SYNCHRONIZING")]}

    def delete_gateway_target(self, gatewayIdentifier: str, targetId: str) -> dict[str, Any]:
        target = self._changeable(targetId)
        target.statuses = list(self.plans["delete"])
        return {"gatewayArn": _gateway_arn(), "targetId": targetId, "status": "DELETING"}

    def _check(self, gateway_id: str) -> None:
        if gateway_id != GATEWAY:
            raise ApiError("ResourceNotFoundException", "Gateway not found", 404)

    def _target(self, target_id: str) -> StoredTarget:
        if target_id not in self.targets:
            raise ApiError("ResourceNotFoundException", "Target not found", 404)
        return self.targets[target_id]

    def _changeable(self, target_id: str) -> StoredTarget:
        target = self._target(target_id)
        if target.statuses[0] in {"CREATING", "UPDATING", "SYNCHRONIZING", "DELETING"}:
            raise ApiError("ConflictException", f"Target is {target.statuses[0]}", 409)
        if target.statuses[0].endswith("PENDING_AUTH"):
            raise ApiError("ValidationException", "Target waits for authorization")
        return target

    def _describe(self, target_id: str, target: StoredTarget, status: str) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "gatewayArn": _gateway_arn(),
            "targetId": target_id,
            "createdAt": NOW,
            "updatedAt": NOW,
            "status": status,
            "credentialProviderConfigurations": [{"credentialProviderType": "GATEWAY_IAM_ROLE"}],
            "targetConfiguration": {"mcp": {"mcpServer": {"endpoint": "https://host/mcp"}}},
            **target.parameters,
        }
        if target.reasons:
            answer["statusReasons"] = list(target.reasons)
        if status == "READY":
            answer["lastSynchronizedAt"] = NOW
        return answer


def _description(parameters: dict[str, Any]) -> str:
    """The description among the parameters of a creation, taken out."""
    return str(parameters.pop("description", ""))


def _gateway_arn() -> str:
    return f"arn:aws:bedrock-agentcore:us-east-1:123456789012:gateway/{GATEWAY}"


SERVICES = {
    "acm": "acm",
    "bedrock-agentcore-control": "gateway",
    "cloudformation": "cloudformation",
    "codebuild": "codebuild",
    "cognito-idp": "user_pools",
    "ec2": "ec2",
    "ecr": "ecr",
    "elbv2": "elbv2",
    "lambda": "functions",
    "logs": "logs",
    "route53": "route53",
    "s3": "s3",
    "secretsmanager": "secrets",
    "wafv2": "wafv2",
}


class Clients(aws.Clients):
    """The handlers' clients, answered by these backends; a client is made when first asked for.

    A backend named `<service>@<region>` answers for that region alone; `regions` tells which were asked for.
    """

    def __init__(self, **backends: Backend) -> None:
        self._backends = backends
        self._made: dict[tuple[str, str | None], Any] = {}
        self.regions: set[tuple[str, str | None]] = set()

    def _client(self, service: str, region: str | None = None, **_options: Any) -> Any:
        self.regions.add((service, region))
        if (service, region) not in self._made:
            name = SERVICES[service]
            backend = self._backends.get(f"{name}@{region}") or self._backends[name]
            self._made[service, region] = client_for(service, backend)
        return self._made[service, region]

    def sign(self, service: str) -> Any:
        return lambda method, url, headers, body: {**headers, "Authorization": f"signed for {service}"}
