"""Servers as processes of their own, pinned to a core; what they cost is read from /proc."""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE = 0
GENERATOR_CORE = 1
START_SECONDS = 30.0
STOP_SECONDS = 15.0
TICKS = os.sysconf("SC_CLK_TCK")
# A stream is a file to a server; Fargate allows a task 65,535 of them.
OPEN_FILES = 8192


class StartError(Exception):
    """A server ended, or didn't answer in time; the message holds the end of what it wrote."""


@dataclass(frozen=True)
class Command:
    """What starts a server: its arguments, and its environment beyond PATH and HOME."""

    arguments: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    begun: float
    """`time.perf_counter()` just before it was started."""

    def cpu_seconds(self) -> float:
        """Return the processor time of all its threads so far, in steps of a clock tick (10 ms)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_mib(self) -> float:
        """Return its resident memory in MiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise StartError(f"process {self.process.pid} has ended")

    def tail(self) -> str:
        """Return the last lines it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: Command, directory: Path) -> Iterator[Server]:
    """Start a server on the server's core and stop it at the end. What it writes goes to a file.

    `PORT` is added to its environment. It may not answer yet: see `wait_for`.
    """
    port = free_port()
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        # A banner asks a package registry for news.
        "FASTMCP_SHOW_SERVER_BANNER": "false",
        "FASTMCP_CHECK_FOR_UPDATES": "off",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        **command.environment,
    }
    log = directory / f"{port}.log"
    with log.open("wb") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(SERVER_CORE), *command.arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    try:
        yield Server(process, port, log, begun)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.unlink()


def wait_for(server: Server, path: str | None = None) -> float:
    """Wait until a GET of `path` answers 200, or a connection is accepted.

    Returns the seconds since the start. Raises `StartError`.
    """
    while time.perf_counter() - server.begun < START_SECONDS:
        if server.process.poll() is not None:
            status = server.process.returncode
            raise StartError(f"the server ended with status {status}:\n{server.tail()}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            if _answers(server.port, path):
                return time.perf_counter() - server.begun
        time.sleep(0.002)
    raise StartError(f"the server didn't answer in {START_SECONDS:.0f} s:\n{server.tail()}")


def _answers(port: int, path: str | None) -> bool:
    if path is None:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    finally:
        connection.close()
