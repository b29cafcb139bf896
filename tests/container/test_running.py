"""The image runs as on Fargate: no root, nothing to write to, no capability, 0.25 vCPU, 512 MiB."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import caller
from .conftest import URL, Run, wait_until_healthy
from .engine import AS_ON_FARGATE, Container, Engine
from .network import Cable

# The request that the product must answer as it is: no session, no handshake.
SIMPLEADD = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "simpleadd", "arguments": {"a": 10, "b": 20}},
}
JSON = {"Content-Type": "application/json", "Accept": "*/*"}
MIB = 2**20


def status_of(container: Container) -> dict[str, str]:
    """Return /proc/<pid>/status of the container's first process."""
    lines = Path(f"/proc/{container.pid()}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


def add(ends: Cable) -> dict[str, Any]:
    return caller.call(ends.caller, url=f"{URL}/mcp", method="POST", headers=JSON, body=SIMPLEADD)


def test_health_is_answered_to_another_namespace(server: Container, namespaces: Cable) -> None:
    answer = caller.call(namespaces.caller, url=f"{URL}/health")
    assert (answer["status"], json.loads(answer["body"])) == (200, {"status": "healthy"})


def test_a_tool_is_called_from_another_namespace(server: Container, namespaces: Cable) -> None:
    answer = add(namespaces)
    assert answer["status"] == 200
    assert json.loads(answer["body"])["result"]["content"][0]["text"] == "30"


def test_a_server_on_loopback_is_out_of_reach(create: Run, engine: Engine, own_namespaces: Cable) -> None:
    """Why the image sets HOST: nobody but the container itself reaches 127.0.0.1."""
    container = create(options=(*AS_ON_FARGATE, "--env=HOST=127.0.0.1"))
    engine.start(container)
    inside = caller.call(own_namespaces.task, 60, url="http://127.0.0.1:8080/health")
    outside = caller.call(own_namespaces.caller, 1, url=f"{URL}/health")
    assert inside["status"] == 200, container.output()
    assert "refused" in outside["error"]


def test_it_has_no_privilege(server: Container) -> None:
    status = status_of(server)
    assert set(status["Uid"].split()) == {"1001"}
    assert set(status["Gid"].split()) == {"1001"}
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_the_server_is_the_first_process(server: Container) -> None:
    line = Path(f"/proc/{server.pid()}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    assert line == [b"/opt/venv/bin/python", b"/opt/venv/bin/mcp-server"]
    assert status_of(server)["NSpid"].split()[-1] == "1"


@pytest.mark.parametrize("directory", ["/", "/app", "/opt/venv", "/tmp", "/var/tmp", "/run"])  # noqa: S108
def test_nothing_can_be_written(server: Container, directory: str) -> None:
    done = server.execute("python", "-c", f"open({directory + '/written'!r}, 'w')", user="0:0")
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


def test_the_limits_are_in_force(server: Container) -> None:
    limits = server.inspect()["HostConfig"]
    assert (limits["Memory"], limits["NanoCpus"]) == (512 * MIB, 250_000_000)
    assert limits["ReadonlyRootfs"] is True


def test_memory_fits(server: Container, namespaces: Cable, say: Callable[[str], None]) -> None:
    add(namespaces)
    peak = int(status_of(server)["VmHWM"].split()[0]) / 1024
    say(f"memory: peak of {peak:.0f} MiB resident out of 512")
    assert peak < 256


def test_every_line_is_json(server: Container, namespaces: Cable) -> None:
    add(namespaces)
    lines = server.output().splitlines()
    assert lines
    for line in lines:
        assert isinstance(json.loads(line), dict)


def test_no_bytecode_is_left_to_compile(create: Run, engine: Engine, own_namespaces: Cable) -> None:
    """As root, on a writable root, with bytecode on: what the image left uncompiled would be written now."""
    container = create(options=("--user=0:0", "--env=PYTHONDONTWRITEBYTECODE="))
    engine.start(container)
    wait_until_healthy(container, own_namespaces)
    assert add(own_namespaces)["status"] == 200
    changes = engine.podman("diff", container.name).stdout.splitlines()
    assert [line for line in changes if line.endswith((".pyc", "__pycache__"))] == []


def test_the_health_check_passes(server: Container) -> None:
    assert server.health_status() == 0


def test_the_health_check_fails_where_nothing_listens(create: Run, engine: Engine) -> None:
    container = create("python", "-c", "import time; time.sleep(60)")
    engine.start(container)
    assert container.health_status() == 1


def test_the_health_check_fails_while_the_server_hangs(
    create: Run, engine: Engine, own_namespaces: Cable
) -> None:
    container = create()
    engine.start(container)
    wait_until_healthy(container, own_namespaces)
    engine.podman("kill", f"--signal={signal.SIGSTOP.name}", container.name)
    assert container.health_status() == 1
    engine.podman("kill", f"--signal={signal.SIGCONT.name}", container.name)
    assert container.health_status() == 0


def test_the_task_definitions_health_check_passes_in_half_its_time(
    server: Container, container_definition: dict[str, Any], say: Callable[[str], None]
) -> None:
    check = container_definition["HealthCheck"]
    kind, *command = check["Command"]
    assert kind == "CMD"
    begin = time.monotonic()
    done = server.execute(*command)
    seconds = time.monotonic() - begin
    say(f"health check: {seconds:.2f} s at 0.25 vCPU; the task definition allows {check['Timeout']} s")
    assert done.returncode == 0, done.stderr
    assert seconds < check["Timeout"] / 2


@pytest.mark.parametrize("options", [(), ("--init",)], ids=["first process", "below an init, as in the task"])
def test_sigterm_ends_it_quickly_and_cleanly(
    create: Run, engine: Engine, own_namespaces: Cable, options: tuple[str, ...], say: Callable[[str], None]
) -> None:
    container = create(options=(*AS_ON_FARGATE, *options))
    engine.start(container)
    wait_until_healthy(container, own_namespaces)
    status, seconds = container.stop(30)
    say(f"SIGTERM{' '.join(('', *options))}: exit status {status} after {seconds:.1f} s")
    # An init reports a child that ended itself with the signal it got as 128 + 15.
    assert status in (0, 128 + signal.SIGTERM)
    assert seconds < 5
    assert "Traceback" not in container.output()
