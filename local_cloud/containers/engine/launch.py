"""Becomes a container's or a build's program, after asking to be killed when the local cloud dies.

``python -I -S launch.py PARENT_PID KIND DIRECTORY PROGRAM ARGUMENT...``, with the program's own environment.
KIND is ``exec`` for one process, or ``group`` for one that starts others, which then die with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Get a signal when the thread that started this process ends; Linux only, elsewhere nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def run_group(program: list[str]) -> int:
    """Run the program as a child, and kill the whole group at the parent's end; gives its exit status."""
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.execv(program[0], program)  # noqa: S606 - this is what the program is for
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    kind, program = sys.argv[2], sys.argv[4:]
    die_with_parent(int(sys.argv[1]), signal.SIGTERM if kind == "group" else signal.SIGKILL)
    os.chdir(sys.argv[3])
    if kind == "group":
        sys.exit(run_group(program))
    os.execv(program[0], program)  # noqa: S606 - this is what the program is for
