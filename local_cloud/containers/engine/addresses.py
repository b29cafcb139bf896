"""Loopback addresses of the host that play the network interfaces of tasks."""

from __future__ import annotations

import random
import socket
import threading
from dataclasses import dataclass

_GUARD_PORT = 8080
_FIRST, _LAST = 2, 254


class AddressesExhaustedError(Exception):
    """No loopback address is free."""


@dataclass(frozen=True)
class TaskAddresses:
    """A task's two addresses on the host."""

    interface: str
    """What the load balancer reaches: the private address of the task's network interface."""
    loopback: str
    """What ``127.0.0.1`` is inside of the task."""


class AddressPool:
    """Hands out pairs of addresses; one cloud owns one /24, held by a listening socket on its first address.

    Interfaces are 127.64.0.0/10, loopbacks the address 64 higher in the second byte.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_use: set[int] = set()
        self._next = _FIRST
        self._second, self._third, self._guard = _reserve()

    def allocate(self) -> TaskAddresses:
        """Take the addresses that were free for longest; raises AddressesExhaustedError."""
        with self._lock:
            for _ in range(_FIRST, _LAST + 1):
                last = self._next
                self._next = _FIRST if last == _LAST else last + 1
                if last not in self._in_use:
                    self._in_use.add(last)
                    return TaskAddresses(
                        f"127.{self._second}.{self._third}.{last}",
                        f"127.{self._second + 64}.{self._third}.{last}",
                    )
        raise AddressesExhaustedError(
            f"{_LAST - _FIRST + 1} tasks are running, and a local cloud has no more addresses"
        )

    def release(self, addresses: TaskAddresses) -> None:
        """Give the addresses back."""
        with self._lock:
            self._in_use.discard(int(addresses.interface.rpartition(".")[2]))

    def close(self) -> None:
        """Let another cloud have the network."""
        self._guard.close()


def _reserve() -> tuple[int, int, socket.socket]:
    for _ in range(100):
        second, third = random.randrange(64, 128), random.randrange(256)  # noqa: S311 - no secret
        guard = socket.socket()
        try:
            guard.bind((f"127.{second}.{third}.1", _GUARD_PORT))
            guard.listen()
        except OSError as error:
            guard.close()
            reason = error
            continue
        return second, third, guard
    raise AddressesExhaustedError(
        f"no address in 127.64.0.0/10 can be bound ({reason}); tasks need one loopback address "
        f"each, which Linux "
        "has and macOS gets by `ifconfig lo0 alias`"
    )
