"""A service's tasks and events, as ministack keeps them."""

from __future__ import annotations

from typing import Any

from ministack.services import ecs  # type: ignore[import-untyped]


def tasks_of(service: dict[str, Any]) -> list[dict[str, Any]]:
    """List the service's tasks, stopped ones included."""
    group = f"service:{service['serviceName']}"
    return [
        task
        for task in list(ecs._tasks.values())
        if task.get("group") == group and task.get("clusterArn") == service.get("clusterArn")
    ]


def say(service: dict[str, Any], message: str) -> None:
    """Add a service event, newest first; ECS keeps the latest 100."""
    text = f"(service {service['serviceName']}) {message}"
    if service["events"] and service["events"][0]["message"] == text:
        return
    service["events"].insert(0, {"id": ecs.new_uuid(), "createdAt": ecs._iso(), "message": text})
    del service["events"][100:]
