"""Deployment lifecycle hooks: the functions ECS asks at a stage of a deployment, and what their answers mean.

Event, answer, retries and timeouts: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/lambda-lifecycle-hooks.html
Sentences: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/troubleshooting-blue-green.html
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import roles
from .service_deployments import ServiceDeployment

STAGES = frozenset(
    {
        "RECONCILE_SERVICE",
        "PRE_SCALE_UP",
        "POST_SCALE_UP",
        "TEST_TRAFFIC_SHIFT",
        "POST_TEST_TRAFFIC_SHIFT",
        "PRE_PRODUCTION_TRAFFIC_SHIFT",
        "PRODUCTION_TRAFFIC_SHIFT",
        "POST_PRODUCTION_TRAFFIC_SHIFT",
    }
)
_CALL_BACK_DELAY = 30.0
_TIMEOUT_MINUTES = 1440.0
_PRINCIPAL = "ecs.amazonaws.com"

Weights = Mapping[str, int]
"""Service revision ARNs with their per cent of the traffic."""
ClientFactory = Callable[[str, str], Any]
"""Makes a boto3 client of the cloud for a service and a region."""


class HookError(Exception):
    """A hook refuses, fails or runs out of time; the text is ECS's."""


def refusal(configuration: Mapping[str, Any]) -> str | None:
    """What CreateService and UpdateService say to hooks that can't be run."""
    for hook in configuration.get("lifecycleHooks") or []:
        kind = hook.get("targetType") or "AWS_LAMBDA"
        if kind != "AWS_LAMBDA":
            return f"lifecycle hooks of type {kind} are not available in the local cloud"
        if not hook.get("hookTargetArn"):
            return "hookTargetArn is required for a lifecycle hook of type AWS_LAMBDA"
        unknown = set(hook.get("lifecycleStages") or []) - STAGES
        if unknown or not hook.get("lifecycleStages"):
            return f"lifecycleStages must be one or more of {sorted(STAGES)}, not {sorted(unknown)}"
    return None


@dataclass
class HookRunner:
    """Runs a deployment's hooks, stage by stage."""

    client: ClientFactory
    scaled: Callable[[float], float]
    """Turns AWS's seconds into the local cloud's."""
    pause: Callable[[float], None]
    """Waits for that many real seconds, and raises when the deployment has been interrupted."""

    def run(
        self,
        entry: ServiceDeployment,
        stage: str,
        test: Weights | None = None,
        production: Weights | None = None,
    ) -> None:
        """Ask every hook of ``stage`` until it has answered. Raises HookError."""
        hooks = [
            hook
            for hook in entry.configuration.get("lifecycleHooks") or []
            if stage in hook["lifecycleStages"]
        ]
        entry.hooks = []
        for hook in hooks:
            detail = {
                "hookId": str(uuid.uuid4()),
                "targetType": "AWS_LAMBDA",
                "targetArn": hook["hookTargetArn"],
                "status": "IN_PROGRESS",
            }
            entry.hooks.append(detail)
            event = {
                "executionId": detail["hookId"],
                "lifecycleStage": stage,
                "resourceArn": entry.arn,
                "executionDetails": {
                    "serviceArn": entry.service["serviceArn"],
                    "targetServiceRevisionArn": entry.revision_arn,
                    "testTrafficWeights": dict(test or {}),
                    "productionTrafficWeights": dict(production or {}),
                },
            }
            try:
                self._ask(hook, event, detail)
            except HookError as error:
                raise HookError(f"{stage} lifecycle hook(s) failed. {error}") from None

    def _ask(self, hook: Mapping[str, Any], event: dict[str, Any], detail: dict[str, Any]) -> None:
        timeout = hook.get("timeoutConfiguration") or {}
        minutes = float(timeout.get("timeoutInMinutes") or _TIMEOUT_MINUTES)
        allowance = self.scaled(minutes * 60)
        deadline = time.monotonic() + allowance
        action = timeout.get("action") or "ROLLBACK"
        detail |= {"expiresAt": time.time() + allowance, "timeoutAction": action}
        target = hook["hookTargetArn"]
        details = _details(hook.get("hookDetails"))
        while True:
            answer = self._invoke(hook, {**event, **({"hookDetails": details} if details else {})})
            status = answer.get("hookStatus")
            if status == "SUCCEEDED":
                detail["status"] = status
                return
            if status != "IN_PROGRESS":
                detail["status"] = "FAILED"
                if status == "FAILED":
                    raise HookError(f"Lifecycle hook target {target} returned FAILED status.")
                raise HookError(
                    f"ECS was unable to parse the response from {target} due to HookStatus must not be null"
                )
            details = {**details, **(answer.get("hookDetails") or {})}
            delay = self.scaled(float(answer.get("callBackDelay") or _CALL_BACK_DELAY))
            if time.monotonic() + delay >= deadline:
                self.pause(max(0.0, deadline - time.monotonic()))
                detail["status"] = "TIMED_OUT"
                if action == "CONTINUE":
                    return
                raise HookError(f"Lifecycle hook target {target} timed out after {minutes:g} minutes.")
            self.pause(delay)

    def _invoke(self, hook: Mapping[str, Any], event: dict[str, Any]) -> dict[str, Any]:
        target, role = hook["hookTargetArn"], hook.get("roleArn", "")
        if not roles.trusts(role, _PRINCIPAL):
            raise HookError(f"ECS was unable to assume role {role}")
        action = "lambda:InvokeFunction"
        if not roles.allows(role, action, target):
            raise HookError(
                f"ECS was unable to invoke hook target {target} due to User: {role} is not authorized to "
                f"perform: {action} on resource: {target} because no identity-based policy allows the "
                f"{action} action"
            )
        try:
            answer = self.client("lambda", target.split(":")[3]).invoke(
                FunctionName=target, Payload=json.dumps(event).encode()
            )
            payload = json.loads(answer["Payload"].read() or b"null")
        except Exception as error:
            raise HookError(f"ECS was unable to invoke hook target {target} due to {error}") from error
        return payload if isinstance(payload, dict) and "FunctionError" not in answer else {}


def _details(declared: Any) -> dict[str, Any]:
    parsed = json.loads(declared) if isinstance(declared, str) and declared else declared
    return dict(parsed or {})
