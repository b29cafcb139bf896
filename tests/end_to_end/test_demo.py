"""`make demo`, `make demo KEEP=1` and `make demo-down`, as a stranger runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import ROOT

pytestmark = pytest.mark.xdist_group("demo")


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local_cloud.demo", *arguments],
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
    )


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended but wasn't collected by its adopter doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_demo_prints_the_answer_and_leaves_nothing() -> None:
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^Answer +10 \+ 20 = 30 through https://.+/mcp", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^Gateway tool +knowledge-mcp-server___simpleadd$", done.stdout, re.MULTILINE)
    assert re.search(r"^Leftovers +none$", done.stdout, re.MULTILINE)
    assert "\x1b" not in done.stdout


def test_a_kept_demo_can_be_talked_to_and_torn_down() -> None:
    kept = demo("--keep")
    assert kept.returncode == 0, kept.stdout + kept.stderr
    try:
        # What it printed is what a reader pastes: run it as it stands.
        block = kept.stdout.split("In another shell:")[1].split("To end it:")[0]
        talked = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=ROOT, capture_output=True, text=True, timeout=120
        )
        assert talked.returncode == 0, talked.stdout + talked.stderr
        assert "knowledge-mcp-server-dev" in talked.stdout
        assert "10 + 20 = 30 through https://" in talked.stdout
        assert talked.stdout.rstrip().endswith("401"), "the server itself refuses who has no token"
        refused = demo()
        assert refused.returncode != 0
        assert "make demo-down" in refused.stdout + refused.stderr
    finally:
        down = demo("--down")
    assert down.returncode == 0, down.stdout + down.stderr
    pid = int(re.search(r"process (\d+)", kept.stdout).group(1))  # type: ignore[union-attr]
    assert not alive(pid)
    nothing = demo("--down")
    assert nothing.returncode != 0
    assert "Nothing to tear down" in nothing.stdout + nothing.stderr
