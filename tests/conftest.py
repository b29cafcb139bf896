"""What suites that measure share: figures, printed at the end of the run whether it passed or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function for figures that are printed at the end of the run, passed or not."""
    return request.config.stash.setdefault(FIGURES, []).append


def pytest_runtest_setup(item: pytest.Item) -> None:
    """See that tests of one group stay on one worker: a release of pytest-xdist that can't doesn't say so."""
    grouped = getattr(item.config.option, "loadgroup", False) and item.get_closest_marker("xdist_group")
    if grouped and "@" not in item.nodeid:
        pytest.fail("pytest-xdist put this test into no group; it and pytest must be releases that agree")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand a worker's figures to the process that prints (pytest-xdist)."""
    handed = getattr(session.config, "workeroutput", None)
    if handed is not None:
        handed["figures"] = session.config.stash.get(FIGURES, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take a worker's figures (pytest-xdist)."""
    handed = getattr(node, "workeroutput", {})
    node.config.stash.setdefault(FIGURES, []).extend(handed.get("figures", []))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Print the measured figures."""
    figures = config.stash.get(FIGURES, [])
    if figures:
        terminalreporter.section("measured")
    for figure in figures:
        terminalreporter.write_line(figure)
