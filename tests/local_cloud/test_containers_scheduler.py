"""What the service scheduler gives back of tasks that have ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from ministack.services import ecs  # type: ignore[import-untyped]

from local_cloud.containers.ecs.scheduler import Scheduler

LABEL = "com.amazonaws.ecs.task-arn"


@dataclass
class Container:
    """An engine's container."""

    task: str
    status: str = "exited"
    removed: bool = False
    labels: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.labels = {LABEL: self.task}

    def remove(self) -> None:
        self.removed = True


@pytest.mark.parametrize(
    ("task", "status", "removed"),
    [
        ("stopped", "exited", True),
        ("forgotten", "exited", True),
        ("stopped", "running", False),
        # ministack writes the container's id on the task only after it has started.
        ("starting", "exited", False),
    ],
)
def test_only_what_no_task_waits_for_is_removed(
    monkeypatch: pytest.MonkeyPatch, task: str, status: str, removed: bool
) -> None:
    tasks = {
        "stopped": {"taskArn": "stopped", "lastStatus": "STOPPED", "_docker_ids": []},
        "starting": {"taskArn": "starting", "lastStatus": "PENDING"},
    }
    monkeypatch.setattr(ecs, "_tasks", SimpleNamespace(all_items=tasks.items))
    container = Container(task, status)
    engine: Any = SimpleNamespace(containers=SimpleNamespace(list=lambda **_: [container]))
    scheduler = Scheduler(engine, SimpleNamespace(), SimpleNamespace(), float)  # type: ignore[arg-type]
    scheduler._remove_ended()
    assert container.removed is removed
