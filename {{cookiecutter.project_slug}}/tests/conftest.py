"""What every test needs: the package under its own name, and a real server on a free loopback port."""

import contextlib
import http.client
import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

SOURCE = Path(__file__).parents[1] / "src"
PACKAGE = next(module.parent.name for module in SOURCE.glob("*/__main__.py"))
START_SECONDS = 30
STOP_SECONDS = 30
# What the tests set themselves; the rest of the environment stays as it is.
SETTINGS = (
    *("HOST", "MCP_HOST", "PORT", "LOG_LEVEL", "MCP_STATEFUL", "KNOWLEDGE_BASE_ID"),
    *("SESSION_IDLE_SECONDS", "SHUTDOWN_GRACE_SECONDS"),
    *("MAX_BODY_BYTES", "BODY_TIMEOUT_SECONDS", "ALLOWED_HOSTS", "ALLOWED_ORIGINS", "CORS_ORIGINS"),
    *("TRACES_ENDPOINT", "TRACES_SAMPLE_RATIO", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER_ARG"),
    *("AUTH_MODE", "AUTH_ISSUER", "AUTH_AUDIENCE", "AUTH_CLIENT_IDS", "AUTH_REQUIRED_SCOPES"),
    *("AUTH_RESOURCE_URL", "AUTH_JWKS_URL", "AUTH_ALGORITHM", "AUTH_JWKS_MAX_AGE", "AUTH_JWKS_GRACE"),
)


def load(module: str) -> Any:
    """Import a module of the package, such as `tools.simpleadd`."""
    return importlib.import_module(f"{PACKAGE}.{module}")


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A server process that answers on `host:port`."""

    host: str
    port: int
    process: subprocess.Popen[str]
    output: IO[str]

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        host: str = "",
    ) -> Reply:
        """Send exactly these headers (http.client adds Host, Accept-Encoding and Content-Length)."""
        connection = http.client.HTTPConnection(host or self.host, self.port, timeout=15)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def rpc(self, method: str, params: Mapping[str, Any], path: str = "/mcp", **headers: str) -> Reply:
        """Send a JSON-RPC request with id `test-1`."""
        message = {"jsonrpc": "2.0", "id": "test-1", "method": method, "params": params}
        wire = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        return self.request("POST", path, json.dumps(message).encode(), wire)

    def stop(self) -> list[str]:
        """Ask the process to end and return the lines it wrote to standard output."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(timeout=STOP_SECONDS)
        self.output.seek(0)
        return self.output.read().splitlines()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def environment(**variables: str) -> dict[str, str]:
    """Return an environment with these settings only, and the package importable."""
    rest = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    path = os.pathsep.join(filter(None, [str(SOURCE), rest.get("PYTHONPATH")]))
    return {**rest, "PYTHONPATH": path, **variables}


@contextlib.contextmanager
def running(
    host: str = "127.0.0.1",
    program: Sequence[str] = ("-m", PACKAGE),
    prefix: Sequence[str] = (),
    **variables: str,
) -> Iterator[Server]:
    """Run `python -m <package>` until the block ends; `host` is where it is asked whether it is up.

    `prefix` is a command line that runs another, such as `unshare`.
    """
    port = free_port()
    output = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed below, after the process
    process = subprocess.Popen(
        [*prefix, sys.executable, *program],
        env=environment(PORT=str(port), **variables),
        # A file, not a pipe: nobody reads while the server writes, and a full pipe would stop it.
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = Server(host, port, process, output)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                if server.request("GET", "/health").status == 200:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                pytest.fail("the server did not come up:\n" + "\n".join(server.stop()))
            time.sleep(0.05)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(timeout=STOP_SECONDS)
        output.close()


@pytest.fixture(scope="session")
def start() -> Callable[..., contextlib.AbstractContextManager[Server]]:
    """Return a function that runs a server with the given environment variables."""
    return running


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server with default settings, shared by the tests that only ask."""
    with running() as shared:
        yield shared


@pytest.fixture(autouse=True)
def default_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def package() -> Callable[[str], Any]:
    """Return the function that imports a module of the package by its name below it."""
    return load


@pytest.fixture(scope="session")
def command() -> Callable[..., dict[str, Any]]:
    """Return a function that gives subprocess the server's command line and environment."""

    def build(*arguments: str, **variables: str) -> dict[str, Any]:
        return {"args": [sys.executable, "-m", PACKAGE, *arguments], "env": environment(**variables)}

    return build
