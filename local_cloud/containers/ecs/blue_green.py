"""Blue/green deployments of ECS services: what ministack's scheduler leaves to them, and their threads."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from ministack.core.responses import request_scope  # type: ignore[import-untyped]
from ministack.services import ecs  # type: ignore[import-untyped]

from . import lifecycle_hooks, traffic
from .blue_green_run import DONE, TRIPPED, DeploymentRun, is_scaled_up
from .lifecycle_hooks import ClientFactory
from .service_deployments import History, ServiceDeployment
from .service_record import tasks_of

_STOPPABLE = ("PROVISIONING", "PENDING", "ACTIVATING", "RUNNING")


def applies(service: dict[str, Any]) -> bool:
    """Whether the service's deployments are blue/green."""
    return bool((service.get("deploymentConfiguration") or {}).get("strategy") == "BLUE_GREEN")


def refusal(configuration: dict[str, Any], balancers: list[dict[str, Any]]) -> str | None:
    """What CreateService and UpdateService say to a configuration that can't work; None when it can."""
    strategy = configuration.get("strategy") or "ROLLING"
    if strategy not in {"ROLLING", "BLUE_GREEN"}:
        return f"the deployment strategy {strategy} is not available in the local cloud"
    if strategy == "ROLLING":
        return None
    if not balancers:
        return "blue/green deployments without a load balancer are not available in the local cloud"
    return traffic.refusal(balancers) or lifecycle_hooks.refusal(configuration)


class BlueGreen:
    """Runs the blue/green deployments of every service, each on a thread of its own."""

    def __init__(self, history: History, client: ClientFactory, scaled: Callable[[float], float]) -> None:
        self.history = history
        self.client = client
        self.scaled = scaled
        self.closed = threading.Event()
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._counting: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)

    def close(self) -> None:
        """Let the threads end."""
        self.closed.set()

    def start(self, key: str, entry: ServiceDeployment, account: str, region: str) -> None:
        """Begin a deployment of the service ``key`` (``cluster/name``), after the one under way has ended."""

        def run() -> None:
            with self._turns[key], request_scope(account, region):
                DeploymentRun(self, key, entry).run()

        threading.Thread(target=run, daemon=True, name=f"local-cloud-deployment-{entry.arn[-8:]}").start()

    # Hooks into ministack.

    def reconciled(self, original: Callable[[str, str], None]) -> Callable[[str, str], None]:
        """Keep the tasks of every scaled-up deployment of a blue/green service, not of the newest alone."""

        def reconcile(cluster: str, key: str) -> None:
            service = ecs._services.get(key)
            if service is None or service.get("status") != "ACTIVE" or not applies(service):
                original(cluster, key)
                return
            with self._counting[key]:
                for deployment in list(service["deployments"]):
                    self._keep_count(cluster, service, deployment)
            ecs._refresh_service_state(cluster, f"service:{service['serviceName']}")
            ecs._recount_cluster(cluster)

        return reconcile

    def completed(self, original: Callable[..., None]) -> Callable[..., None]:
        """Let a blue/green deployment be completed at its end only: a rolling one is when it is healthy."""

        def complete(cluster: str, key: str, expected_deployment_id: str | None = None) -> None:
            service = ecs._services.get(key)
            primary = ecs._primary_deployment(service) if service else None
            if service and primary and applies(service) and not primary.get(DONE):
                return
            original(cluster, key, expected_deployment_id)

        return complete

    def task_failed(self, key: str, service: dict[str, Any], task: dict[str, Any]) -> None:
        """Count a task that failed to its deployment's circuit breaker, and replace it."""
        deployment = ecs._deployment_for_task(service, task)
        if deployment is None or service.get("status") != "ACTIVE":
            return
        breaker = (service.get("deploymentConfiguration") or {}).get("deploymentCircuitBreaker") or {}
        if deployment["rolloutState"] == "IN_PROGRESS":
            deployment["failedTasks"] = int(deployment.get("failedTasks") or 0) + 1
            tripped = deployment["failedTasks"] >= ecs._circuit_breaker_threshold(service)
            if breaker.get("enable") and tripped:
                deployment[TRIPPED] = True
                return
        ecs._reconcile_service_tasks(key.partition("/")[0], key)

    def _keep_count(self, cluster: str, service: dict[str, Any], deployment: dict[str, Any]) -> None:
        wanted = service["desiredCount"] if is_scaled_up(deployment) else 0
        tasks = [
            task
            for task in tasks_of(service)
            if ecs._deployment_for_task(service, task) is deployment and task["lastStatus"] in _STOPPABLE
        ]
        for task in sorted(tasks, key=lambda each: str(each["createdAt"]))[wanted:]:
            reason = "Service scaling down" if wanted else "Deployment completed"
            ecs._stop_task({"task": task["taskArn"], "cluster": cluster, "reason": reason})
        if wanted > len(tasks) and not deployment.get(TRIPPED):
            ecs._run_task(
                {
                    "cluster": cluster,
                    "taskDefinition": deployment["taskDefinition"],
                    "count": wanted - len(tasks),
                    "group": f"service:{service['serviceName']}",
                    "startedBy": deployment["id"],
                    "launchType": service.get("launchType"),
                    "capacityProviderStrategy": service.get("capacityProviderStrategy"),
                    "platformVersion": service.get("platformVersion", ""),
                    "networkConfiguration": service.get("networkConfiguration", {}),
                    "enableExecuteCommand": service.get("enableExecuteCommand", False),
                    "_deploymentId": deployment["id"],
                }
            )
