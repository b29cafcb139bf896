"""Two servers behind a real balancer are replaced one after another under load, and no call fails."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

ROOT = Path(__file__).parents[2]
CALLERS = 8
FEWEST_CALLS = 1000
CALL = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "simpleadd", "arguments": {"a": 10, "b": 20}},
    }
)
HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def wait_until_healthy(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        if time.monotonic() > deadline:
            pytest.fail(f"nothing healthy on port {port}")
        time.sleep(0.05)


@contextlib.contextmanager
def task(project: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(project / "src"),
        "PORT": str(port),
        "LOG_LEVEL": "WARNING",
    }
    process = subprocess.Popen([sys.executable, "-m", "knowledge_mcp_server"], env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)


@contextlib.contextmanager
def balancer(directory: Path, port: int, targets: list[int]) -> Iterator[None]:
    # Connections to the targets are kept and shared, as the Application Load Balancer does.
    servers = "".join(
        f"    server task{number} 127.0.0.1:{target} check inter 200 fall 1 rise 1\n"
        for number, target in enumerate(targets)
    )
    (directory / "haproxy.cfg").write_text(
        "defaults\n    mode http\n    timeout connect 2s\n    timeout client 1h\n    timeout server 30s\n"
        "    http-reuse always\n    option redispatch\n"
        f"frontend mcp\n    bind 127.0.0.1:{port}\n    default_backend tasks\n"
        f"backend tasks\n    balance roundrobin\n    option httpchk\n"
        f"    http-check send meth GET uri /health ver HTTP/1.1 hdr Host localhost\n{servers}"
    )
    process = subprocess.Popen(["haproxy", "-db", "-f", str(directory / "haproxy.cfg")])
    try:
        yield
    finally:
        process.kill()
        process.wait(timeout=10)


class Caller(threading.Thread):
    """Calls on one kept connection until it is told to stop."""

    def __init__(self, port: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.port, self.stop_event = port, stop
        self.calls = 0
        self.failures: list[str] = []
        self.start()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self.stop_event.is_set():
            self.calls += 1
            try:
                connection.request("POST", "/mcp", CALL, HEADERS)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200 or b'"result":30' not in body:
                    self.failures.append(f"{answer.status} {body[:100]!r}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
            time.sleep(0.01)
        connection.close()


@pytest.mark.timeout(120)
def test_replacing_both_tasks_loses_no_call(tmp_path: Path) -> None:
    project = Path(cookiecutter(str(ROOT), no_input=True, default_config=True, output_dir=str(tmp_path)))
    front, *targets = free_ports(3)
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        tasks = [stack.enter_context(task(project, target)) for target in targets]
        for target in targets:
            wait_until_healthy(target)
        stack.enter_context(balancer(tmp_path, front, targets))
        wait_until_healthy(front)
        callers = [Caller(front, stop) for _ in range(CALLERS)]
        stack.callback(stop.set)
        for number, target in enumerate(targets):
            time.sleep(0.5)
            tasks[number].send_signal(signal.SIGTERM)
            assert tasks[number].wait(timeout=10) == 0
            stack.enter_context(task(project, target))
            wait_until_healthy(target)
            time.sleep(0.5)
        time.sleep(0.5)
        stop.set()
        for caller in callers:
            caller.join(15)
    failures = [failure for caller in callers for failure in caller.failures]
    calls = sum(caller.calls for caller in callers)
    assert failures == [], f"{len(failures)} of {calls} calls failed"
    assert calls >= FEWEST_CALLS
