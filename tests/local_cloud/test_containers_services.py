"""ECS services on the local cloud: tasks are processes, health is true, deployments end as on AWS."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from local_cloud.launcher import LocalCloud

from . import stacks
from .container_service import Project, running, source, template, until

Client = Callable[..., Any]

_STACK_SECONDS = 60.0


@pytest.fixture(scope="module")
def image(client: Client) -> str:
    return Project(client, "served").image("v1")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "_TIMEOUT", _STACK_SECONDS)


@dataclass
class Service:
    """A deployed stack and what its tests look at."""

    client: Client
    name: str
    outputs: dict[str, str]

    def describe(self) -> dict[str, Any]:
        answer = self.client("ecs").describe_services(
            cluster=self.outputs["Cluster"], services=[self.outputs["Service"]]
        )
        return dict(answer["services"][0])

    def tasks(self) -> list[dict[str, Any]]:
        ecs = self.client("ecs")
        arns = ecs.list_tasks(cluster=self.outputs["Cluster"])["taskArns"]
        return ecs.describe_tasks(cluster=self.outputs["Cluster"], tasks=arns)["tasks"] if arns else []

    def targets(self) -> list[dict[str, Any]]:
        health = self.client("elbv2").describe_target_health(TargetGroupArn=self.outputs["Targets"])
        return list(health["TargetHealthDescriptions"])

    def healthy(self) -> list[str]:
        return [each["Target"]["Id"] for each in self.targets() if each["TargetHealth"]["State"] == "healthy"]

    def events(self) -> list[str]:
        return [event["message"] for event in self.describe()["events"]]


@pytest.fixture
def deploy(client: Client) -> Iterator[Callable[..., Service]]:
    names: list[str] = []

    def run(name: str, image: str, **options: Any) -> Service:
        names.append(name)
        stack = stacks.create(client("cloudformation"), name, template(image, **options))
        assert stack["StackStatus"] == "CREATE_COMPLETE", stacks.failure_reasons(
            client("cloudformation"), name
        )
        return Service(client, name, stacks.outputs(stack))

    yield run
    for name in names:
        assert stacks.delete(client("cloudformation"), name)["StackStatus"] == "DELETE_COMPLETE"


def address(task: dict[str, Any]) -> str:
    details = task["attachments"][0]["details"]
    return str(next(each["value"] for each in details if each["name"] == "privateIPv4Address"))


def get(host: str, path: str = "/version") -> str:
    with urllib.request.urlopen(f"http://{host}:8080{path}", timeout=5) as answer:
        return str(answer.read().decode())


def process_of(host: str) -> int:
    """Process id of the task with this address, from its environment."""
    wanted = f"LOCAL_CLOUD_INTERFACE_ADDRESS={host}\0".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in environ.read_bytes():
                return int(environ.parent.name)
    raise AssertionError(f"no process has {host}")


def test_a_stack_is_complete_once_its_tasks_are_healthy(
    deploy: Callable[..., Service], image: str, client: Client
) -> None:
    service = deploy("steady", image, desired=2, environment={"VERSION": "1"})
    described = service.describe()
    assert described["runningCount"] == described["desiredCount"] == 2
    assert [each["rolloutState"] for each in described["deployments"]] == ["COMPLETED"]
    assert any("has reached a steady state" in each for each in service.events())
    assert len(service.healthy()) == 2
    tasks = service.tasks()
    assert sorted(address(task) for task in tasks) == sorted(service.healthy())
    assert {task["healthStatus"] for task in tasks} == {"HEALTHY"}
    assert {get(address(task)) for task in tasks} == {"1"}
    logs = until(
        lambda: client("logs").filter_log_events(logGroupName=service.outputs["Logs"])["events"],
        "the log is there",
    )
    assert logs[0]["message"] == "listening with 1"


def test_a_killed_task_is_replaced(deploy: Callable[..., Service], image: str) -> None:
    service = deploy("killed", image)
    before = service.tasks()[0]
    os.kill(process_of(address(before)), signal.SIGKILL)
    after = until(
        lambda: [task for task in service.healthy() if task != address(before)], "another task is healthy"
    )
    assert get(after[0]) == "none"
    stopped = service.client("ecs").describe_tasks(
        cluster=service.outputs["Cluster"], tasks=[before["taskArn"]]
    )
    assert stopped["tasks"][0]["stopCode"] == "EssentialContainerExited"
    assert stopped["tasks"][0]["containers"][0]["exitCode"] == 137


@pytest.fixture(scope="module")
def failing(client: Client, image: str) -> None:
    """Create, all at once, the stacks whose service must fail."""
    no_curl = template(image)
    definition = no_curl["Resources"]["TaskDefinition"]["Properties"]["ContainerDefinitions"][0]
    definition["HealthCheck"] = {"Command": ["CMD-SHELL", "curl -f http://localhost:8080/health || exit 1"]}
    architecture = template(image, architecture="X86_64")
    architecture["Resources"]["Logs"]["DeletionPolicy"] = "Retain"
    architecture["Resources"]["Logs"]["Properties"] = {"LogGroupName": "/wrong-architecture"}
    loose = template(image)
    del loose["Resources"]["Listener"], loose["Resources"]["Service"]["DependsOn"]
    templates = {
        "loopback": template(image, environment={"HOST": "127.0.0.1"}),
        "wrong-path": template(image, path="/nowhere"),
        "no-curl": no_curl,
        "architecture": architecture,
        "unpushed": template(image.partition("@")[0] + "@sha256:" + "0" * 64),
        "loose": loose,
    }
    for name, body in templates.items():
        client("cloudformation").create_stack(**stacks.arguments(name, body))


def failure(client: Client, name: str) -> str:
    """Why the service of a stack failed, once the stack is rolled back."""
    stack = stacks.settled(client("cloudformation"), name)
    reasons = stacks.failure_reasons(client("cloudformation"), name)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE", reasons
    stacks.delete(client("cloudformation"), name)
    return reasons["Service"]


@pytest.mark.usefixtures("failing")
def test_a_server_bound_to_loopback_fails_its_deployment_by_the_health_check(client: Client) -> None:
    """Its own container health check passes: only the load balancer can't reach it."""
    reason = failure(client, "loopback")
    assert "'ECS Deployment Circuit Breaker was triggered'" in reason
    assert "(port 8080) is unhealthy in (target-group arn:aws:elasticloadbalancing:" in reason
    assert "due to (reason Health checks failed)" in reason
    assert "container health checks" not in reason


@pytest.mark.usefixtures("failing")
def test_a_wrong_health_check_path_is_named(client: Client) -> None:
    assert "due to (reason Health checks failed with these codes: [404])" in failure(client, "wrong-path")


@pytest.mark.usefixtures("failing")
def test_a_failing_container_health_check_is_named(client: Client) -> None:
    """A slim image has no curl, here as on AWS."""
    assert "Task failed container health checks" in failure(client, "no-curl")


@pytest.mark.usefixtures("failing")
def test_an_image_of_another_architecture_does_not_start(client: Client) -> None:
    assert "Essential container exited (exit code 255)" in failure(client, "architecture")
    events = client("logs").filter_log_events(logGroupName="/wrong-architecture")["events"]
    assert {event["message"] for event in events} == {"exec /usr/local/bin/python: exec format error"}


@pytest.mark.usefixtures("failing")
def test_an_image_that_is_not_in_the_registry_is_not_pulled(client: Client) -> None:
    assert "CannotPullContainerError" in failure(client, "unpushed")


@pytest.mark.usefixtures("failing")
def test_a_target_group_without_load_balancer_is_refused(client: Client) -> None:
    assert "does not have an associated load balancer" in failure(client, "loose")


@dataclass
class Traffic:
    """Requests to whatever is healthy, one after another, as a load balancer sends them."""

    service: Service
    versions: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        turn = 0
        while not self._stop.is_set():
            targets = self.service.healthy()
            turn += 1
            try:
                self.versions.append(get(targets[turn % len(targets)]))
            except (OSError, ZeroDivisionError) as error:
                self.errors.append(f"{targets}: {error!r}")

    def __enter__(self) -> Traffic:
        self._thread = threading.Thread(target=self.run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_a_new_revision_replaces_the_tasks_without_a_failed_request(
    deploy: Callable[..., Service], client: Client, image: str
) -> None:
    service = deploy("rolling", image, desired=2, environment={"VERSION": "1"})
    old = {address(task) for task in service.tasks()}
    slow: list[str] = []
    with Traffic(service) as traffic:
        until(lambda: traffic.versions, "the first answer came")
        new = template(image, desired=2, environment={"VERSION": "2"})
        request = threading.Thread(target=lambda: slow.append(slow_answer(old)))
        client("cloudformation").update_stack(**stacks.arguments("rolling", new))
        request.start()
        stack = stacks.settled(client("cloudformation"), "rolling")
        until(lambda: traffic.versions[-1] == "2", "the new version answers")
        request.join()
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert traffic.errors == []
    assert slow == ["1"], "a request in flight ends before its task is stopped"
    assert traffic.versions[0] == "1"
    assert not {address(task) for task in service.tasks()} & old
    draining = [each["TargetHealth"] for each in service.targets() if each["Target"]["Id"] in old]
    assert {each["Reason"] for each in draining} <= {"Target.DeregistrationInProgress"}


def slow_answer(addresses: set[str]) -> str:
    try:
        return get(min(addresses), "/slow")
    except OSError as error:
        return repr(error)


def test_a_bad_revision_is_rolled_back_and_the_old_tasks_stay(
    deploy: Callable[..., Service], client: Client, image: str
) -> None:
    service = deploy("kept", image, environment={"VERSION": "1"})
    before = service.tasks()[0]["taskArn"]
    bad = template(image, environment={"VERSION": "2", "HOST": "127.0.0.1"})
    stack = stacks.update(client("cloudformation"), "kept", bad)
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "Health checks failed" in stacks.failure_reasons(client("cloudformation"), "kept")["Service"]
    assert before in [task["taskArn"] for task in service.tasks()]
    assert get(service.healthy()[0]) == "1"


def test_an_unhealthy_task_is_replaced(deploy: Callable[..., Service], image: str) -> None:
    service = deploy("frozen", image, health_check=False)
    before = address(service.tasks()[0])
    frozen = process_of(before)
    os.kill(frozen, signal.SIGSTOP)
    try:
        until(lambda: [each for each in service.healthy() if each != before], "another task is healthy", 40)
        assert any("due to (reason Request timed out)" in event for event in service.events())
    finally:
        os.kill(frozen, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_when_the_cloud_ends(client: Client, image: str, number: signal.Signals) -> None:
    with LocalCloud() as cloud:
        project = Project(cloud.client, "served")
        copy_image(client("ecr"), cloud.client("ecr"), image)
        stack = stacks.create(cloud.client("cloudformation"), "ended", template(image))
        service = Service(cloud.client, "ended", stacks.outputs(stack))
        pid = process_of(address(service.tasks()[0]))
        command = f"sleep 62.{number:d}"
        project.start(source(), "v2", buildspecOverride=SLEEPING.format(command=command))
        until(lambda: running(command), "the build's command runs")
        os.kill(cloud.pid, number)
        until(lambda: not alive(pid) and not running(command), f"process {pid} and the build are gone", 10)


SLEEPING = "version: 0.2\nphases:\n  build:\n    commands:\n      - {command}\n"


def copy_image(origin: Any, target: Any, reference: str) -> None:
    """Put an image of one cloud's registry into another's; its files are in the cache that both use."""
    digest = reference.partition("@")[2]
    image = origin.batch_get_image(repositoryName="served", imageIds=[{"imageDigest": digest}])["images"][0]
    target.put_image(
        repositoryName="served", imageManifest=image["imageManifest"], imageTag="v1", imageDigest=digest
    )


def alive(pid: int) -> bool:
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return bool(state.strip()) and not state.startswith("Z")
