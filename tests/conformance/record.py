"""The record of what the suite finds, in record.yaml, with a reason for everything that doesn't succeed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

PATH = Path(__file__).with_name("record.yaml")


@dataclass(frozen=True)
class Figures:
    """How much of a run succeeded; the suite's latest release has no list of what a revision requires."""

    scenarios: int
    passed: int
    required: int
    required_passed: int
    checks: int


@dataclass(frozen=True)
class Run:
    """One run of the suite: which of its two packages, which revision, with sessions or without."""

    name: str
    package: str
    revision: str
    stateful: bool
    figures: Figures


@dataclass(frozen=True)
class Gap:
    """Checks (`scenario:check`) that don't succeed in some runs, with the suite's status for it, and why."""

    status: str
    runs: tuple[str, ...]
    checks: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Record:
    """Everything the file holds."""

    runs: tuple[Run, ...]
    gaps: tuple[Gap, ...]

    def of(self, run: Run) -> frozenset[tuple[str, str]]:
        """Return what doesn't succeed in a run, as `(status, "scenario:check")`."""
        return frozenset(
            (gap.status, check) for gap in self.gaps if run.name in gap.runs for check in gap.checks
        )


def load() -> Record:
    """Read the file. Raises `ValueError` where a gap names a run that there isn't."""
    data = yaml.safe_load(PATH.read_text())
    runs = tuple(
        Run(**{**entry, "revision": str(entry["revision"]), "figures": Figures(**entry["figures"])})
        for entry in data["runs"]
    )
    gaps = tuple(
        Gap(entry["status"], tuple(entry["runs"]), tuple(entry["checks"]), entry["reason"].strip())
        for entry in data["gaps"]
    )
    if unknown := {name for gap in gaps for name in gap.runs} - {run.name for run in runs}:
        raise ValueError(f"{PATH.name} has gaps in runs that it doesn't list: {', '.join(sorted(unknown))}")
    return Record(runs, gaps)
