"""docs/conformance.md, written from the record: `python -m tests.conformance.page`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.baking import ROOT

from . import record, suite

PATH = ROOT / "docs" / "conformance.md"
INTRODUCTION = """\
# Conformance

`make conformance` runs the official suite, npm's `@modelcontextprotocol/conformance`, against a generated
server: its own command line, guards, sessions and answers, without tokens. Added to its tools are those
that the suite calls by name (`tests/conformance/fixtures/`). Both current versions of the suite run: the
latest release, {release}, and the preview, {preview}, which knows revision 2026-07-28 and says which
scenarios a revision requires.

This page is written from `tests/conformance/record.yaml` by `.venv/bin/python -m tests.conformance.page`. The
command fails when a check fails or succeeds against the record, and when this page isn't the record's.
"""
MEANINGS = {
    "FAILURE": "## Not passed",
    "WARNING": "## Recommendations not followed",
    "SKIPPED": "## Skipped by the suite",
}
EXTENSIONS = """\
## Not run

Scenarios of extensions (`tasks-*`, `sep-2640-skills-*`): the server declares none.
"""


def render(found: record.Record, versions: Mapping[str, str]) -> str:
    """Return the page; `versions` are those of the packages `release` and `preview`."""
    return "\n".join(_lines(found, versions)).replace("\n\n\n", "\n\n")


def versions() -> dict[str, str]:
    """Return the versions of the installed packages."""
    return {name: suite.version(f"conformance-{name}") for name in ("release", "preview")}


def _lines(found: record.Record, versions: Mapping[str, str]) -> Iterator[str]:
    yield INTRODUCTION.format(**versions)
    yield "| run | suite | scenarios passed | required by the revision, passed | checks |"
    yield "|---|---|---|---|---|"
    for run in found.runs:
        figures = run.figures
        required = f"{figures.required_passed} of {figures.required}" if figures.required else "-"
        yield (
            f"| {run.name} | {versions[run.package]} | {figures.passed} of {figures.scenarios} | {required} "
            f"| {figures.checks} |"
        )
    for status, heading in MEANINGS.items():
        yield f"\n{heading}\n\n| scenario, check | run | why |\n|---|---|---|"
        for gap in found.gaps:
            if gap.status == status:
                checks = "<br>".join(f"`{check}`" for check in _short(gap.checks))
                yield f"| {checks} | {'<br>'.join(gap.runs)} | {' '.join(gap.reason.split())} |"
    yield f"\n{EXTENSIONS}"


def _short(checks: tuple[str, ...]) -> list[str]:
    """Return `scenario` alone where the check has the scenario's name."""
    pairs = [check.split(":") for check in checks]
    return [scenario if scenario == check else f"{scenario}: {check}" for scenario, check in pairs]


if __name__ == "__main__":
    PATH.write_text(render(record.load(), versions()))
