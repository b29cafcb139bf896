"""A container's network: wildcards are the task's interface, 127.0.0.1 is a loopback of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import local_cloud.containers
from local_cloud.containers.engine.addresses import AddressPool, TaskAddresses

NETWORK = Path(local_cloud.containers.__file__).parent / "network"
PORT = 8080
WILDCARD = "0.0.0.0"  # noqa: S104 - in a container it is the task's own address

PLAIN_SOCKETS = """
    import socket, sys
    host = sys.argv[1]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, 8080))
        server.listen()
        while True:
            server.accept()[0].close()
"""
ASYNCIO = """
    import asyncio, sys
    async def main():
        server = await asyncio.start_server(lambda r, w: w.close(), sys.argv[1] or None, 8080)
        await server.serve_forever()
    asyncio.run(main())
"""
UVLOOP = ASYNCIO.replace("import asyncio", "import asyncio, uvloop").replace("asyncio.run", "uvloop.run")
UVICORN = """
    import sys, uvicorn
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b""})
    uvicorn.run(app, host=sys.argv[1], port=8080, loop="uvloop", lifespan="off")
"""
SERVERS = {"sockets": PLAIN_SOCKETS, "asyncio": ASYNCIO, "uvloop": UVLOOP, "uvicorn": UVICORN}


@dataclass
class Task:
    """Processes with one network of their own."""

    addresses: TaskAddresses
    directory: Path
    host_ports: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "PYTHONPATH": str(NETWORK),
            "LOCAL_CLOUD_INTERFACE_ADDRESS": self.addresses.interface,
            "LOCAL_CLOUD_LOOPBACK_ADDRESS": self.addresses.loopback,
            "LOCAL_CLOUD_LISTENERS": str(self.directory),
            "LOCAL_CLOUD_HOST_PORTS": self.host_ports,
        }
        command = [sys.executable, "-c", textwrap.dedent(program), *arguments]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.processes.append(process)
        return process

    def serve(self, kind: str, host: str) -> None:
        process = self.start(SERVERS[kind], host)
        deadline = time.monotonic() + 15
        while not any(self.directory.iterdir()):
            assert process.poll() is None, process.communicate()[0].decode()
            assert time.monotonic() < deadline, "the server never bound its port"
            time.sleep(0.02)

    def reaches(self, host: str, port: int = PORT) -> bool:
        """Whether a program in the task can connect."""
        program = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()"
        process = self.start(program, host, str(port))
        process.communicate(timeout=10)
        return process.returncode == 0

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def pool() -> Iterator[AddressPool]:
    addresses = AddressPool()
    yield addresses
    addresses.close()


@pytest.fixture
def task(pool: AddressPool, tmp_path: Path) -> Iterator[Task]:
    found = Task(pool.allocate(), tmp_path)
    yield found
    found.stop()


def accepts(address: str, port: int = PORT) -> bool:
    """Whether the load balancer can connect; the listener may still be between bind and listen."""
    for _ in range(20):
        try:
            socket.create_connection((address, port), 2).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return True
    return False


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_on_the_wildcard_is_reached_by_the_load_balancer_and_from_inside(
    task: Task, kind: str
) -> None:
    task.serve(kind, WILDCARD)
    assert accepts(task.addresses.interface)
    assert task.reaches("127.0.0.1")
    assert task.reaches("localhost")


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_on_loopback_is_reached_from_inside_only(task: Task, kind: str) -> None:
    task.serve(kind, "127.0.0.1")
    assert accepts(task.addresses.loopback)
    assert task.reaches("127.0.0.1")
    assert not accepts(task.addresses.interface)


def test_the_dual_stack_wildcard_is_the_interface_too(task: Task) -> None:
    task.serve("sockets", "::")
    assert accepts(task.addresses.interface)
    assert task.reaches("127.0.0.1")


@pytest.mark.parametrize("kind", ["asyncio", "uvloop", "uvicorn"])
def test_the_ipv6_only_wildcard_is_not_reached_by_the_load_balancer(task: Task, kind: str) -> None:
    """asyncio and uvloop set IPV6_V6ONLY: ``--host ::`` serves no IPv4 client in a container either."""
    task.serve(kind, "::")
    assert accepts(task.addresses.loopback)
    assert not accepts(task.addresses.interface)


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_both_wildcards_at_once_are_one_interface(task: Task, kind: str) -> None:
    task.serve(kind, "")
    assert accepts(task.addresses.interface)
    assert task.reaches("127.0.0.1")


def test_the_hosts_loopback_is_out_of_reach_but_for_the_clouds_own_ports(task: Task) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, socket.create_server(("127.0.0.1", 0)) as api:
        task.host_ports = str(api.getsockname()[1])
        assert task.reaches("127.0.0.1", api.getsockname()[1])
        assert not task.reaches("127.0.0.1", other.getsockname()[1])


def test_uvloop_connects_to_the_containers_own_loopback(task: Task) -> None:
    task.serve("sockets", "127.0.0.1")
    assert accepts(task.addresses.loopback)
    program = """
        import asyncio, uvloop
        async def main():
            _, writer = await asyncio.open_connection("127.0.0.1", 8080)
            writer.close()
        uvloop.run(main())
    """
    process = task.start(program)
    output = process.communicate(timeout=10)[0].decode()
    assert process.returncode == 0, output


def test_two_tasks_listen_on_the_same_port(pool: AddressPool, tmp_path: Path) -> None:
    tasks = [Task(pool.allocate(), tmp_path / name) for name in ("one", "two")]
    try:
        for task in tasks:
            task.directory.mkdir()
            task.serve("sockets", WILDCARD)
        assert all(accepts(task.addresses.interface) for task in tasks)
    finally:
        for task in tasks:
            task.stop()


def test_two_clouds_have_different_networks(pool: AddressPool) -> None:
    other = AddressPool()
    try:
        networks = {each.allocate().interface.rpartition(".")[0] for each in (pool, other)}
    finally:
        other.close()
    assert len(networks) == 2


def test_a_released_address_is_the_last_to_be_used_again(pool: AddressPool) -> None:
    first = pool.allocate()
    pool.release(first)
    assert pool.allocate() != first
