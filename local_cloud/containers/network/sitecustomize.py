"""What a container's network namespace does, for a process that has none of its own.

Python imports this module by itself in every interpreter whose ``PYTHONPATH`` names this directory. In a
container ``0.0.0.0`` means the container's own addresses, and ``127.0.0.1`` is a loopback that nobody outside
reaches. The stand-in gives each task two loopback addresses of the host: one is its network interface, the
other one its loopback. Addresses are rewritten where they enter the operating system:

=========================  ==========================================================================
in the container           on the host
=========================  ==========================================================================
bind a wildcard            bind the interface's address (and note the port, for the next row)
connect to 127.0.0.1:p     the interface's address when p was bound by wildcard, else the loopback's
bind :: for IPv6 only      bind the loopback's address: a task has no other IPv6 address
bind 127.0.0.1             bind the loopback's address: the load balancer can't reach it, as on AWS
the local cloud's ports    left alone: the AWS API and the proxy are on the host's 127.0.0.1
=========================  ==========================================================================

Environment: ``LOCAL_CLOUD_INTERFACE_ADDRESS``, ``LOCAL_CLOUD_LOOPBACK_ADDRESS``, ``LOCAL_CLOUD_LISTENERS``
(a directory with one empty file per bound port) and ``LOCAL_CLOUD_HOST_PORTS`` (comma-separated).
Covers ``socket.socket`` (so asyncio too) and uvloop, which connects in C.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import os
import pathlib
import socket
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

WILDCARDS = frozenset({"", "0.0.0.0", "::", "::0", "0:0:0:0:0:0:0:0"})  # noqa: S104 - compared, not bound
LOOPBACKS = frozenset({"127.0.0.1", "localhost", "::1", "ip6-localhost", "::ffff:127.0.0.1"})


class Namespace:
    """The two addresses of a task and its bound ports."""

    def __init__(self, interface: str, loopback: str, listeners: pathlib.Path, host_ports: frozenset[int]):
        self.interface = interface
        self.loopback = loopback
        self.listeners = listeners
        self.host_ports = host_ports

    @classmethod
    def from_environment(cls) -> Namespace | None:
        """Read the namespace the process was started in; ``None`` outside of a container."""
        names = ("LOCAL_CLOUD_INTERFACE_ADDRESS", "LOCAL_CLOUD_LOOPBACK_ADDRESS", "LOCAL_CLOUD_LISTENERS")
        values = [os.environ.get(name, "") for name in names]
        if not all(values):
            return None
        ports = os.environ.get("LOCAL_CLOUD_HOST_PORTS", "").split(",")
        host_ports = frozenset(int(port) for port in ports if port.isdigit())
        return cls(values[0], values[1], pathlib.Path(values[2]), host_ports)

    def bind_address(self, host: str) -> str:
        """Give the host's address to bind where the program asked for ``host``."""
        if host in WILDCARDS:
            return self.interface
        return self.loopback if host in LOOPBACKS else host

    def connect_address(self, host: str, port: int) -> str:
        """Give the host's address to connect to where the program asked for ``host`` and ``port``."""
        if host not in LOOPBACKS and host not in WILDCARDS:
            return host
        if port in self.host_ports:
            return "127.0.0.1"
        wildcard = (self.listeners / f"wildcard-{port}").exists()
        return self.interface if wildcard else self.loopback

    def note_listener(self, address: str, port: int) -> None:
        """Remember that ``address`` and ``port`` are bound: decides where 127.0.0.1 leads from now on."""
        kind, other = ("wildcard", "loopback") if address == self.interface else ("loopback", "wildcard")
        with contextlib.suppress(OSError):
            (self.listeners / f"{other}-{port}").unlink(missing_ok=True)
        self.note(kind, port)

    def note(self, kind: str, port: int) -> None:
        """Leave an empty file that says how ``port`` is bound."""
        with contextlib.suppress(OSError):
            (self.listeners / f"{kind}-{port}").touch()


def _is_ipv6_only(self: socket.socket) -> bool:
    return self.family == socket.AF_INET6 and bool(self.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))


def _mapped(self: socket.socket, host: str) -> str:
    """Spell an IPv4 address for the socket: an IPv6 one takes it as an IPv4-mapped address."""
    if self.family == socket.AF_INET:
        return host
    self.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return f"::ffff:{host}"


def patch_sockets(namespace: Namespace) -> None:
    """Make ``socket.socket`` see the container's network."""
    bind, connect, connect_ex = socket.socket.bind, socket.socket.connect, socket.socket.connect_ex

    def is_internet(self: socket.socket, address: Any) -> bool:
        return self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple)

    def rewritten(self: socket.socket, address: Any, host: str) -> Any:
        return address if host == address[0] else (_mapped(self, host), address[1])

    def container_bind(self: socket.socket, address: Any, /) -> None:
        if not is_internet(self, address):
            bind(self, address)
            return
        host = namespace.bind_address(address[0])
        if host == namespace.interface and _is_ipv6_only(self):
            # asyncio's way to bind "::": in a container no IPv4 client reaches it, so no load balancer.
            bind(self, rewritten(self, address, namespace.loopback))
            namespace.note("ipv6-only", self.getsockname()[1])
            return
        bind(self, rewritten(self, address, host))
        if host in (namespace.interface, namespace.loopback):
            namespace.note_listener(host, self.getsockname()[1])

    def container_connect(self: socket.socket, address: Any, /) -> None:
        if is_internet(self, address):
            address = rewritten(self, address, namespace.connect_address(address[0], address[1]))
        connect(self, address)

    def container_connect_ex(self: socket.socket, address: Any, /) -> int:
        if is_internet(self, address):
            address = rewritten(self, address, namespace.connect_address(address[0], address[1]))
        return connect_ex(self, address)

    replacements = {"bind": container_bind, "connect": container_connect, "connect_ex": container_connect_ex}
    for name, replacement in replacements.items():
        setattr(socket.socket, name, replacement)


def patch_uvloop(uvloop: ModuleType, namespace: Namespace) -> None:
    """Make uvloop's loop see the container's network: it binds by ``socket.socket``, but connects in C."""
    loop_class = uvloop.Loop
    create_connection: Callable[..., Any] = loop_class.create_connection

    async def container_create_connection(
        self: Any, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        if isinstance(host, str) and port is not None:
            target = namespace.connect_address(host, int(port))
            if target != host:
                if options.get("ssl"):
                    options.setdefault("server_hostname", host)
                if options.get("family") == socket.AF_INET6:
                    options["family"] = socket.AF_UNSPEC
                host = target
        return await create_connection(self, protocol_factory, host, port, **options)

    loop_class.create_connection = container_create_connection


class UvloopImport(importlib.abc.MetaPathFinder):
    """Patches uvloop when, and only if, the program imports it."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find uvloop where Python would, and patch it after it has run."""
        if fullname != "uvloop":
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        loader = spec.loader if spec else None
        if loader is None or not hasattr(loader, "exec_module"):
            return spec
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            patch_uvloop(module, self.namespace)

        setattr(loader, "exec_module", exec_module)  # noqa: B010 - a method, replaced on this one loader
        return spec


def enter(namespace: Namespace) -> None:
    """Put this interpreter into the task's network."""
    patch_sockets(namespace)
    sys.meta_path.insert(0, UvloopImport(namespace))


if _namespace := Namespace.from_environment():
    enter(_namespace)
