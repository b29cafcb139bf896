"""Starts a local cloud as a child process and hands out the environment that makes others its clients."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from .environment import with_region
from .errors import LocalCloudError

_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 10.0
_POLL = 0.02
_LOG_TAIL_LINES = 30


class LocalCloud:
    """A local cloud for the length of a ``with`` block.

    The cloud runs in a process group of its own, is stopped by its process id and dies with the process that
    started it, unless it is ``detached``: then it goes on until ``stop`` or ``stop_detached``.
    Its state directory (certificates, images, log) is removed when it stops.
    Raises LocalCloudError, with the end of the log, when it doesn't get ready within 30 seconds.
    """

    def __init__(self, region: str = "us-east-1", port: int = 0, *, detached: bool = False) -> None:
        self.region = region
        self._detached = detached
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None
        self._ready: dict[str, Any] = {}

    def __enter__(self) -> LocalCloud:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def api_url(self) -> str:
        """``https://127.0.0.1:<port>``: the endpoint of every AWS API."""
        return str(self._started("api_url"))

    @property
    def pid(self) -> int:
        """Process id of the cloud."""
        return int(self._started("pid"))

    @property
    def ports(self) -> dict[str, int]:
        """Loopback ports: ``api`` (TLS), ``plain`` (the same without TLS) and ``proxy``."""
        return dict(self._started("ports"))

    @property
    def log_path(self) -> Path:
        """The cloud's log file; it goes with the cloud."""
        return Path(self._started("log_path"))

    @property
    def state_directory(self) -> Path:
        """The cloud's own directory; it goes with the cloud."""
        return self.log_path.parent

    def environment(self, region: str | None = None) -> dict[str, str]:
        """Return variables for a client process, to merge over its own; ``region`` is its default region."""
        return with_region(self._started("environment"), region or self.region)

    def client(self, service: str, region: str | None = None) -> Any:
        """Return a boto3 client of ``service`` in ``region`` that talks to this cloud alone."""
        import boto3
        from botocore.config import Config

        environment = self.environment(region)
        session = boto3.session.Session(
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_REGION"],
        )
        return session.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.api_url,
            verify=environment["AWS_CA_BUNDLE"],
            config=Config(proxies={}, retries={"total_max_attempts": 2}),
        )

    def start(self) -> None:
        """Start the cloud and wait until every address answers."""
        if self._process is not None:
            raise LocalCloudError("This local cloud runs already; stop it before starting it again.")
        self._directory = Path(tempfile.mkdtemp(prefix="local-cloud-"))
        ready_file = self._directory / "ready.json"
        command = [sys.executable, "-m", __package__, "--quiet"]
        command += [] if self._detached else ["--stop-with-stdin"]
        command += ["--region", self.region, "--port", str(self._port)]
        command += [
            "--state-directory",
            str(self._directory),
            "--discard-state",
            "--ready-file",
            str(ready_file),
        ]
        root = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        with (self._directory / "output").open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, by the running interpreter
                command,
                stdin=subprocess.DEVNULL if self._detached else subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )
        try:
            self._wait_until_ready(self._process, ready_file)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the cloud with all that it started and remove its directory, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            with contextlib.suppress(ProcessLookupError):
                # What a killed cloud could not stop itself; the group is the cloud's own.
                os.killpg(process.pid, signal.SIGKILL)
        directory, self._directory = self._directory, None
        self._ready = {}
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)

    @staticmethod
    def stop_detached(pid: int) -> None:
        """Stop the detached cloud that runs as process ``pid``; do nothing when it has ended already."""
        _signal_cloud(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_TIMEOUT
        while _is_cloud(pid) and time.monotonic() < deadline:
            time.sleep(_POLL)
        _signal_cloud(pid, signal.SIGKILL)

    def _wait_until_ready(self, process: subprocess.Popen[bytes], ready_file: Path) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while not ready_file.exists():
            if process.poll() is not None:
                raise LocalCloudError(
                    f"The local cloud ended with exit code {process.returncode}:\n{self._tail()}"
                )
            if time.monotonic() > deadline:
                seconds = f"{_START_TIMEOUT:.0f} s"
                raise LocalCloudError(f"The local cloud wasn't ready after {seconds}:\n{self._tail()}")
            time.sleep(_POLL)
        self._ready = json.loads(ready_file.read_text())

    def _tail(self) -> str:
        lines: list[str] = []
        if self._directory is not None:
            for path in (self._directory / "local-cloud.log", self._directory / "output"):
                if path.exists():
                    lines += path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return "\n".join(lines) or "(it wrote nothing)"

    def _started(self, name: str) -> Any:
        if not self._ready:
            raise LocalCloudError(
                "This local cloud isn't running; use it as a context manager or call start()."
            )
        return self._ready[name]


def _signal_cloud(pid: int, number: signal.Signals) -> None:
    if _is_cloud(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _is_cloud(pid: int) -> bool:
    """Tell whether process ``pid`` is a live cloud, and not one that got its number later."""
    answer = subprocess.run(  # noqa: S603 - fixed arguments
        ["/bin/ps", "-o", "stat=,command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    status, _, command = answer.stdout.strip().partition(" ")
    return bool(status) and not status.startswith("Z") and f"-m {__package__} " in f"{command} "
