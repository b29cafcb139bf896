"""taskcat over two regions of the local cloud at once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.end_to_end.conftest import ROOT

pytestmark = pytest.mark.xdist_group("taskcat")


def test_two_regions_are_created_called_and_deleted() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.taskcat", "--local"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    stacks = json.loads(done.stdout.strip().splitlines()[-1])["stacks"]
    assert set(stacks) == {"us-east-1", "eu-west-1"}
    for row in stacks.values():
        assert row["created"], stacks
        assert row["called"], stacks
        assert row["deleted"], stacks
    assert done.stdout.count("10 + 20 = 30 through https://") == 2
