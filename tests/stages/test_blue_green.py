"""A blue/green deployment of the real templates: a bad version is refused before anybody calls it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from custom_resources.mcp_probe import STATELESS_VERSION, ProbeError, bearer, try_tool
from tests.end_to_end.conftest import Project
from tests.end_to_end.gateway_token import token_of

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("blue_green")]

TOOL = "simpleadd"
ARGUMENTS = {"a": 10, "b": 20}
MODULE = "src/blue_green_server/tools/simpleadd.py"


@pytest.fixture(scope="module")
def project(scaffold: Callable[[str], Project]) -> Iterator[Project]:
    """A project deployed with BLUE_GREEN; destroyed whatever happened."""
    made = scaffold("Blue Green Server")
    stage = "infrastructure/stages/dev.json"
    made.replace(stage, '"Strategy": "ROLLING"', '"Strategy": "BLUE_GREEN", "BakeTimeInMinutes": "1"')
    done = made.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    yield made
    made.ops("destroy", "--stage", "dev", "--yes")


@dataclass
class Caller:
    """Calls the tool over and over, by CloudFront; keeps the answers and what went wrong."""

    url: str
    token: str
    answers: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Caller:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                trial = try_tool(self.url, 20, TOOL, ARGUMENTS, bearer(self.token), version=STATELESS_VERSION)
                self.answers.append(trial.text)
            except ProbeError as error:
                self.failures.append(str(error))
            time.sleep(0.02)


def hook_log(project: Project) -> str:
    """Return what the smoke test's hook has logged."""
    logs = project.cloud.client("logs")
    groups = [
        group["logGroupName"]
        for group in logs.describe_log_groups()["logGroups"]
        if project.path.name in group["logGroupName"] and "HookLogGroup" in group["logGroupName"]
    ]
    assert groups, "the smoke test has no log group"
    return "\n".join(
        event["message"] for group in groups for event in logs.filter_log_events(logGroupName=group)["events"]
    )


@pytest.mark.usefixtures("inside_the_cloud")
def test_a_bad_version_is_refused_and_nobody_gets_an_answer_of_it(project: Project) -> None:
    before = project.outputs()
    project.replace(MODULE, "total = a + b", "total = a + b + 1")
    with Caller(before["ServerUrl"], token_of(project)) as caller:
        done = project.deploy()
    project.replace(MODULE, "total = a + b + 1", "total = a + b")
    assert done.returncode != 0
    assert caller.failures == []
    assert set(caller.answers) == {"30"}
    assert len(caller.answers) >= 10
    log = hook_log(project)
    assert f"{TOOL} answered '31'; expected '30'" in log
    assert "is refused, and the traffic stays where it is" in log
    assert project.outputs() | {"ToolCallLatency": ""} == before | {"ToolCallLatency": ""}


@pytest.mark.usefixtures("inside_the_cloud")
def test_a_good_version_takes_over_without_a_failed_call(project: Project) -> None:
    before = project.outputs()
    tried = hook_log(project).count("START RequestId")
    project.replace(MODULE, "total = a + b", "total = b + a")
    with Caller(before["ServerUrl"], token_of(project)) as caller:
        done = project.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    assert caller.failures == []
    assert set(caller.answers) == {"30"}
    assert project.outputs()["ImageUri"] != before["ImageUri"]
    assert hook_log(project).count("START RequestId") > tried


@pytest.mark.usefixtures("inside_the_cloud")
def test_the_strategy_changes_in_place(project: Project) -> None:
    """After a blue/green deployment the tasks are in the green group; ROLLING leaves them there."""
    before = project.outputs()
    stage = "infrastructure/stages/dev.json"
    project.replace(stage, '"Strategy": "BLUE_GREEN"', '"Strategy": "ROLLING"')
    with Caller(before["ServerUrl"], token_of(project)) as caller:
        done = project.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    assert caller.failures == []
    assert set(caller.answers) == {"30"}
    after = project.outputs()
    for kept in ("ServiceName", "ClusterName", "DistributionDomainName", "GatewayId", "ImageUri"):
        assert after[kept] == before[kept]
