"""Scaffold the default project, build its bundle and run taskcat over it."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cookiecutter.main import cookiecutter

from local_cloud.launcher import LocalCloud

ROOT = Path(__file__).resolve().parents[2]
TASKCAT_PYTHON = ROOT / ".taskcat-venv" / "bin" / "python"


def scaffold(directory: Path) -> Path:
    """Render the default project below ``directory`` and return its path."""
    return Path(cookiecutter(str(ROOT), no_input=True, output_dir=str(directory)))


def lay_out_bundle(project: Path, directory: Path) -> Path:
    """Build the project's bundle and copy it, with this repository's ``.taskcat.yml``, to ``directory``."""
    subprocess.run([sys.executable, "-m", "ops", "bundle"], cwd=project, check=True)
    (bundle,) = (project / "build" / "bundle").iterdir()
    shutil.copytree(bundle, directory)
    shutil.copy(ROOT / ".taskcat.yml", directory)
    return directory


def run_taskcat(regions: str, local: bool, work: Path) -> int:
    """Run the driver in taskcat's environment; its exit status is the answer."""
    if not TASKCAT_PYTHON.exists():
        print(
            "taskcat's environment is missing: run `make taskcat` or `make taskcat-local`.", file=sys.stderr
        )
        return 2
    project = scaffold(work)
    root = lay_out_bundle(project, work / "bundle")
    command = [str(TASKCAT_PYTHON), str(Path(__file__).with_name("driver.py"))]
    command += ["--project-root", str(root), "--regions", regions, "--report", str(ROOT / "taskcat_outputs")]
    command += ["--poll-seconds", "0.5", "--offline"] if local else []
    command += ["--", sys.executable, "-m", "ops", "verify"]
    with contextlib.ExitStack() as stack:
        environment = dict(os.environ)
        if local:
            environment.update(stack.enter_context(LocalCloud()).environment())
        return subprocess.run(command, cwd=project, env=environment, check=False).returncode


def main() -> int:
    """Command line of ``python -m tests.taskcat``."""
    parser = argparse.ArgumentParser(prog="python -m tests.taskcat", description=__doc__)
    parser.add_argument(
        "--local", action="store_true", help="use the local cloud instead of your AWS account"
    )
    parser.add_argument(
        "--regions", default="ALL", help="comma separated; ALL (default) takes those of .taskcat.yml"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="taskcat-") as work:
        return run_taskcat(arguments.regions, arguments.local, Path(work))


if __name__ == "__main__":
    sys.exit(main())
