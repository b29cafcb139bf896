"""Can this machine run containers? Tried, not guessed: `python -m tests.container.machine`.

Exits 0 where it can; exits 3 and prints the refused operation with the kernel's own words where it can't.
Only what container engines need from the kernel is tried, so a broken engine or a broken image never looks
like a machine that can't.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

# Not 1, which is how a program that crashed ends.
EXIT_CANNOT = 3
CGROUPS = Path("/sys/fs/cgroup")
NAMESPACES = ("--mount", "--pid", "--fork", "--net", "--uts", "--ipc")
# An overlay as image layers need it, and a proc of the new process namespace.
MOUNTS = """
set -e
mount --make-rprivate /
mount -t tmpfs none "$1"
mkdir "$1/lower" "$1/upper" "$1/work" "$1/merged"
mount -t overlay overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work" "$1/merged"
mount -t proc proc "$1/lower"
"""


def obstacle() -> str | None:
    """Return why no container can run here, or None where one can."""
    if not sys.platform.startswith("linux"):
        return f"containers need Linux, this is {sys.platform}"
    if os.geteuid() != 0:
        return "not root: limits on CPU and memory, and network namespaces, are root's to make"
    with tempfile.TemporaryDirectory() as scratch:
        mounted = ("sh", "-c", MOUNTS, "sh", scratch)
        return (
            _refusal("new namespaces", "unshare", *NAMESPACES, "true")
            or _refusal("mounts in new namespaces", "unshare", *NAMESPACES, *mounted)
            or _no_limits()
        )


def _refusal(what: str, *command: str) -> str | None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode == 0:
        return None
    return f"{what} are refused: {done.stderr.strip() or f'{command[0]} ended with {done.returncode}'}"


def _no_limits() -> str | None:
    """Try a control group for each limit: version 1 has a tree for each, version 2 one tree for all."""
    if (CGROUPS / "cgroup.controllers").is_file():
        enabled = (CGROUPS / "cgroup.controllers").read_text().split()
        missing = [name for name in ("cpu", "memory") if name not in enabled]
        trees = [CGROUPS]
    else:
        trees = [CGROUPS / "cpu", CGROUPS / "memory"]
        missing = [tree.name for tree in trees if not (tree / "cgroup.procs").is_file()]
    if missing:
        return f"no control groups for {' and '.join(missing)} in {CGROUPS}"
    for tree in trees:
        group = tree / f"container-probe-{os.getpid()}"
        try:
            group.mkdir()
            group.rmdir()
        except OSError as error:
            return f"control groups can't be made: {error}"
    return None


def main() -> int:
    """Say whether containers can run; the exit status is for scripts."""
    reason = obstacle()
    if reason is not None:
        print(reason)
        return EXIT_CANNOT
    return 0


if __name__ == "__main__":
    sys.exit(main())
