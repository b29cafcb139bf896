"""The README's bare `aws` commands, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Project

# Most of it is the reader's own set-up, as slow as the machine is.
pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("bare_commands")]


def fenced_block_with(text: str, needle: str) -> str:
    """The README's one shell block that contains ``needle``."""
    blocks = [
        block
        for block in re.findall(r"```(?:sh|bash|console|shell)\n(.*?)```", text, re.DOTALL)
        if needle in block
    ]
    assert len(blocks) == 1, f"{len(blocks)} blocks contain {needle!r}"
    return str(blocks[0])


def test_the_readme_deploys_with_the_aws_command_alone(scaffold: Callable[[str], Project]) -> None:
    project = scaffold("Bare Commands Server")
    block = fenced_block_with(
        (project.path / "README.md").read_text(encoding="utf-8"), "aws cloudformation deploy"
    )
    assert "aws s3 sync" in block
    # Packages come from outside the cloud, whose proxy leads to no package index.
    subprocess.run(["make", "setup"], cwd=project.path, check=True, capture_output=True, timeout=400)
    environment = {**os.environ, **project.cloud.environment()}
    # The reader's PATH holds `aws` and the project's Python; here both are this environment's.
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=project.path, env=environment, capture_output=True, text=True, timeout=400,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        verified = project.ops("verify", "--stage", "dev")
        assert verified.returncode == 0, verified.stdout + verified.stderr
    finally:
        destroyed = project.ops("destroy", "--stage", "dev", "--yes")
    assert destroyed.returncode == 0, destroyed.stdout + destroyed.stderr
