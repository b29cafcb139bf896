"""A task definition's container health check, run inside of the container on its interval."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..engine.container import Container

_SETTLED_INTERVAL = 5.0
"""Shortest interval, in real seconds, once a container is healthy: each check starts an interpreter."""


def start_health_checks(
    container: Container, check: Mapping[str, Any], scaled: Callable[[float], float]
) -> None:
    """Keep ``container.health`` true; defaults are those of the ECS API's ``HealthCheck``.

    Interval and start period are scaled; the timeout is real seconds.
    """
    vector = _vector(list(check.get("command") or []))
    if not vector:
        return
    interval = scaled(float(check.get("interval") or 30))
    timeout = float(check.get("timeout") or 5)
    retries = int(check.get("retries") or 3)
    start_period = scaled(float(check.get("startPeriod") or 0))

    def run() -> None:
        failures = 0
        while container.status == "running":
            if container.execute(vector, timeout) == 0:
                failures, container.health = 0, "HEALTHY"
            elif container.status == "running":
                ready = container.ready_since
                if ready is not None and time.monotonic() >= ready + start_period:
                    failures += 1
                if failures >= retries:
                    container.health = "UNHEALTHY"
            time.sleep(max(interval, _SETTLED_INTERVAL) if container.health == "HEALTHY" else interval)

    threading.Thread(target=run, daemon=True, name=f"local-cloud-check-{container.id[:8]}").start()


def _vector(command: list[str]) -> list[str]:
    if not command or command[0] == "NONE":
        return []
    if command[0] == "CMD-SHELL":
        return ["/bin/sh", "-c", " ".join(command[1:])]
    return command[1:] if command[0] == "CMD" else command
