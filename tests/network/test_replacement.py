"""Two tasks behind a balancer are replaced one after another under load: no call fails, no stream is cut."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.baking import PACKAGE, bake

from .wires import JSON_ALONE, JSON_OR_STREAM, LEGACY, WIRES, tool_call

CALLS = 20_000
# Each task three times.
REPLACEMENTS = 6
CALLERS_OF_A_KIND = 2
# Of the calls that are in flight, for certain, when their task is asked to stop.
SLOW_SECONDS = 1.0
STREAMS = 20
TIMEOUT_SECONDS = 30
# What a task gets before it is ended by force, here as in the task definition.
GRACE_SECONDS = 25

Kind = tuple[str, str, float]
# Wire, tool and seconds: `simpleadd` is answered with JSON, `report` with a stream of progress.
QUICK: list[Kind] = [(wire, tool, 0.0) for wire in WIRES for tool in ("simpleadd", "report")]
SLOW: list[Kind] = [(wire, tool, SLOW_SECONDS) for wire in WIRES for tool in ("wait", "report")]


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def wait_until_healthy(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        if time.monotonic() > deadline:
            pytest.fail(f"nothing healthy on port {port}")
        time.sleep(0.05)


class Tasks:
    """Servers on two ports behind a balancer; the newest on each port is the one that serves."""

    def __init__(self, project: Path, directory: Path, **variables: str) -> None:
        self._project, self._directory = project, directory
        self._variables = {"LOG_LEVEL": "WARNING", "SHUTDOWN_GRACE_SECONDS": str(GRACE_SECONDS), **variables}
        self.front, *self._ports = free_ports(3)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._balancer: subprocess.Popen[bytes] | None = None

    def start(self, *, sticky: bool) -> None:
        for port in self._ports:
            self._begin(port)
        for port in self._ports:
            wait_until_healthy(port)
        configuration = self._directory / "haproxy.cfg"
        configuration.write_text(self._configuration(sticky))
        self._balancer = subprocess.Popen(["haproxy", "-db", "-q", "-f", str(configuration)])
        wait_until_healthy(self.front)

    def replace(self, number: int) -> float:
        """Ask a task to stop, start another in its place; return the seconds the first one took to end."""
        port = self._ports[number % len(self._ports)]
        asked = time.monotonic()
        self._processes[port].send_signal(signal.SIGTERM)
        assert self._processes[port].wait(timeout=GRACE_SECONDS) == 0
        taken = time.monotonic() - asked
        self._begin(port)
        wait_until_healthy(port)
        return taken

    def stop(self) -> None:
        for process in (self._balancer, *self._processes.values()):
            if process is not None:
                process.kill()
                process.wait(timeout=10)

    def _begin(self, port: int) -> None:
        program = [sys.executable, str(self._project / "tests/server/more_tools.py"), PACKAGE]
        variables = {"PYTHONPATH": str(self._project / "src"), "PORT": str(port), **self._variables}
        self._processes[port] = subprocess.Popen(program, env={**os.environ, **variables})

    def _configuration(self, sticky: bool) -> str:
        # Checks this close together stand in for ECS, which takes a task out before it stops it. Connections
        # to the tasks are kept and shared, as the Application Load Balancer does. The other task gets a
        # request only where the first couldn't be connected to: what was sent once is never repeated.
        servers = "".join(
            f"    server task{number} 127.0.0.1:{port} check inter 200 fall 1 rise 1 cookie task{number}\n"
            for number, port in enumerate(self._ports)
        )
        return (
            "defaults\n    mode http\n    timeout connect 2s\n    timeout client 1h\n    timeout server 30s\n"
            "    http-reuse always\n    option redispatch\n    retry-on conn-failure\n"
            f"frontend mcp\n    bind 127.0.0.1:{self.front}\n    default_backend tasks\n"
            "backend tasks\n    balance roundrobin\n    option httpchk\n"
            "    http-check send meth GET uri /health ver HTTP/1.1 hdr Host localhost\n"
            f"{'    cookie task insert indirect' if sticky else ''}\n{servers}"
        )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bake(tmp_path_factory.mktemp("home"))


@pytest.fixture
def start(project: Path, tmp_path: Path) -> Iterator[Callable[..., Tasks]]:
    """Return a function that starts two tasks and the balancer in front of them."""
    started: list[Tasks] = []

    def new(*, sticky: bool = False, **variables: str) -> Tasks:
        started.append(Tasks(project, tmp_path, **variables))
        started[-1].start(sticky=sticky)
        return started[-1]

    yield new
    for tasks in started:
        tasks.stop()


class Caller(threading.Thread):
    """Makes calls of one kind on one kept connection until it is told to stop."""

    def __init__(self, port: int, kind: Kind, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.kind = kind
        self.calls = 0
        self.failures: list[str] = []
        self._port, self._stop_event = port, stop
        wire, tool, seconds = kind
        arguments = {"a": 10, "b": 20} if tool == "simpleadd" else {"seconds": seconds}
        # The slow call that isn't a stream tells that JSON alone is a choice of the client's, too.
        accept = JSON_ALONE if tool == "wait" else JSON_OR_STREAM
        call = tool_call(wire, accept, tool, arguments)
        self._headers, self._body = call["headers"], json.dumps(call["body"])
        self.start()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        while not self._stop_event.is_set():
            self.calls += 1
            try:
                connection.request("POST", "/mcp", self._body, self._headers)
                answer = connection.getresponse()
                # Raises IncompleteRead where a stream ends without its last chunk.
                body = answer.read()
                if answer.status != 200 or not self._is_right(answer.headers["Content-Type"], body):
                    self.failures.append(f"{self.kind}: {answer.status} {body[:200]!r}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{self.kind}: {error!r}")
                connection.close()
        connection.close()

    def _is_right(self, content_type: str, body: bytes) -> bool:
        tool = self.kind[1]
        if tool == "report":
            streamed = content_type == "text/event-stream" and body.count(b"notifications/progress") == 3
            return streamed and b'"result":"reported"' in body
        expected = b'"result":30' if tool == "simpleadd" else b'"result":"waited"'
        return content_type == "application/json" and expected in body


@pytest.mark.timeout(600)
def test_replacing_tasks_loses_no_call(start: Callable[..., Tasks], say: Callable[[str], None]) -> None:
    tasks = start()
    stop = threading.Event()
    began = time.monotonic()
    callers = [Caller(tasks.front, kind, stop) for kind in (*QUICK * CALLERS_OF_A_KIND, *SLOW)]
    drains = []
    try:
        for number in itertools.count():
            time.sleep(SLOW_SECONDS / 2)
            drains.append(tasks.replace(number))
            if sum(caller.calls for caller in callers) >= CALLS and len(drains) >= REPLACEMENTS:
                break
        time.sleep(SLOW_SECONDS / 2)
    finally:
        stop.set()
        for caller in callers:
            caller.join(TIMEOUT_SECONDS)
    seconds = time.monotonic() - began
    calls = sum(caller.calls for caller in callers)
    failures = [failure for caller in callers for failure in caller.failures]
    say(
        f"replacement: {len(failures)} of {calls:,} calls failed while {len(drains)} tasks were replaced "
        f"in {seconds:.0f} s; the slowest task ended {max(drains):.1f} s after SIGTERM"
    )
    kinds = Counter[str]()
    for caller in callers:
        wire, tool, slow = caller.kind
        kinds[f"{wire} {'slow ' if slow else ''}{'stream' if tool == 'report' else 'JSON'}"] += caller.calls
    say(f"  of them {', '.join(f'{name} {count:,}' for name, count in sorted(kinds.items()))}")
    assert failures == [], f"{len(failures)} of {calls} calls failed"
    assert min(kinds.values()) >= REPLACEMENTS


class Listener(threading.Thread):
    """A session that listens to its standing stream; opens another when the server ends the first."""

    def __init__(self, port: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._port, self._stop_event = port, stop
        self.listening = threading.Event()
        self.ended = 0
        self.failures: list[str] = []
        self.start()

    def run(self) -> None:
        while not self._stop_event.is_set():
            try:
                self._listen()
            except TimeoutError:
                self.failures.append("the stream was neither ended nor cut")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))

    def _listen(self) -> None:
        headers = {"Content-Type": JSON_ALONE, "Accept": JSON_OR_STREAM}
        client = {"name": "listener", "version": "1"}
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        with contextlib.closing(connection):
            connection.request("POST", "/mcp", body, headers)
            begun = connection.getresponse()
            begun.read()
            if begun.status != 200:
                self.failures.append(f"initialize: {begun.status}")
                return
            session = {"Mcp-Session-Id": begun.headers["Mcp-Session-Id"], "MCP-Protocol-Version": LEGACY}
            cookie = {"Cookie": begun.headers["Set-Cookie"].split(";")[0]}
            connection.request("GET", "/mcp", headers={**headers, **session, **cookie})
            stream = connection.getresponse()
            if stream.status == 404:
                # The session went with its task, just after it was begun: the client begins another.
                stream.read()
                return
            if stream.status != 200:
                self.failures.append(f"stream: {stream.status}")
                return
            self.listening.set()
            try:
                stream.read()
            finally:
                self.listening.clear()
            self.ended += 1


@pytest.mark.timeout(300)
def test_open_streams_are_ended_not_cut(start: Callable[..., Tasks], say: Callable[[str], None]) -> None:
    """Their last chunk comes, so a client knows that it has to come back and not that something broke."""
    tasks = start(sticky=True, MCP_STATEFUL="true")
    stop = threading.Event()
    listeners = [Listener(tasks.front, stop) for _ in range(STREAMS)]

    def wait_until_all_listen() -> None:
        for listener in listeners:
            assert listener.listening.wait(TIMEOUT_SECONDS), listener.failures

    for number in range(2):
        wait_until_all_listen()
        assert tasks.replace(number) < 3
    wait_until_all_listen()
    stop.set()
    # With both gone, every stream that is still open has been ended once more.
    for number in range(2):
        tasks.replace(number)
    for listener in listeners:
        listener.join(TIMEOUT_SECONDS)
    failures = [failure for listener in listeners for failure in listener.failures]
    ended = sum(listener.ended for listener in listeners)
    say(f"replacement: {ended} standing streams ended, {len(failures)} cut")
    assert failures == []
    assert ended >= 2 * STREAMS
