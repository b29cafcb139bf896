"""Which target groups a service's tasks are registered in: each deployment has its own.

ministack registers every task of a service in every ``targetGroupArn``. In a blue/green deployment the two
revisions are in two groups, and a rolling one goes where the production listener rule leads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.core.concurrency import resource_lock  # type: ignore[import-untyped]
from ministack.services import alb, ecs  # type: ignore[import-untyped]

from . import traffic
from .service_record import tasks_of

TargetGroup = tuple[str, int]
"""ARN of a target group, and the container's port."""
_KEY = "_target_groups"


def assign(deployment: dict[str, Any], groups: list[TargetGroup]) -> None:
    """Make ``groups`` the ones that the deployment's tasks are registered in."""
    deployment[_KEY] = groups


def declared_groups(service: dict[str, Any]) -> list[TargetGroup]:
    """The groups of a rolling deployment.

    With an alternate group it is the one in use: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/
    update-bluegreen-to-rolling.html says that the load balancer's configuration stays as it is.
    """
    return [
        (traffic.serving_group(balancer) or balancer["targetGroupArn"], int(balancer["containerPort"]))
        for balancer in service.get("loadBalancers") or []
        if balancer.get("targetGroupArn")
    ]


def groups_of_deployment(service: dict[str, Any], deployment: dict[str, Any] | None) -> list[TargetGroup]:
    """The groups of one deployment; before it has any, those that a rolling one would have."""
    groups: list[TargetGroup] | None = (deployment or {}).get(_KEY)
    return declared_groups(service) if groups is None else groups


def groups_of_task(service: dict[str, Any], task: dict[str, Any]) -> list[TargetGroup]:
    """The groups that a task is registered in."""
    return groups_of_deployment(service, ecs._deployment_for_task(service, task))


def synchronized(_original: Callable[..., None]) -> Callable[..., None]:
    """Replace ministack's registration of a service's running tasks."""

    def synchronize(_cluster: str, service: dict[str, Any]) -> None:
        wanted: dict[str, list[TargetGroup]] = {}
        for task in _running_tasks(service):
            address = ecs._task_ip(task)
            for arn, port in groups_of_task(service, task) if address else []:
                wanted.setdefault(arn, []).append((address, port))
        published = service.setdefault("_published_targets", {})
        for arn in {*wanted, *published}:
            targets = wanted.get(arn, [])
            with resource_lock("elbv2-targets", arn):
                alb.set_targets_for_group(arn, targets, published.get(arn, ()))
                published[arn] = [address for address, _ in targets]

    return synchronize


def _running_tasks(service: dict[str, Any]) -> list[dict[str, Any]]:
    if service.get("status") != "ACTIVE":
        return []
    return [task for task in tasks_of(service) if task.get("lastStatus") == "RUNNING"]
