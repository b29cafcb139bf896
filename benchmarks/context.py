"""What every part of the benchmark is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .figures import Verdict
from .project import Project


@dataclass(frozen=True)
class Context:
    """The project under test, and how long to measure."""

    project: Project
    directory: Path
    """For files that nobody needs afterwards."""
    rounds: int
    seconds: int
    """Length of a cell under load."""
    streams: int
    """Event streams that are open at once."""
    quick: bool
    """Whether this is a try of the benchmark itself, whose figures count for nothing."""
    say: Callable[[str], None]
    """Tells what is being measured."""


@dataclass(frozen=True)
class Table:
    """Headings, and rows of as many texts."""

    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Findings:
    """What a part found."""

    table: Table
    verdicts: list[Verdict]
    raw: dict[str, Any]
    """Every figure of every round, for `--json`."""
    notes: str = ""
