"""Containers without a container engine: images are directories, tasks and builds are processes."""

from __future__ import annotations

import os
import sys
from typing import Any

from ..context import CloudContext


def install(context: CloudContext) -> None:
    """Let ECS run tasks, CodeBuild build and load balancers check their targets."""
    from ministack.services import ecs  # type: ignore[import-untyped]

    from . import target_health
    from .builds.runner import Builder, install_programs
    from .ecs import container_secrets, resources
    from .ecs.blue_green import BlueGreen
    from .ecs.scheduler import Scheduler
    from .ecs.service_deployments import History
    from .ecs.task_runtime import describer
    from .engine.client import Engine
    from .engine.docker_errors import install_docker_module
    from .engine.processes import Processes
    from .images.docker_command import DockerConfig
    from .settings import ContainerSettings, package_environment

    settings = ContainerSettings.from_environment(os.environ)
    directory = context.state_directory / "containers"
    directory.mkdir(parents=True, exist_ok=True)
    python: str = getattr(sys, "_base_executable", sys.executable)
    docker_config = DockerConfig(str(settings.cache_directory), python, package_environment())
    docker_config.write(directory / "docker-config.json")
    store = docker_config.store()
    store.prune()
    processes = Processes()

    install_docker_module()
    describe = describer(context.client_environment, context.api_url)
    engine = Engine(directory / "tasks", store, processes, describe)
    ecs._get_docker = lambda: engine
    monitor = target_health.install(settings.scaled)
    client = _client_factory(context)
    history = History()
    scheduler = Scheduler(engine, history, BlueGreen(history, client, settings.scaled), settings.scaled)
    scheduler.install()
    container_secrets.install()
    resources.register(history, settings.scaled)

    install_programs(directory / "programs")
    builder = Builder(
        directory / "builds",
        directory / "programs",
        directory / "docker-config.json",
        processes,
        context.client_environment,
        client,
    )
    builder.install()

    def stop() -> None:
        scheduler.close()
        monitor.close()
        processes.close()
        engine.close()

    context.at_shutdown(stop)


def _client_factory(context: CloudContext) -> Any:
    def client(service: str, region: str) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(  # type: ignore[call-overload]
            service,
            region_name=region,
            endpoint_url=context.api_url,
            verify=context.client_environment.get("AWS_CA_BUNDLE"),
            aws_access_key_id=context.client_environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=context.client_environment["AWS_SECRET_ACCESS_KEY"],
            # A function may run for fifteen minutes, and must not be asked twice.
            config=Config(read_timeout=900, retries={"total_max_attempts": 1}),
        )

    return client
