"""Deployments that must fail: each says why in words, and nothing of it is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.end_to_end.conftest import Project
from tests.end_to_end.leftovers import everything

pytestmark = pytest.mark.xdist_group("end_to_end")


@contextmanager
def rolled_back_to_nothing(project: Project) -> Iterator[None]:
    """The failed stack stays as ROLLBACK_COMPLETE; once deleted, there is what was there before."""
    before = everything(project.cloud)
    yield
    cloudformation = project.cloud.client("cloudformation")
    (stack,) = cloudformation.describe_stacks(StackName=project.stack_name)["Stacks"]
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    cloudformation.delete_stack(StackName=project.stack_name)
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName=stack["StackId"], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert everything(project.cloud) == before


def assert_fails_by_its_health_check(project: Project) -> None:
    with rolled_back_to_nothing(project):
        done = project.deploy()
        assert done.returncode == 1
        told = done.stdout + done.stderr
        assert "health check" in told.lower(), told


def test_a_server_on_loopback_fails_by_its_health_check(scaffold: Callable[[str], Project]) -> None:
    project = scaffold("Loopback Server")
    project.replace("infrastructure/fargate.yaml", "Value: 0.0.0.0", "Value: 127.0.0.1")
    assert_fails_by_its_health_check(project)


def test_tasks_that_admit_nobody_fail_by_their_health_check(scaffold: Callable[[str], Project]) -> None:
    project = scaffold("Walled Server")
    template = (project.path / "infrastructure/alb.yaml").read_text(encoding="utf-8")
    ingress = template.split("TaskIngressFromLoadBalancer:")[1].split("\n\n")[0]
    project.replace("infrastructure/alb.yaml", ingress, ingress.replace("Port: 8080", "Port: 8081"))
    assert_fails_by_its_health_check(project)


def test_a_failed_image_build_says_what_docker_said(scaffold: Callable[[str], Project]) -> None:
    project = scaffold("Unbuildable Server")
    project.replace("Dockerfile", "COPY requirements.txt", "COPY requirements-that-are-missing.txt")
    with rolled_back_to_nothing(project):
        done = project.deploy()
        assert done.returncode == 1
        assert "requirements-that-are-missing.txt" in done.stdout + done.stderr


def test_a_server_that_speaks_no_mcp_is_not_registered(scaffold: Callable[[str], Project]) -> None:
    project = scaffold("Speechless Server")
    # Healthy for the load balancer, but nothing at the address that is to be registered.
    # The function tries for a third of its time, as the address may be young; here it is given less of it.
    project.replace("infrastructure/registration.yaml", "Timeout: 600", "Timeout: 60")
    project.replace("src/speechless_server/app.py", "path=MCP_PATH", 'path="/elsewhere"')
    with rolled_back_to_nothing(project):
        done = project.deploy()
        assert done.returncode == 1
        told = done.stdout + done.stderr
        assert "404" in told, told
        assert "Target" in told, told
