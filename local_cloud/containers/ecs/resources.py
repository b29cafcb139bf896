"""``AWS::ECS::TaskDefinition`` and ``AWS::ECS::Service`` through the ECS API; a service waits to be stable.

ministack's own handlers drop properties (architecture, container health check, secrets, grace period) and
return before any task runs. CloudFormation on AWS returns when the deployment is COMPLETED with all tasks
healthy, and fails when the deployment circuit breaker was triggered.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from ministack.services import ecs  # type: ignore[import-untyped]
from ministack.services.cloudformation import provisioners  # type: ignore[import-untyped]

from ...cloudformation import registry
from .service_deployments import History
from .service_record import tasks_of

STABLE_SECONDS = 3 * 3600
"""AWS's seconds that CloudFormation waits for a service."""

_POLL = 0.1
_NUMBERS = frozenset(
    {
        "containerPort",
        "hostPort",
        "desiredCount",
        "healthCheckGracePeriodSeconds",
        "maximumPercent",
        "minimumHealthyPercent",
        "interval",
        "timeout",
        "retries",
        "startPeriod",
        "stopTimeout",
        "startTimeout",
        "sizeInGiB",
        "weight",
        "base",
        "softLimit",
        "hardLimit",
        "bakeTimeInMinutes",
        "timeoutInMinutes",
        "port",
        "ingressPortOverride",
    }
)
_BOOLEANS = frozenset(
    {
        "essential",
        "initProcessEnabled",
        "readonlyRootFilesystem",
        "privileged",
        "enable",
        "rollback",
        "enableExecuteCommand",
        "readOnly",
        "enableECSManagedTags",
        "interactive",
        "pseudoTerminal",
        "enabled",
        "resetOnHealthyTask",
    }
)
_VERBATIM = frozenset({"options", "dockerLabels", "driverOpts", "labels", "hookDetails"})
"""Maps whose keys are the user's own."""
_UPDATABLE = (
    "taskDefinition",
    "desiredCount",
    "networkConfiguration",
    "loadBalancers",
    "healthCheckGracePeriodSeconds",
    "enableExecuteCommand",
    "platformVersion",
    "capacityProviderStrategy",
    "deploymentConfiguration",
    "serviceConnectConfiguration",
    "availabilityZoneRebalancing",
)
_DEFAULT_DEPLOYMENT_CONFIGURATION = {
    "maximumPercent": 200,
    "minimumHealthyPercent": 100,
    "deploymentCircuitBreaker": {"enable": False, "rollback": False},
}


def register(history: History, scaled: Callable[[float], float]) -> None:
    """Handle both types."""
    registry.register(
        "AWS::ECS::TaskDefinition",
        create=create_task_definition,
        update=update_task_definition,
        delete=delete_task_definition,
        tags="Tags",
    )
    services = ServiceResource(history, scaled)
    registry.register(
        "AWS::ECS::Service",
        create=services.create,
        update=services.update,
        delete=services.delete,
        blocking=True,
        tags="Tags",
    )


def to_api(value: Any, name: str = "") -> Any:
    """Spell a property as the ECS API does: camelCase names, numbers and booleans as such."""
    if isinstance(value, dict):
        if name in _VERBATIM:
            return dict(value)
        keys = {key: key[:1].lower() + key[1:] for key in value}
        return {keys[key]: to_api(each, keys[key]) for key, each in value.items()}
    if isinstance(value, list):
        items = [to_api(each, name) for each in value]
        return [_with_text(each) for each in items] if name == "environment" else items
    if isinstance(value, str):
        if name in _NUMBERS and value.lstrip("-").isdigit():
            return int(value)
        if name in _BOOLEANS and value.lower() in {"true", "false"}:
            return value.lower() == "true"
    return value


def _with_text(variable: dict[str, Any]) -> dict[str, Any]:
    """Make an environment variable's value text, as CloudFormation does with a number or a boolean."""
    value = variable.get("value", "")
    return {**variable, "value": str(value).lower() if isinstance(value, bool) else str(value)}


def create_task_definition(logical_id: str, props: dict[str, Any], stack_name: str) -> registry.Result:
    """Register a task definition; the physical id is its ARN."""
    request = {"family": provisioners._physical_name(stack_name, logical_id, max_len=255), **to_api(props)}
    body = _call(ecs._register_task_definition, request)
    arn = body["taskDefinition"]["taskDefinitionArn"]
    return arn, {"TaskDefinitionArn": arn}


def update_task_definition(
    physical_id: str, old_props: dict[str, Any], new_props: dict[str, Any], stack_name: str
) -> registry.Result:
    """Change tags in place; anything else registers the family's next revision."""
    changed = {name for name in {*old_props, *new_props} if old_props.get(name) != new_props.get(name)}
    if changed <= {"Tags"}:
        ecs._tags[physical_id] = to_api(new_props.get("Tags") or [])
        return physical_id, {"TaskDefinitionArn": physical_id}
    family = physical_id.rpartition("/")[2].rpartition(":")[0]
    return create_task_definition(family, {"Family": family, **new_props}, stack_name)


def delete_task_definition(physical_id: str, props: dict[str, Any]) -> None:  # noqa: ARG001 - a handler
    """Deregister the revision."""
    ecs._deregister_task_definition({"taskDefinition": physical_id})


class ServiceResource:
    """Handlers of ``AWS::ECS::Service``."""

    def __init__(self, history: History, scaled: Callable[[float], float]) -> None:
        self.history = history
        self.scaled = scaled

    def create(self, logical_id: str, props: dict[str, Any], stack_name: str) -> registry.Result:
        """Create the service and wait for it; raises ResourceFailedError when its deployment fails."""
        request = {
            "serviceName": provisioners._physical_name(stack_name, logical_id, max_len=255),
            "desiredCount": 1,
            **to_api(props),
        }
        service = _call(ecs._create_service, request)["service"]
        self._wait(service)
        return _result(service)

    def update(
        self, physical_id: str, old_props: dict[str, Any], new_props: dict[str, Any], stack_name: str
    ) -> registry.Result:
        """Apply what UpdateService can change, and wait; raises ResourceFailedError as `create` does."""
        del stack_name
        cluster, name = _parts(physical_id)
        old, new = to_api(old_props), to_api(new_props)
        request: dict[str, Any] = {"cluster": cluster, "service": name}
        defaults = {"deploymentConfiguration": _DEFAULT_DEPLOYMENT_CONFIGURATION, "desiredCount": 1}
        for key in _UPDATABLE:
            if old.get(key) != new.get(key):
                request[key] = new.get(key, defaults.get(key))
        if new.get("forceNewDeployment", {}) != old.get("forceNewDeployment", {}):
            request["forceNewDeployment"] = True
        service = _call(ecs._update_service, request)["service"]
        if old.get("tags") != new.get("tags"):
            ecs._tags[physical_id] = new.get("tags") or []
        self._wait(service)
        return _result(service)

    def delete(self, physical_id: str, props: dict[str, Any]) -> None:
        """Delete the service with its tasks; a service that is gone is deleted already."""
        del props
        if not physical_id.startswith("arn:"):
            return
        cluster, name = _parts(physical_id)
        ecs._delete_service({"cluster": cluster, "service": name, "force": True})

    def _wait(self, service: Mapping[str, Any]) -> None:
        arn = service["serviceArn"]
        cluster, name = _parts(arn)
        wanted = next(each["id"] for each in service["deployments"] if each["status"] == "PRIMARY")
        deadline = time.monotonic() + self.scaled(STABLE_SECONDS)
        while time.monotonic() < deadline:
            current = ecs._services.get(f"{cluster}/{name}")
            if current is None or current["status"] != "ACTIVE":
                raise registry.ResourceFailedError(
                    f"Service {name} was deleted while it was being deployed.", arn
                )
            deployment = next((each for each in current["deployments"] if each["id"] == wanted), None)
            if deployment is None:
                raise registry.ResourceFailedError(_failure(current), arn)
            if deployment["rolloutState"] == "FAILED":
                self._raise_when_rolled_back(current, deployment)
            elif _stable(current):
                return
            time.sleep(_POLL)
        text = "Exceeded attempts to wait: the service did not become stable. "
        raise registry.ResourceFailedError(text + explanation(current), arn)

    def _raise_when_rolled_back(self, service: dict[str, Any], deployment: dict[str, Any]) -> None:
        entry = self.history.of(deployment)
        if entry is None or entry.strategy == "ROLLING":
            raise registry.ResourceFailedError(_failure(service), service["serviceArn"])
        if entry.final:
            text = f"{entry.reason} {explanation(service)}".strip()
            raise registry.ResourceFailedError(text, service["serviceArn"])


def _stable(service: Mapping[str, Any]) -> bool:
    desired = service["desiredCount"]
    primary = ecs._primary_deployment(service)
    others = [
        each for each in service["deployments"] if each is not primary and each["rolloutState"] != "FAILED"
    ]
    ready = [
        task
        for task in tasks_of(dict(service))
        if task["lastStatus"] == "RUNNING" and task.get("_startup_stable")
    ]
    return bool(
        primary["rolloutState"] == "COMPLETED"
        and not others
        and service["runningCount"] == desired
        and len(ready) >= desired
    )


def _failure(service: dict[str, Any]) -> str:
    return (
        "Error occurred during operation 'ECS Deployment Circuit Breaker was triggered'. "
        + explanation(service)
    ).strip()


def explanation(service: Mapping[str, Any]) -> str:
    """Say why the service's tasks stopped: the health check it failed, and how the last task ended."""
    unhealthy = next((each["message"] for each in service["events"] if "unhealthy in" in each["message"]), "")
    stopped = [
        task for task in tasks_of(dict(service)) if task["lastStatus"] == "STOPPED" and _informative(task)
    ]
    stopped.sort(key=lambda task: task["stoppedAt"])
    parts = [unhealthy]
    if stopped:
        last = stopped[-1]
        codes = [each["exitCode"] for each in last["containers"] if each.get("exitCode")]
        text = f"Last stopped task: {last['stoppedReason']}"
        parts.append(f"{text} (exit code {codes[0]})." if codes else f"{text}.")
    return " ".join(part for part in parts if part)


def _informative(task: Mapping[str, Any]) -> bool:
    return task.get("stopCode") != "UserInitiated" and bool(task.get("stoppedReason"))


def _parts(arn: str) -> tuple[str, str]:
    """Cluster and service name of a service's ARN."""
    _, cluster, name = arn.split("/")
    return cluster, name


def _result(service: Mapping[str, Any]) -> registry.Result:
    return service["serviceArn"], {"ServiceArn": service["serviceArn"], "Name": service["serviceName"]}


def _call(operation: Callable[[dict[str, Any]], Any], request: dict[str, Any]) -> dict[str, Any]:
    """Call one of ministack's ECS operations; raises ValueError with its message when it refuses."""
    status, _, body = operation(request)
    answer: dict[str, Any] = json.loads(body)
    if status >= 400:
        raise ValueError(answer.get("message") or answer.get("__type") or f"ECS answered {status}")
    return answer
