"""One container: a process, its log, its addresses and its health."""

from __future__ import annotations

import contextlib
import re
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..images.store import Image
from ..images.tree import Tree
from .addresses import TaskAddresses
from .docker_errors import APIError
from .processes import Processes, signal_group

EXEC_FORMAT_EXIT = 255
LONGEST_START = 30.0
"""Real seconds after which a program that has bound no port counts as started."""
_NETWORK = str(Path(__file__).parents[1] / "network")
_TAIL_POLL = 0.05
_ABSOLUTE_PATH = re.compile(r"(?<![\w./-])/[\w.+/-]+")


@dataclass(frozen=True)
class ContainerSpec:
    """What to run: the image with a task definition's changes."""

    image: Image
    platform: str
    """Platform of the host; the image's must be the same."""
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    entry_point: Sequence[str] | None = None
    command: Sequence[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str | None = None
    stop_timeout: float = 30.0
    host_ports: Sequence[int] = ()
    """Ports of the host's 127.0.0.1 that the container may use: the cloud's API and proxy."""

    @property
    def vector(self) -> list[str]:
        """The program and its arguments, as docker combines them."""
        config = self.image.config["config"]
        entry = self.entry_point or config.get("Entrypoint") or []
        default = [] if self.entry_point else config.get("Cmd") or []
        return [*entry, *(self.command or default)]


class Container:
    """A process that ministack takes for a docker container."""

    def __init__(
        self,
        spec: ContainerSpec,
        addresses: TaskAddresses,
        directory: Path,
        processes: Processes,
        on_removed: Callable[[Container], None],
    ) -> None:
        self.spec = spec
        self.addresses = addresses
        self.id = secrets.token_hex(32)
        self.name = spec.name
        self.labels = dict(spec.labels)
        self.health: Literal["UNKNOWN", "HEALTHY", "UNHEALTHY"] = "UNKNOWN"
        self.started_at = time.monotonic()
        self._ready_since: float | None = None
        self.drain_seconds = 0.0
        """How long requests in flight get before SIGTERM; set by who registered it with a load balancer."""
        self._processes = processes
        self._directory = directory / self.id[:12]
        self._tree = Tree(spec.image.root)
        self._on_removed = on_removed
        self._stopping = threading.Event()
        self._removed = False
        self._exit_code: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        (self._directory / "listeners").mkdir(parents=True)
        self._environment = self._build_environment()
        self._start()

    # What the Docker SDK's container offers.

    @property
    def status(self) -> str:
        """``running`` or ``exited``."""
        return "running" if self._poll() is None else "exited"

    @property
    def attrs(self) -> dict[str, Any]:
        """The part of ``docker inspect`` that ministack reads."""
        return {"NetworkSettings": {"Networks": {"bridge": {"IPAddress": self.addresses.interface}}}}

    def reload(self) -> None:
        """Do nothing: the state is always current."""

    def wait(self, timeout: float | None = None) -> dict[str, int]:
        """Wait for the exit; returns ``{"StatusCode": n}``, 128 + signal for a killed process."""
        if self._process:
            self._process.wait(timeout)
        return {"StatusCode": self._poll() or 0}

    def stop(self, timeout: float | None = None) -> None:  # noqa: ARG002 - the task definition's counts
        """Begin to stop, and return: SIGTERM after requests in flight, SIGKILL after the stop timeout."""
        if not self._stopping.is_set():
            self._stopping.set()
            threading.Thread(target=self._stop, daemon=True, name=f"local-cloud-stop-{self.id[:8]}").start()

    def kill(self) -> None:
        """Kill at once."""
        self._stopping.set()
        if self._process:
            signal_group(self._process, signal.SIGKILL)

    def remove(self, force: bool = False, v: bool = False) -> None:  # noqa: ARG002 - there are no volumes
        """Forget the container, once its process has ended; ``force`` kills it."""
        if force:
            self.kill()
        elif self._poll() is None:
            self.stop()
            return
        self._finish()

    def logs(
        self, stream: bool = False, follow: bool = False, tail: int | str = "all", **_channels: bool
    ) -> bytes | Iterator[bytes]:
        """Give the output so far, or its lines as they come until the process ends."""
        if stream:
            return self._follow() if follow else iter(self._read().splitlines(keepends=True))
        lines = self._read().splitlines(keepends=True)
        return b"".join(lines[-tail:] if isinstance(tail, int) else lines)

    # What the local cloud needs besides.

    @property
    def ready_since(self) -> float | None:
        """When (``time.monotonic``) its start-up ended: it bound a port, or half a minute has passed.

        Ask often: the time is that of the first look that saw it.
        """
        if self._ready_since is None:
            now = time.monotonic()
            if any((self._directory / "listeners").iterdir()) or now > self.started_at + LONGEST_START:
                self._ready_since = now
        return self._ready_since

    @property
    def pid(self) -> int | None:
        """Process id on the host; ``None`` when nothing was started."""
        return self._process.pid if self._process else None

    def execute(self, vector: Sequence[str], timeout: float) -> int:
        """Run a command in the container; its exit status, 124 when ``timeout`` seconds weren't enough."""
        try:
            command = self._host_command(vector)
        except APIError:
            return 127
        process = self._processes.start(
            command, self._environment, self._work_directory(), subprocess.DEVNULL
        )
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            signal_group(process, signal.SIGKILL)
            process.wait()
            return 124

    def _poll(self) -> int | None:
        if self._exit_code is None and self._process and (code := self._process.poll()) is not None:
            self._exit_code = code if code >= 0 else 128 - code
        return self._exit_code

    def _start(self) -> None:
        vector = self.spec.vector
        if not vector:
            raise APIError("no command specified")
        with self._log_path.open("wb") as log:
            if self.spec.image.platform != self.spec.platform:
                log.write(f"exec {self._program_in_image(vector[0])}: exec format error\n".encode())
                self._exit_code = EXEC_FORMAT_EXIT
                return
            self._process = self._processes.start(
                self._host_command(vector), self._environment, self._work_directory(), log
            )

    def _host_command(self, vector: Sequence[str]) -> list[str]:
        if vector[0] in {"/bin/sh", "sh"} and len(vector) == 3 and vector[1] == "-c":
            text = _ABSOLUTE_PATH.sub(lambda match: self._tree.translate(match[0]), vector[2])
            return [self._program(vector[0]), "-c", text]
        return [self._program(vector[0]), *(self._tree.translate(word) for word in vector[1:])]

    def _program(self, name: str) -> str:
        candidates = [name] if "/" in name else [f"{folder}/{name}" for folder in self._search_path()]
        for candidate in candidates:
            host = self._tree.host(candidate)
            if host.is_file():
                return str(host)
        raise APIError(
            "failed to create task for container: failed to create shim task: OCI runtime create "
            "failed: unable to "
            f'start container process: exec: "{name}": executable file not found in $PATH: unknown'
        )

    def _program_in_image(self, name: str) -> str:
        if "/" in name:
            return name
        candidates = (f"{folder}/{name}" for folder in self._search_path())
        return next((each for each in candidates if self._tree.host(each).is_file()), name)

    def _search_path(self) -> list[str]:
        value = self.spec.environment.get("PATH") or self._image_environment().get("PATH", "")
        return [folder for folder in value.split(":") if folder]

    def _image_environment(self) -> dict[str, str]:
        pairs = (entry.partition("=") for entry in self.spec.image.config["config"].get("Env") or [])
        return {name: value for name, _, value in pairs}

    def _build_environment(self) -> dict[str, str]:
        declared = {**self._image_environment(), **self.spec.environment}
        environment = {name: self._tree.translate(value) for name, value in declared.items()}
        for name in ("PATH", "PYTHONPATH"):
            if name in declared:
                environment[name] = self._tree.translate_search_path(declared[name])
        search = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{_NETWORK}:{search}" if search else _NETWORK
        environment.setdefault("HOME", str(self._directory))
        environment.setdefault("TMPDIR", str(self._directory))
        environment.setdefault("HOSTNAME", "ip-" + self.addresses.interface.replace(".", "-"))
        environment["LOCAL_CLOUD_INTERFACE_ADDRESS"] = self.addresses.interface
        environment["LOCAL_CLOUD_LOOPBACK_ADDRESS"] = self.addresses.loopback
        environment["LOCAL_CLOUD_LISTENERS"] = str(self._directory / "listeners")
        environment["LOCAL_CLOUD_HOST_PORTS"] = ",".join(map(str, self.spec.host_ports))
        return environment

    def _work_directory(self) -> Path:
        wanted = self.spec.directory or self.spec.image.config["config"].get("WorkingDir") or "/"
        return self._tree.host(wanted)

    @property
    def _log_path(self) -> Path:
        return self._directory / "log"

    def _read(self) -> bytes:
        return self._log_path.read_bytes() if self._log_path.exists() else b""

    def _follow(self) -> Iterator[bytes]:
        with self._log_path.open("rb") as log:
            rest = b""
            while True:
                ended = self._poll() is not None
                rest += log.read()
                *lines, rest = rest.split(b"\n")
                yield from (line + b"\n" for line in lines)
                if ended:
                    break
                time.sleep(_TAIL_POLL)
            if rest:
                yield rest

    def _stop(self) -> None:
        process = self._process
        if process:
            deadline = time.monotonic() + self.drain_seconds
            while time.monotonic() < deadline and process.poll() is None and self._has_connections():
                time.sleep(0.1)
            signal_group(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self.spec.stop_timeout)
            signal_group(process, signal.SIGKILL)
            process.wait()
        self._finish()

    def _has_connections(self) -> bool:
        return has_connections(self.addresses.interface)

    def _finish(self) -> None:
        if not self._removed:
            self._removed = True
            self._on_removed(self)


def has_connections(address: str) -> bool:
    """Whether a TCP connection to ``address`` is established; ``True`` where no kernel tells (macOS)."""
    wanted = "".join(f"{int(byte):02X}" for byte in reversed(address.split(".")))
    try:
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return True
    fields = (line.split() for line in lines)
    return any(each[1].startswith(wanted + ":") and each[3] == "01" for each in fields)
