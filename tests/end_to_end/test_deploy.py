"""One project's life: deploy, deploy again, change a tool, destroy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from local_cloud.launcher import LocalCloud
from tests.end_to_end.conftest import Project
from tests.end_to_end.leftovers import everything

pytestmark = pytest.mark.xdist_group("end_to_end")


@pytest.fixture(scope="module")
def before(cloud: LocalCloud) -> dict[str, list[str]]:
    """What the cloud held before the project came."""
    return everything(cloud)


@pytest.fixture(scope="module")
def project(scaffold: Callable[[str], Project], before: dict[str, list[str]]) -> Iterator[Project]:
    """A deployed project; destroyed at the end whatever happened."""
    made = scaffold("Whole Way Server")
    done = made.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    yield made
    made.ops("destroy", "--stage", "dev", "--yes")


def running_tasks(project: Project) -> set[str]:
    outputs = project.outputs()
    ecs = project.cloud.client("ecs")
    return set(
        ecs.list_tasks(
            cluster=outputs["ClusterName"], serviceName=outputs["ServiceName"], desiredStatus="RUNNING"
        )["taskArns"]
    )


def test_an_agent_gets_its_answer_through_the_gateway(project: Project) -> None:
    done = project.ops("verify", "--stage", "dev")
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("10 + 20 = 30 through https://")
    assert "whole-way-server___simpleadd" in last


def test_the_same_bundle_deployed_again_changes_nothing(project: Project) -> None:
    tasks, outputs = running_tasks(project), project.outputs()
    done = project.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no changes" in done.stdout
    assert running_tasks(project) == tasks
    assert project.outputs() == outputs


def gateway_tools(project: Project) -> list[str]:
    """Names that the gateway lists to a signed caller, by the project's own client."""
    program = """
import os, sys
from ops.aws import Aws
from ops.http import HttpClient
from ops.gateway import gateway_client
client = gateway_client(Aws(os.environ["AWS_REGION"]), sys.argv[1], HttpClient())
client.initialize()
print(*[tool["name"] for tool in client.list_tools()])
"""
    environment = {**os.environ, **project.cloud.environment()}
    done = subprocess.run(
        [sys.executable, "-c", program, project.outputs()["GatewayUrl"]],
        cwd=project.path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


def test_one_changed_line_replaces_the_task_and_the_gateway_lists_the_new_tool(project: Project) -> None:
    tasks, before = running_tasks(project), project.outputs()
    assert "whole-way-server___addsimply" not in gateway_tools(project)
    module = "src/whole_way_server/tools/simpleadd.py"
    line = "server.tool(annotations=hints)(simpleadd)"
    project.replace(module, line, f'{line}; server.tool("addsimply", annotations=hints)(simpleadd)')
    done = project.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    after = project.outputs()
    assert "whole-way-server___addsimply" in gateway_tools(project)
    assert tasks
    assert not running_tasks(project) & tasks
    assert after["ImageUri"] != before["ImageUri"]
    for kept in ("GatewayId", "GatewayUrl", "GatewayTargetId", "DistributionDomainName", "ServiceName"):
        assert after[kept] == before[kept], f"{kept} changed with the image"


def test_destroy_leaves_nothing_and_says_so(project: Project, before: dict[str, list[str]]) -> None:
    done = project.ops("destroy", "--stage", "dev", "--yes", "--artifacts")
    assert done.returncode == 0, done.stdout + done.stderr
    assert everything(project.cloud) == before
    again = project.ops("destroy", "--stage", "dev", "--yes")
    assert again.returncode == 0, again.stdout + again.stderr
