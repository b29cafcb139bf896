"""Child processes of the local cloud: each leads its own session, and none outlives the cloud."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO

_LAUNCH = str(Path(__file__).with_name("launch.py"))


class Processes:
    """Starts processes and stops them all.

    All are started by one thread that lives as long as the cloud, since Linux sends the parent-death signal
    when the starting *thread* ends.
    """

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False
        threading.Thread(target=self._serve, daemon=True, name="local-cloud-processes").start()

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        output: IO[bytes] | int,
        pass_descriptors: Sequence[int] = (),
        group: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Start ``command`` (its first word is a path); output and errors go to ``output``.

        ``group`` is for a command that starts others: they too die when the cloud is killed.
        """
        future: Future[subprocess.Popen[bytes]] = Future()

        def popen() -> None:
            try:
                future.set_result(
                    self._popen(command, environment, directory, output, pass_descriptors, group)
                )
            except BaseException as error:
                future.set_exception(error)

        self._requests.put(popen)
        return future.result()

    def _serve(self) -> None:
        while True:
            self._requests.get()()

    def _popen(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        output: IO[bytes] | int,
        pass_descriptors: Sequence[int],
        group: bool,
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise RuntimeError("the local cloud is stopping")
            self._running = {each for each in self._running if each.poll() is None}
            kind = "group" if group else "exec"
            process = subprocess.Popen(  # noqa: S603 - what a person builds and runs here
                [sys.executable, "-I", "-S", _LAUNCH, str(os.getpid()), kind, str(directory), *command],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=pass_descriptors,
            )
            self._running.add(process)
            return process

    def close(self, grace: float = 2.0) -> None:
        """Stop every process: SIGTERM, and SIGKILL after ``grace`` seconds; no new one can be started."""
        with self._lock:
            self._closed = True
            running = [each for each in self._running if each.poll() is None]
        for process in running:
            signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + grace
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        for process in running:
            signal_group(process, signal.SIGKILL)
            process.wait()


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal the process and what it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
