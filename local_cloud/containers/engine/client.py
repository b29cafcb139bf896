"""The engine's client: ``containers`` and ``images``, as ministack's ECS uses the Docker SDK's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..images.store import Image, ImageStore
from .addresses import AddressPool, TaskAddresses
from .container import Container, ContainerSpec
from .docker_errors import NotFound
from .images import Images
from .processes import Processes

Describe = Callable[[Image, Mapping[str, Any]], ContainerSpec]
"""Makes the specification from the image and ``containers.run``'s options."""

TASK_LABEL = "com.amazonaws.ecs.task-arn"
"""Label of a container with its task."""


class Engine:
    """Stands in for ``docker.from_env()``."""

    def __init__(self, directory: Path, store: ImageStore, processes: Processes, describe: Describe) -> None:
        self.images = Images(store)
        self.containers = Containers(directory, self.images, processes, describe)

    def close(self) -> None:
        """Stop giving out addresses; the processes are stopped by their owner."""
        self.containers.pool.close()


class Containers:
    """``client.containers``."""

    def __init__(self, directory: Path, images: Images, processes: Processes, describe: Describe) -> None:
        self.pool = AddressPool()
        self._directory = directory
        self._images = images
        self._processes = processes
        self._describe = describe
        self._lock = threading.Lock()
        self._containers: dict[str, Container] = {}
        self._tasks: dict[str, tuple[TaskAddresses, int]] = {}

    def run(self, image: str, **options: Any) -> Container:
        """Start a container; options as the Docker SDK's ``run(detach=True)``. Raises the engine's errors."""
        spec = self._describe(self._images.pull(image).image, options)
        task = spec.labels.get(TASK_LABEL, "")
        addresses = self._addresses(task)
        try:
            container = Container(spec, addresses, self._directory, self._processes, self._removed)
        except BaseException:
            self._release(task, addresses)
            raise
        with self._lock:
            self._containers[container.id] = container
        return container

    def get(self, identity: str) -> Container:
        """Find a container by id or name; raises NotFound."""
        with self._lock:
            for container in self._containers.values():
                if identity and identity in {container.id, container.id[:12], container.name}:
                    return container
        raise NotFound(f"No such container: {identity}")

    def list(self, all: bool = False, filters: Mapping[str, Any] | None = None) -> Sequence[Container]:  # noqa: A002
        """List containers whose labels have every ``label`` of ``filters``; stopped ones too with ``all``."""
        wanted = (filters or {}).get("label", [])
        labels = [wanted] if isinstance(wanted, str) else wanted
        with self._lock:
            known = [*self._containers.values()]
        return [
            container
            for container in known
            if (all or container.status == "running") and all_labels(container.labels, labels)
        ]

    def _addresses(self, task: str) -> TaskAddresses:
        """Share one interface between the containers of a task, as awsvpc does."""
        with self._lock:
            if task in self._tasks:
                addresses, users = self._tasks[task]
                self._tasks[task] = (addresses, users + 1)
                return addresses
            addresses = self.pool.allocate()
            if task:
                self._tasks[task] = (addresses, 1)
            return addresses

    def _removed(self, container: Container) -> None:
        with self._lock:
            self._containers.pop(container.id, None)
        self._release(container.labels.get(TASK_LABEL, ""), container.addresses)

    def _release(self, task: str, addresses: TaskAddresses) -> None:
        with self._lock:
            users = self._tasks[task][1] - 1 if task in self._tasks else 0
            if users:
                self._tasks[task] = (addresses, users)
                return
            self._tasks.pop(task, None)
        self.pool.release(addresses)


def all_labels(labels: Mapping[str, str], wanted: Sequence[str]) -> bool:
    """Whether ``labels`` has each ``name`` or ``name=value`` of ``wanted``."""
    for each in wanted:
        name, equals, value = each.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True
