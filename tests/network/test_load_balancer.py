"""Two tasks behind the load balancer: who needs stickiness, and what an idle timeout cuts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cookiecutter.main import cookiecutter

from tests.container import caller, machine
from tests.container.network import TASK_ADDRESS, Cable, cable
from tests.infrastructure.cloudformation import Templates, load_templates

from .load_balancer import haproxy_configuration

ROOT = Path(__file__).parents[2]
CLIENT = Path(__file__).with_name("legacy_client.py")
PACKAGE = "knowledge_mcp_server"
BALANCER_PORT = 8000
TASK_PORTS = {False: (8080, 8081), True: (8082, 8083)}
CALLS = 6
SHORT_IDLE_SECONDS = 3

Balance = Callable[..., str]


@pytest.fixture(scope="module")
def templates() -> Templates:
    return load_templates()


@pytest.fixture(scope="module")
def namespaces() -> Iterator[Cable]:
    if reason := machine.obstacle():
        pytest.fail(f"No network namespace can be made on this machine: {reason}.", pytrace=False)
    with cable("net") as ends:
        yield ends


@pytest.fixture(scope="module")
def tasks(namespaces: Cable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, list[str]]]:
    """Return the addresses of two servers by whether they keep sessions."""
    home = tmp_path_factory.mktemp("home")
    config = home / "cookiecutter.yaml"
    config.write_text(f"cookiecutters_dir: {home / 'templates'}\nreplay_dir: {home / 'replay'}\n")
    project = Path(cookiecutter(str(ROOT), no_input=True, output_dir=str(home), config_file=str(config)))
    servers = []
    try:
        for stateful, ports in TASK_PORTS.items():
            for port in ports:
                variables = {"HOST": "0.0.0.0", "PORT": str(port), "MCP_STATEFUL": str(stateful).lower()}  # noqa: S104
                command = [
                    "ip",
                    "netns",
                    "exec",
                    namespaces.task,
                    sys.executable,
                    "-m",
                    PACKAGE,
                ]
                servers.append(
                    subprocess.Popen(
                        command,
                        env={**os.environ, "PYTHONPATH": str(project / "src"), **variables},
                        stdout=subprocess.DEVNULL,
                    )
                )
        for port in (*TASK_PORTS[False], *TASK_PORTS[True]):
            url = f"http://{TASK_ADDRESS}:{port}/health"
            assert caller.call(namespaces.caller, 60, url=url)["status"] == 200
        yield {keeps: [f"{TASK_ADDRESS}:{port}" for port in ports] for keeps, ports in TASK_PORTS.items()}
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(30)


@pytest.fixture
def balance(
    namespaces: Cable, tasks: dict[bool, list[str]], templates: Templates, tmp_path: Path
) -> Iterator[Balance]:
    """Return a function that starts a load balancer over stateful or stateless tasks and returns its URL."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*, stateful: bool, **replaced: Any) -> str:
        configuration = tmp_path / "haproxy.cfg"
        configuration.write_text(
            haproxy_configuration(
                templates, tasks[stateful], port=BALANCER_PORT, stateful=stateful, **replaced
            )
        )
        command = ["ip", "netns", "exec", namespaces.caller, "haproxy", "-db", "-q", "-f", str(configuration)]
        started.append(subprocess.Popen(command))
        url = f"http://127.0.0.1:{BALANCER_PORT}"
        assert caller.call(namespaces.caller, 10, url=f"{url}/health")["status"] == 200
        return f"{url}/mcp"

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


def legacy(namespaces: Cable, url: str, jar: str, what: str, amount: int) -> Any:
    command = ["ip", "netns", "exec", namespaces.caller, sys.executable, "-I", str(CLIENT)]
    done = subprocess.run(
        [*command, url, jar, what, str(amount)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_stateful_tasks_need_stickiness(namespaces: Cable, balance: Balance) -> None:
    statuses = legacy(namespaces, balance(stateful=True, sticky=False), "jar", "calls", CALLS)
    assert sorted(set(statuses)) == [200, 404]


def test_the_templates_stickiness_keeps_a_session_together(namespaces: Cable, balance: Balance) -> None:
    assert legacy(namespaces, balance(stateful=True), "jar", "calls", CALLS) == [200] * CALLS


def test_stickiness_is_nothing_without_a_cookie_jar(namespaces: Cable, balance: Balance) -> None:
    assert 404 in legacy(namespaces, balance(stateful=True), "nojar", "calls", CALLS)


def test_stateless_tasks_need_neither(namespaces: Cable, balance: Balance) -> None:
    assert legacy(namespaces, balance(stateful=False), "nojar", "calls", CALLS) == [200] * CALLS


def test_an_idle_timeout_cuts_a_silent_stream(namespaces: Cable, balance: Balance) -> None:
    url = balance(stateful=True, idle_seconds=SHORT_IDLE_SECONDS)
    seconds = legacy(namespaces, url, "jar", "stream", 3 * SHORT_IDLE_SECONDS)
    assert SHORT_IDLE_SECONDS - 0.5 < seconds < 2 * SHORT_IDLE_SECONDS


def test_the_templates_idle_timeout_does_not(namespaces: Cable, balance: Balance) -> None:
    seconds = legacy(namespaces, balance(stateful=True), "jar", "stream", 3 * SHORT_IDLE_SECONDS)
    assert seconds >= 3 * SHORT_IDLE_SECONDS - 0.5
