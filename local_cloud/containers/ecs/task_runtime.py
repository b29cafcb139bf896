"""From a task definition's container to what the engine starts."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core.responses import get_region  # type: ignore[import-untyped]
from ministack.services import ecs  # type: ignore[import-untyped]

from ..engine.container import ContainerSpec
from ..images.store import Image

_PLATFORMS = {"ARM64": "linux/arm64", "X86_64": "linux/amd64"}
_DEFAULT_STOP_TIMEOUT = 30
_FAMILY = "com.amazonaws.ecs.task-definition-family"
_REVISION = "com.amazonaws.ecs.task-definition-version"
_CONTAINER = "com.amazonaws.ecs.container-name"


def describer(
    client_environment: Mapping[str, str], api_url: str
) -> Callable[[Image, Mapping[str, Any]], ContainerSpec]:
    """Make the function that turns ministack's ``containers.run`` options into a specification.

    ministack passes on a definition's command only; entry point, directory, stop timeout and architecture are
    read from the task definition that the labels name.
    """
    host_ports = _host_ports(client_environment, api_url)

    def describe(image: Image, options: Mapping[str, Any]) -> ContainerSpec:
        labels = options.get("labels") or {}
        task_definition, definition = container_definition(labels)
        return ContainerSpec(
            image=image,
            platform=_platform(task_definition) or image.platform,
            labels=labels,
            name=options.get("name") or "",
            entry_point=definition.get("entryPoint"),
            command=options.get("command"),
            environment=_environment(options.get("environment") or {}, client_environment, api_url),
            directory=definition.get("workingDirectory"),
            stop_timeout=float(definition.get("stopTimeout") or _DEFAULT_STOP_TIMEOUT),
            host_ports=host_ports,
        )

    return describe


def container_definition(labels: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the task definition and the container's part of it; empty for a container of nobody's."""
    task_definition = ecs._task_defs.get(f"{labels.get(_FAMILY)}:{labels.get(_REVISION)}") or {}
    for definition in task_definition.get("containerDefinitions", []):
        if definition["name"] == labels.get(_CONTAINER):
            return task_definition, definition
    return task_definition, {}


def _platform(task_definition: Mapping[str, Any]) -> str | None:
    """Platform of the task's host: Fargate's is X86_64 unless the definition says otherwise."""
    declared = (task_definition.get("runtimePlatform") or {}).get("cpuArchitecture")
    if declared:
        return _PLATFORMS[declared.upper()]
    return _PLATFORMS["X86_64"] if "FARGATE" in task_definition.get("requiresCompatibilities", ()) else None


def _environment(declared: Mapping[str, str], client: Mapping[str, str], api_url: str) -> dict[str, str]:
    """Merge the definition's variables over the cloud's; the AWS endpoint is always the cloud's."""
    own = dict(declared)
    metadata = own.pop("ECS_CONTAINER_METADATA_URI_V4", "")
    for name in (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_ENDPOINT_URL",
    ):
        own.pop(name, None)
    region = get_region()
    provided = {"AWS_DEFAULT_REGION": region, "AWS_REGION": region, "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"}
    if metadata:
        provided["ECS_CONTAINER_METADATA_URI_V4"] = api_url + urllib.parse.urlsplit(metadata).path
    return {**client, **provided, **own}


def _host_ports(client: Mapping[str, str], api_url: str) -> list[int]:
    urls = [api_url, *(value for value in client.values() if value.startswith(("http://", "https://")))]
    return sorted({port for url in urls if (port := urllib.parse.urlsplit(url).port)})
