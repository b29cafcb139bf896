"""buildah and podman with a store of their own, set up to work in virtual machines and in CI alike."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Commands of Debian's packages and the package each is in.
COMMANDS = {
    "buildah": "buildah",
    "podman": "podman",
    "runc": "runc",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "/usr/bin/catatonit": "catatonit",
}
# runc, since crun refuses machines with control groups of both versions; cgroupfs, since nothing here needs
# systemd; limits on files and processes that no privilege is needed to set.
CONTAINERS_CONF = """\
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
init_path = "/usr/bin/catatonit"
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
"""
# What the task definition asks of Fargate, and no capability on top. Fargate puts no writable /tmp beside a
# read-only root either, hence --read-only-tmpfs=false.
AS_ON_FARGATE = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=512m",
    "--memory-swap=512m",
    "--cpus=0.25",
)


class EngineError(Exception):
    """A command of the engine failed; the message holds the command and what it wrote."""


def missing_packages() -> list[str]:
    """Return the Debian packages whose commands aren't on the machine."""
    return [package for command, package in COMMANDS.items() if shutil.which(command) is None]


@dataclass(frozen=True)
class Container:
    """A container that was created; `engine.remove` ends it."""

    engine: Engine
    name: str

    def execute(self, *command: str, user: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in the container; the result's status is the command's."""
        options = ["--user", user] if user else []
        return self.engine.podman("exec", *options, self.name, *command, check=False)

    def inspect(self) -> dict[str, Any]:
        """Return podman's description."""
        result: dict[str, Any] = json.loads(self.engine.podman("inspect", self.name).stdout)[0]
        return result

    def pid(self) -> int:
        """Return the first process' id on the machine."""
        return int(self.inspect()["State"]["Pid"])

    def output(self) -> str:
        """Return what the server wrote so far, standard output and standard error together."""
        done = self.engine.podman("logs", self.name)
        return done.stdout + done.stderr

    def health_status(self) -> int:
        """Run the image's HEALTHCHECK once: 0 is healthy, 1 unhealthy."""
        return self.engine.podman("healthcheck", "run", self.name, check=False).returncode

    def stop(self, seconds: int) -> tuple[int, float]:
        """Send SIGTERM, and SIGKILL after `seconds`; return the exit status and the seconds it took."""
        begin = time.monotonic()
        self.engine.podman("stop", f"--time={seconds}", self.name)
        return int(self.inspect()["State"]["ExitCode"]), time.monotonic() - begin


class Engine:
    """buildah and podman over one image store, which is kept between runs."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        # State that must not outlive a reboot.
        key = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
        run = Path("/run/container-tests") / key
        run.mkdir(parents=True, exist_ok=True)
        settings = (
            f'[storage]\ndriver = "overlay"\ngraphroot = "{directory / "storage"}"\nrunroot = "{run}"\n'
        )
        (directory / "storage.conf").write_text(settings)
        (directory / "containers.conf").write_text(
            f'{CONTAINERS_CONF}[network]\nnetwork_config_dir = "{run}"\n'
        )
        self._environment = {
            **os.environ,
            "CONTAINERS_CONF": str(directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
        }

    def podman(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run podman. Raises `EngineError` on failure unless `check` is False."""
        return self._run(["podman", *arguments], check)

    def build(
        self, context: Path, tag: str, arguments: Mapping[str, str], mounts: Mapping[Path, str]
    ) -> None:
        """Build `context`'s Dockerfile; `mounts` are there while it is built and not in the image."""
        options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        options += [f"--volume={source}:{target}:ro" for source, target in mounts.items()]
        # Docker's format, because the other one has no HEALTHCHECK.
        fixed = ["--isolation=chroot", "--format=docker", "--layers", "--pull-never", f"--tag={tag}"]
        self._run(["buildah", "bud", *fixed, *options, str(context)], check=True)

    def has_image(self, tag: str) -> bool:
        """Return whether the store holds an image."""
        return self.podman("image", "exists", tag, check=False).returncode == 0

    def image(self, tag: str) -> dict[str, Any]:
        """Return podman's description of an image."""
        result: dict[str, Any] = json.loads(self.podman("image", "inspect", tag).stdout)[0]
        return result

    def create(self, image: str, *command: str, options: tuple[str, ...] = ()) -> Container:
        """Create a container that isn't started."""
        name = f"server-{os.getpid()}-{time.monotonic_ns()}"
        self.podman("create", f"--name={name}", *options, image, *command)
        return Container(self, name)

    def start(self, container: Container) -> None:
        """Start a created container."""
        self.podman("start", container.name)

    def remove(self, container: Container) -> None:
        """Kill and remove a container, running or not."""
        self.podman("rm", "--force", "--time=0", container.name)

    def _run(self, command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=900, check=False
        )
        if check and done.returncode != 0:
            wrote = (done.stdout + done.stderr).strip()
            raise EngineError(f"{' '.join(command)} ended with {done.returncode}:\n{wrote[-4000:]}")
        return done
