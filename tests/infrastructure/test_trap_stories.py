"""The page of trap stories names what exists and what runs."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.infrastructure.cloudformation import PROJECT, ROOT
from tests.infrastructure.promises import PROMISES

PAGE = ROOT / "docs" / "trap-stories.md"
NAME = re.compile(r"`([a-z][a-z0-9_]+)`")


def rows(text: str) -> dict[str, list[str]]:
    """Return `{what happened: names that hold it}` of every table."""
    cells = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return {
        cell[0].strip(): NAME.findall(cell[2])
        for cell in cells
        if cell[0].strip() not in ("what happened", "---")
    }


@cache
def names_of_tests() -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of all tests, and of those that `make test` runs."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    apart = [ROOT / directory for directory in settings["norecursedirs"] if directory.startswith("tests/")]
    every, run = set(), set()
    # Those of the project are run by the test that installs it.
    for path in [*(ROOT / "tests").rglob("test_*.py"), *(PROJECT / "tests").rglob("test_*.py")]:
        found = _tests(path)
        every |= found
        if not any(path.is_relative_to(directory) for directory in apart):
            run |= found
    return frozenset(every), frozenset(run)


def _tests(path: Path) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, functions) and node.name.startswith("test_")}


def problems(text: str) -> list[str]:
    """Return what is wrong with a page, one sentence each."""
    every, run = names_of_tests()
    found = []
    for story, names in rows(text).items():
        found += [
            f"{name} is no promise and no test" for name in names if name not in every | PROMISES.keys()
        ]
        if not set(names) & (run | PROMISES.keys()):
            found.append(f"make test holds nothing of: {story}")
    return found


def test_every_story_is_held_by_what_make_test_runs() -> None:
    assert problems(PAGE.read_text(encoding="utf-8")) == []
    assert len(rows(PAGE.read_text(encoding="utf-8"))) > 30


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (
            "| Lost. | Found. | `nothing_is_ever_lost`, `test_health` |",
            "nothing_is_ever_lost is no promise and no test",
        ),
        ("| Lost. | Found. | by hope |", "make test holds nothing of: Lost."),
        # Run by make test-network alone.
        ("| Lost. | Found. | `test_replacing_tasks_loses_no_call` |", "make test holds nothing of: Lost."),
    ],
)
def test_a_story_that_nothing_holds_is_found(row: str, complaint: str) -> None:
    assert problems(row) == [complaint]
