"""Two tasks behind CloudFront and the load balancer: who needs stickiness, and which silence is cut where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.baking import PACKAGE, bake
from tests.container import caller, machine
from tests.container.network import TASK_ADDRESS, Cable, cable
from tests.infrastructure.cloudformation import Templates, load_templates

from .distribution import haproxy_section, keep_alive, read_timeout
from .load_balancer import haproxy_configuration, idle_timeout
from .wires import JSON_ALONE, JSON_OR_STREAM, MODERN, WIRES, tool_call

CLIENT = Path(__file__).with_name("legacy_client.py")
EDGE_PORT = 8001
BALANCER_PORT = 8000
TASK_PORTS = {False: (8080, 8081), True: (8082, 8083)}
LOOPBACK_PORT = 8084
CALLS = 6
SHORT_IDLE_SECONDS = 3
SHORT_READ_SECONDS = 3
# Of the tasks without sessions.
SHORT_PING_SECONDS = 1
# With the templates' and the server's own figures, which takes two minutes.
FULL = os.environ.get("NETWORK_PROFILE") == "full"

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
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bake(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def tasks(namespaces: Cable, project: Path) -> Iterator[dict[bool, list[str]]]:
    """Return the addresses of two servers by whether they keep sessions; those without ping every second."""
    servers = []
    program = [sys.executable, str(project / "tests/server/more_tools.py"), PACKAGE]
    try:
        everywhere = {"HOST": "0.0.0.0", "LOG_LEVEL": "WARNING"}  # noqa: S104
        own: list[dict[str, str]] = [{"PORT": str(LOOPBACK_PORT), "HOST": "127.0.0.1"}]
        own += [{"PORT": str(port), "PING_SECONDS": str(SHORT_PING_SECONDS)} for port in TASK_PORTS[False]]
        own += [{"PORT": str(port), "MCP_STATEFUL": "true"} for port in TASK_PORTS[True]]
        for variables in own:
            environment = {**os.environ, "PYTHONPATH": str(project / "src"), **everywhere, **variables}
            command = ["ip", "netns", "exec", namespaces.task, *program]
            servers.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
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
    """Return a function that starts a load balancer over stateful or stateless tasks and returns its URL.

    With `edge` it is CloudFront's URL, with the load balancer behind it.
    """
    started: list[subprocess.Popen[bytes]] = []

    def start(
        *,
        stateful: bool,
        edge: bool = False,
        read_seconds: int | None = None,
        targets: list[str] | None = None,
        **replaced: Any,
    ) -> str:
        configuration = tmp_path / "haproxy.cfg"
        configuration.write_text(
            haproxy_configuration(
                templates, targets or tasks[stateful], port=BALANCER_PORT, stateful=stateful, **replaced
            )
            + haproxy_section(templates, port=EDGE_PORT, origin_port=BALANCER_PORT, read_seconds=read_seconds)
        )
        command = ["ip", "netns", "exec", namespaces.caller, "haproxy", "-db", "-q", "-f", str(configuration)]
        started.append(subprocess.Popen(command))
        # haproxy takes tasks for up until a check says otherwise.
        url = f"http://127.0.0.1:{EDGE_PORT if edge else BALANCER_PORT}"
        assert "status" in caller.call(namespaces.caller, 10, url=f"{url}/health")
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


HOPS = pytest.mark.parametrize("edge", [False, True], ids=["load balancer", "CloudFront"])


@HOPS
def test_stateful_tasks_need_stickiness(namespaces: Cable, balance: Balance, edge: bool) -> None:
    url = balance(stateful=True, sticky=False, edge=edge)
    statuses = legacy(namespaces, url, "jar", "calls", CALLS)
    assert sorted(set(statuses)) == [200, 404]


@HOPS
def test_the_templates_stickiness_keeps_a_session_together(
    namespaces: Cable, balance: Balance, edge: bool
) -> None:
    url = balance(stateful=True, edge=edge)
    assert legacy(namespaces, url, "jar", "calls", CALLS) == [200] * CALLS


def test_stickiness_is_nothing_without_a_cookie_jar(namespaces: Cable, balance: Balance) -> None:
    assert 404 in legacy(namespaces, balance(stateful=True), "nojar", "calls", CALLS)


@HOPS
def test_stateless_tasks_need_neither(namespaces: Cable, balance: Balance, edge: bool) -> None:
    url = balance(stateful=False, edge=edge)
    assert legacy(namespaces, url, "nojar", "calls", CALLS) == [200] * CALLS


def test_an_idle_timeout_cuts_a_silent_stream(namespaces: Cable, balance: Balance) -> None:
    url = balance(stateful=True, idle_seconds=SHORT_IDLE_SECONDS)
    seconds = legacy(namespaces, url, "jar", "stream", 3 * SHORT_IDLE_SECONDS)
    assert SHORT_IDLE_SECONDS - 0.5 < seconds < 2 * SHORT_IDLE_SECONDS


def test_the_templates_idle_timeout_does_not(namespaces: Cable, balance: Balance) -> None:
    seconds = legacy(namespaces, balance(stateful=True), "jar", "stream", 3 * SHORT_IDLE_SECONDS)
    assert seconds >= 3 * SHORT_IDLE_SECONDS - 0.5


def test_a_task_on_loopback_is_out_of_the_load_balancer_s_reach(
    namespaces: Cable, balance: Balance, tasks: dict[bool, list[str]]
) -> None:
    """Why a container needs HOST=0.0.0.0: on 127.0.0.1 it answers itself, and nobody else."""
    itself = caller.call(namespaces.task, 60, url=f"http://127.0.0.1:{LOOPBACK_PORT}/health")
    assert itself["status"] == 200
    url = balance(stateful=False, targets=[f"{TASK_ADDRESS}:{LOOPBACK_PORT}"])
    assert caller.call(namespaces.caller, url=url.replace("/mcp", "/health"))["status"] == 503


def test_cloudfront_cuts_a_silent_stream(namespaces: Cable, balance: Balance) -> None:
    url = balance(stateful=True, edge=True, read_seconds=SHORT_READ_SECONDS)
    seconds = legacy(namespaces, url, "jar", "stream", 3 * SHORT_READ_SECONDS)
    assert SHORT_READ_SECONDS - 0.5 < seconds < 2 * SHORT_READ_SECONDS


def test_cloudfront_as_in_the_template_does_not(namespaces: Cable, balance: Balance) -> None:
    seconds = legacy(namespaces, balance(stateful=True, edge=True), "jar", "stream", 3 * SHORT_READ_SECONDS)
    assert seconds >= 3 * SHORT_READ_SECONDS - 0.5


def begin(namespaces: Cable, url: str, wire: str, accept: str, seconds: float) -> subprocess.Popen[str]:
    """Begin to call a tool that says nothing for so many seconds; `caller.finish` gets the answer."""
    request = tool_call(wire, accept, "wait", {"seconds": seconds})
    return caller.start(namespaces.caller, seconds + 30, url=url, method="POST", **request)


@pytest.mark.parametrize("wire", WIRES)
def test_cloudfront_gives_up_on_a_silent_call(namespaces: Cable, balance: Balance, wire: str) -> None:
    """A client that takes JSON alone leaves the server nothing to say before the result."""
    url = balance(stateful=False, edge=True, read_seconds=SHORT_READ_SECONDS)
    answer = caller.finish(begin(namespaces, url, wire, JSON_ALONE, 2 * SHORT_READ_SECONDS))
    assert answer["status"] == 504
    assert SHORT_READ_SECONDS - 0.5 < answer["seconds"] < 2 * SHORT_READ_SECONDS


@pytest.mark.parametrize("wire", WIRES)
def test_pings_bring_a_silent_call_through(namespaces: Cable, balance: Balance, wire: str) -> None:
    url = balance(stateful=False, edge=True, read_seconds=SHORT_READ_SECONDS)
    answer = caller.finish(begin(namespaces, url, wire, JSON_OR_STREAM, 2 * SHORT_READ_SECONDS))
    assert (answer["status"], answer["headers"]["content-type"]) == (200, "text/event-stream")
    assert '"result":"waited"' in answer["body"]


@pytest.mark.skipif(not FULL, reason="waits for two minutes: NETWORK_PROFILE=full make test-network")
def test_the_templates_read_timeout(
    namespaces: Cable, balance: Balance, templates: Templates, say: Callable[[str], None]
) -> None:
    """Nothing is shortened: the template's timeouts, the server's pings."""
    limit = read_timeout(templates)
    url = balance(stateful=True, edge=True)
    asked = [begin(namespaces, url, MODERN, accept, limit + 5) for accept in (JSON_ALONE, JSON_OR_STREAM)]
    silent, streamed = (caller.finish(process) for process in asked)
    say(
        f"{limit + 5} s through CloudFront: as JSON {silent['status']} after {silent['seconds']:.0f} s, "
        f"as a stream {streamed['status']} after {streamed['seconds']:.0f} s"
    )
    assert (silent["status"], streamed["status"]) == (504, 200)
    assert limit - 1 < silent["seconds"] < limit + 4 < streamed["seconds"]
    assert '"result":"waited"' in streamed["body"]


def test_methods_that_the_distribution_lacks_go_no_further(namespaces: Cable, balance: Balance) -> None:
    url = balance(stateful=False, edge=True)
    statuses = [caller.call(namespaces.caller, url=url, method=name)["status"] for name in ("TRACE", "PUT")]
    assert statuses == [403, 405]


def test_whoever_sends_requests_is_the_first_to_close_an_idle_connection(
    templates: Templates, project: Path
) -> None:
    """Closed by the other end, it would fail the request that is just being sent."""
    program = f"from {PACKAGE} import serving; print(serving.KEEP_ALIVE_SECONDS)"
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    assert keep_alive(templates) < idle_timeout(templates) < int(done.stdout)
