"""Two network namespaces with a cable between them: the task's, and the one that its callers are in."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Addresses of RFC 5737, for documentation: they lead nowhere.
TASK_ADDRESS = "192.0.2.2"
CALLER_ADDRESS = "192.0.2.1"
PREFIX = 30


@dataclass(frozen=True)
class Cable:
    """Names of the two namespaces."""

    caller: str
    task: str

    @property
    def task_path(self) -> str:
        """The task's namespace as podman wants it."""
        return f"/run/netns/{self.task}"


def ip(*arguments: str) -> None:
    """Run `ip`, with its own words in the error."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@contextmanager
def cable(name: str) -> Iterator[Cable]:
    """Make the namespaces, with the addresses above at the ends of the cable; remove them afterwards."""
    ends = Cable(caller=f"caller-{name}-{os.getpid()}", task=f"task-{name}-{os.getpid()}")
    made = []
    try:
        for namespace in (ends.caller, ends.task):
            ip("netns", "add", namespace)
            made.append(namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        ip(
            "-n",
            ends.caller,
            "link",
            "add",
            "eth0",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            ends.task,
        )
        for namespace, address in ((ends.caller, CALLER_ADDRESS), (ends.task, TASK_ADDRESS)):
            ip("-n", namespace, "address", "add", f"{address}/{PREFIX}", "dev", "eth0")
            ip("-n", namespace, "link", "set", "eth0", "up")
        yield ends
    finally:
        for namespace in made:
            ip("netns", "delete", namespace)
