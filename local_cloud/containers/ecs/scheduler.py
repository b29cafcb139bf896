"""The part of the ECS service scheduler that needs true health.

ministack starts tasks, registers targets, counts failures and rolls back. What it takes for granted is
decided here: a task is healthy when its load balancer target and its container health check are; an unhealthy
task is stopped, counted as a failure of its deployment and replaced; a first deployment can fail like any.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from ministack.core.responses import (  # type: ignore[import-untyped]
    get_account_id,
    get_region,
    request_scope,
)
from ministack.services import ecs  # type: ignore[import-untyped]

from ...cloudformation.patching import wrap
from .. import target_health
from ..engine.client import TASK_LABEL, Engine
from ..engine.container import Container
from ..engine.docker_errors import NotFound
from . import blue_green, refusals, target_groups
from .blue_green import BlueGreen
from .container_health import start_health_checks
from .service_deployments import History
from .service_record import say, tasks_of
from .task_runtime import container_definition

logger = logging.getLogger(__name__)

Verdict = tuple[Literal["healthy", "pending", "unhealthy"], str]

_TICK = 0.2
_MARGIN = 0.5
"""Seconds that a check and its report take on a busy machine."""
_THROTTLE_AFTER = 3
_LONGEST_PAUSE = 10.0
_TRIGGERS = ("networkConfiguration", "loadBalancers", "platformVersion", "serviceConnectConfiguration")
"""Parameters of UpdateService that start a deployment although ministack sees no reason for one.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html
"""
_ALSO_KEPT = ("serviceConnectConfiguration", "availabilityZoneRebalancing")
"""Parameters of a service that ministack forgets."""


class Scheduler:
    """Watches every service of every region."""

    def __init__(
        self,
        engine: Engine,
        history: History,
        blue_green: BlueGreen,
        scaled: Callable[[float], float],
    ) -> None:
        self.engine = engine
        self.history = history
        self.blue_green = blue_green
        self.scaled = scaled
        self._closed = threading.Event()
        self._checked: set[str] = set()
        self._announced: set[str] = set()
        self._failures: dict[str, int] = {}
        self._make_deployment = ecs._make_deployment
        self._record_healthy = ecs._record_service_task_healthy
        self._record_failure = ecs._record_service_task_failure
        self._create_service = ecs._create_service
        self._update_service = ecs._update_service

    def install(self) -> None:
        """Put the hooks into ministack's scheduler and start watching."""
        ecs._make_deployment = self._deployment
        ecs._record_service_task_healthy = self._task_stable
        ecs._record_service_task_failure = self._task_failed
        ecs._create_service = self._service_created
        ecs._ACTION_MAP["CreateService"] = self._service_created
        ecs._update_service = self._service_updated
        ecs._ACTION_MAP["UpdateService"] = self._service_updated
        wrap(ecs, "_sync_service_targets", target_groups.synchronized)
        wrap(ecs, "_reconcile_service_tasks", self.blue_green.reconciled)
        wrap(ecs, "_complete_service_deployment", self.blue_green.completed)
        self.history.install()
        threading.Thread(target=self._watch, daemon=True, name="local-cloud-ecs-scheduler").start()

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()
        self.blue_green.close()

    # Hooks into ministack.

    def _deployment(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Begin every deployment as IN_PROGRESS; to ministack a service's first one is COMPLETED at once."""
        deployment: dict[str, Any] = self._make_deployment(*arguments, **options)
        deployment["rolloutState"] = "IN_PROGRESS"
        deployment["rolloutStateReason"] = f"ECS deployment {deployment['id']} in progress."
        return deployment

    def _service_created(self, data: dict[str, Any]) -> Any:
        """Refuse what ECS refuses, and begin the service's first deployment."""
        balancers = data.get("loadBalancers") or []
        reason = blue_green.refusal(data.get("deploymentConfiguration") or {}, balancers)
        for balancer in balancers:
            arn = balancer.get("targetGroupArn")
            if arn and not has_load_balancer(arn):
                reason = (
                    f"The target group with targetGroupArn {arn} does not have an associated load balancer."
                )
        reason = reason or refusals.of(data)
        if reason:
            return ecs.error_response_json("InvalidParameterException", reason, 400)
        answer = self._create_service(data)
        if answer[0] < 400:
            cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
            self._begin(f"{cluster}/{data['serviceName']}", data)
        return answer

    def _service_updated(self, data: dict[str, Any]) -> Any:
        """Refuse what ECS refuses, and begin a deployment where the update needs one."""
        cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
        reference = ecs._resolve_service_ref(data.get("service", ""))
        key = f"{cluster}/{reference[0] if reference else ''}"
        service = ecs._services.get(key)
        if service is None:
            return self._update_service(data)
        configuration = data.get("deploymentConfiguration", service.get("deploymentConfiguration")) or {}
        balancers = data.get("loadBalancers", service.get("loadBalancers")) or []
        reason = blue_green.refusal(configuration, balancers) or refusals.of({**service, **data})
        if reason:
            return ecs.error_response_json("InvalidParameterException", reason, 400)
        if any(name in data and (data[name] or None) != (service.get(name) or None) for name in _TRIGGERS):
            data = {**data, "forceNewDeployment": True}
        answer = self._update_service(data)
        if answer[0] < 400:
            self._begin(key, data)
        return answer

    def _begin(self, key: str, data: dict[str, Any]) -> None:
        """Record the newest deployment, and take a blue/green one through its stages."""
        service = ecs._services[key]
        service |= {name: data[name] for name in _ALSO_KEPT if name in data}
        entry = self.history.enter(service)
        if entry is None:
            return
        entry.deployment["serviceConnectConfiguration"] = service.get("serviceConnectConfiguration")
        entry.deployment["networkConfiguration"] = service.get("networkConfiguration") or None
        if blue_green.applies(service):
            self.blue_green.start(key, entry, get_account_id(), get_region())
        else:
            target_groups.assign(entry.deployment, target_groups.declared_groups(service))

    def _task_stable(self, service_key: str, task: dict[str, Any]) -> None:
        """Let a task count as stable only when it is healthy; ministack asks one second after its start."""
        service = ecs._services.get(service_key)
        if service and self._verdict(service, task)[0] == "healthy":
            self._failures.pop(service["serviceArn"], None)
            self._record_healthy(service_key, task)

    def _task_failed(self, task: dict[str, Any], digest_resolution_failed: bool = False) -> None:
        """Pause before a replacement after repeated failures, as the scheduler's throttling does."""
        group = task.get("group", "")
        if group.startswith("service:"):
            cluster = ecs._cluster_name_from_arn(task.get("clusterArn", ""))
            service = ecs._services.get(f"{cluster}/{group.partition(':')[2]}")
            if service:
                self._pause(service)
                if blue_green.applies(service):
                    self.blue_green.task_failed(f"{cluster}/{service['serviceName']}", service, task)
                    return
        self._record_failure(task, digest_resolution_failed)

    def _pause(self, service: dict[str, Any]) -> None:
        arn = service["serviceArn"]
        count = self._failures[arn] = self._failures.get(arn, 0) + 1
        if count > _THROTTLE_AFTER:
            say(service, "is unable to consistently start tasks successfully.")
            self._closed.wait(min(_LONGEST_PAUSE, 0.5 * 2 ** (count - _THROTTLE_AFTER)))

    # The loop.

    def _watch(self) -> None:
        while not self._closed.wait(_TICK):
            for (account, region, key), service in list(ecs._services.all_items()):
                try:
                    with request_scope(account, region):
                        self._inspect(key, service)
                except Exception:
                    logger.exception("service %s could not be inspected", key)
            self._remove_ended()

    def _inspect(self, key: str, service: dict[str, Any]) -> None:
        if service.get("status") != "ACTIVE":
            return
        cluster = key.partition("/")[0]
        for task in tasks_of(service):
            if task.get("lastStatus") != "RUNNING":
                continue
            self._announce(service, task)
            self._observe(service, task)
            verdict, reason = self._verdict(service, task)
            if verdict == "unhealthy":
                self._replace(service, task, reason)
            elif verdict == "healthy" and not task.get("_startup_stable"):
                self._task_stable(key, task)
        primary = ecs._primary_deployment(service)
        if primary and primary["rolloutState"] == "IN_PROGRESS":
            ecs._complete_service_deployment(cluster, key, primary["id"])
        if primary and primary["rolloutState"] == "COMPLETED" and primary["id"] not in self._announced:
            self._announced.add(primary["id"])
            say(service, f"(deployment {primary['id']}) deployment completed.")
            say(service, "has reached a steady state.")
        self.history.follow(service)

    def _announce(self, service: dict[str, Any], task: dict[str, Any]) -> None:
        arn = task["taskArn"]
        if arn in self._announced:
            return
        self._announced.add(arn)
        say(service, f"has started 1 tasks: (task {arn.rpartition('/')[2]}).")
        for group, _ in target_groups.groups_of_task(service, task):
            say(service, f"registered 1 targets in (target-group {group})")

    def _observe(self, service: dict[str, Any], task: dict[str, Any]) -> None:
        """Start health checks of new containers, and report what they found on the task."""
        groups = target_groups.groups_of_task(service, task)
        drain = max((self.scaled(target_health.deregistration_delay(arn)) for arn, _ in groups), default=0.0)
        for record, container in self._containers(task):
            container.drain_seconds = drain
            if container.id not in self._checked:
                self._checked.add(container.id)
                check = container_definition(container.labels)[1].get("healthCheck")
                if check:
                    start_health_checks(container, check, self.scaled)
            record["healthStatus"] = container.health
        states = {container.health for _, container in self._containers(task)}
        task["healthStatus"] = next((each for each in ("UNHEALTHY", "UNKNOWN") if each in states), "HEALTHY")

    def _verdict(self, service: dict[str, Any], task: dict[str, Any]) -> Verdict:
        """Judge a running task; the reason is the one ECS reports."""
        containers = [container for _, container in self._containers(task)]
        if not containers or any(container.status != "running" for container in containers):
            return "pending", ""
        pending = any(container.ready_since is None for container in containers)
        for container in containers:
            if container_definition(container.labels)[1].get("healthCheck"):
                if container.health == "UNHEALTHY":
                    return "unhealthy", "Task failed container health checks"
                pending = pending or container.health == "UNKNOWN"
        address = ecs._task_ip(task)
        for arn, port in target_groups.groups_of_task(service, task):
            health = target_health.target_health(arn, address, port)
            if health.state == "unhealthy" and self._grace_over(service, arn, containers):
                detail = health.description
                say(service, f"(port {port}) is unhealthy in (target-group {arn}) due to (reason {detail})")
                return "unhealthy", f"Task failed ELB health checks in (target-group {arn})"
            pending = pending or health.state != "healthy"
        return ("pending" if pending else "healthy"), ""

    def _grace_over(self, service: dict[str, Any], arn: str, containers: list[Container]) -> bool:
        """Whether a target may be judged.

        A program starts no faster here than on AWS, so the scaled grace period begins when it first listens.
        """
        started = max((container.ready_since or float("inf") for container in containers), default=0.0)
        group = target_health.target_group(arn) or {}
        threshold = max(group.get("HealthyThresholdCount", 5), group.get("UnhealthyThresholdCount", 2))
        first_checks = self.scaled(group.get("HealthCheckIntervalSeconds", 30) * threshold)
        grace = self.scaled(float(service.get("healthCheckGracePeriodSeconds") or 0))
        return time.monotonic() > started + max(grace, first_checks) + _MARGIN

    def _replace(self, service: dict[str, Any], task: dict[str, Any], reason: str) -> None:
        arn = task["taskArn"]
        say(service, f"has stopped 1 running tasks: (task {arn.rpartition('/')[2]}).")
        if ecs._mark_task_stopped(arn, task, reason, "ServiceSchedulerInitiated"):
            ecs._cleanup_task_resources(task, self.engine)
            ecs.spawn_background(self._task_failed, task, thread_name="local-cloud-ecs-replace")

    def _containers(self, task: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Container]]:
        for record, identity in zip(task.get("containers", []), task.get("_docker_ids") or [], strict=False):
            try:
                yield record, self.engine.containers.get(identity)
            except NotFound:
                continue

    def _remove_ended(self) -> None:
        """Give back what tasks that ended by themselves held: ministack leaves that to docker."""
        # Told by the label: a short program may be over before ministack has noted its container on the task.
        live = {task["taskArn"] for _, task in ecs._tasks.all_items() if task["lastStatus"] != "STOPPED"}
        for container in self.engine.containers.list(all=True):
            if container.status == "exited" and container.labels.get(TASK_LABEL) not in live:
                container.remove()


def has_load_balancer(target_group_arn: str) -> bool:
    """Whether a listener or a rule forwards to the target group."""
    from ministack.services import alb

    actions = [
        action for listener in alb._listeners.values() for action in listener.get("DefaultActions", [])
    ]
    actions += [action for rule in alb._rules.values() for action in rule.get("Actions", [])]
    return any(target_group_arn in str(action) for action in actions)
