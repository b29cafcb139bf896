"""The rounds that parts of the benchmark get."""

from pathlib import Path

import pytest

from benchmarks.context import Context
from benchmarks.parts import PARTS
from benchmarks.project import Project


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("quick", [False, True])
def test_traces_alone_are_measured_in_many_short_rounds(name: str, quick: bool) -> None:
    project = Project(Path("made"), "made")
    given = Context(project, Path("made"), 5, 2, streams=10, quick=quick, say=print)
    own = PARTS[name].context(given)
    assert (own.rounds, own.seconds) == ((60, 1) if name == "traces" and not quick else (5, 2))
    assert own.project is project
