"""Every run of the suite finds what the record says, no less and no more."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.baking import PACKAGE, ROOT, bake

from . import page, record, suite

START_SECONDS = 30
RECORD = record.load()


@contextlib.contextmanager
def serving(project: Path, *, stateful: bool) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    variables = {
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(project / "src"))),
        "PORT": str(port),
        "MCP_STATEFUL": str(stateful).lower(),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.server", PACKAGE],
        cwd=project,
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            assert process.poll() is None, "the server ended while it started"
            assert time.monotonic() < deadline, "the server doesn't answer"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, str]]:
    """Return the addresses of two servers by whether they keep sessions."""
    project = bake(tmp_path_factory.mktemp("home"))
    with serving(project, stateful=False) as stateless, serving(project, stateful=True) as stateful:
        yield {False: stateless, True: stateful}


@pytest.mark.parametrize("run", RECORD.runs, ids=lambda run: run.name)
def test_the_suite_finds_what_the_record_says(
    run: record.Run, urls: dict[bool, str], tmp_path: Path, say: Callable[[str], None]
) -> None:
    package = f"conformance-{run.package}"
    found = suite.run(package, run.revision, urls[run.stateful], tmp_path)
    required = suite.required(package, run.revision)
    figures = record.Figures(
        scenarios=len(found.scenarios),
        passed=len(found.passed),
        required=len(required),
        required_passed=len(found.passed & required),
        checks=found.succeeded,
    )
    of_required = f"{figures.required_passed} of {figures.required} required ones, " if required else ""
    say(
        f"{run.name}: {figures.passed} of {figures.scenarios} scenarios, {of_required}{figures.checks} checks"
    )
    assert listed(found.gaps - RECORD.of(run)) == "", "a fault, or a gap that needs its reason in the record"
    assert listed(RECORD.of(run) - found.gaps) == "", "no longer found: take it out of the record"
    assert figures == run.figures


def listed(gaps: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"{status} {check}" for status, check in sorted(gaps))


def test_the_page_is_the_record_s() -> None:
    written = page.PATH.read_text() if page.PATH.exists() else ""
    assert written == page.render(RECORD, page.versions()), "write it: python -m tests.conformance.page"
