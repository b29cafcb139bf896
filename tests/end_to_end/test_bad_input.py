"""Bad input: one clear line and a non-zero exit, never a traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.end_to_end.conftest import ROOT, Project

pytestmark = pytest.mark.xdist_group("end_to_end")


@pytest.fixture(scope="module")
def project(scaffold: Callable[[str], Project]) -> Project:
    return scaffold("Bad Input Server")


def assert_one_clear_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode != 0
    told = done.stderr.strip()
    assert "Traceback" not in told
    assert len(told.splitlines()) == 1, told
    for word in words:
        assert word in told, told


def test_an_unknown_stage(project: Project) -> None:
    assert_one_clear_line(project.ops("deploy", "--stage", "qa"), "qa", "dev", "staging", "prod")


def test_missing_credentials(project: Project) -> None:
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    assert_one_clear_line(project.ops("deploy", **nobody, **nowhere), "credentials")


def test_a_bucket_in_another_region(project: Project) -> None:
    project.cloud.client("s3", "eu-west-1").create_bucket(
        Bucket="artifacts-elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    done = project.ops("deploy", "--bucket", "artifacts-elsewhere")
    assert_one_clear_line(done, "artifacts-elsewhere", "eu-west-1", "us-east-1")


def test_a_busy_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "local_cloud", "--port", port],
            cwd=ROOT, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert_one_clear_line(done, port, "in use")
