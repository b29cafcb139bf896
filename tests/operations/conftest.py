"""What the generated server writes when things go well, badly, and to an end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.baking import PACKAGE, ROOT, bake
from tests.operations.insights import Line

PATIENCE = 30.0


def call(port: int, tool: str, headers: dict[str, str] | None = None, seconds: float = 10) -> None:
    """Call a tool; what it answers is of no interest here."""
    params = {"name": tool, "arguments": {"a": 10, "b": 20} if tool == "simpleadd" else {}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    sent = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    with contextlib.closing(connection), contextlib.suppress(TimeoutError):
        connection.request("POST", "/mcp", body, {**sent, **(headers or {})})
        connection.getresponse().read()


@contextlib.contextmanager
def server(project: Path, log: Path, **settings: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run the server with its standard output in a file; yield its port and process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{project / 'src'}{os.pathsep}{ROOT}",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        **settings,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.operations.lines", PACKAGE],
            cwd=project,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield port, process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    """Return the log lines of servers that serve, refuse, fail, crash, drain and are ended by force."""
    directory = tmp_path_factory.mktemp("lines")
    project = bake(directory)
    calm, guarded = directory / "calm.log", directory / "guarded.log"
    with server(project, calm, SHUTDOWN_GRACE_SECONDS="3") as (port, process):
        for tool in ("simpleadd", "unknown", "breaks", "crashes"):
            call(port, tool, {"X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678"})
        call(port, "hangs", seconds=1)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    issuer = {"AUTH_MODE": "jwt", "AUTH_ISSUER": "https://issuer.invalid", "AUTH_AUDIENCE": "mcp"}
    with server(project, guarded, **issuer) as (port, process):
        call(port, "simpleadd")
        call(port, "simpleadd", {"Authorization": "Bearer no-token"})
        process.terminate()
        process.wait(PATIENCE)
    found: list[dict[str, Any]] = []
    for path in (calm, guarded):
        found += [json.loads(line) for line in path.read_text().splitlines()]
    return found
