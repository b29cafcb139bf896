"""Findings as text for a terminal and as sections of RESULTS.md."""

from __future__ import annotations

import re
from pathlib import Path

from .context import Findings, Table
from .figures import Verdict

HEADING = re.compile(r"^(?=## )", re.MULTILINE)


def number(value: float, unit: str) -> str:
    """Return a figure with as many digits as it can bear, and its unit."""
    return f"{value:.1f} {unit}" if unit else f"{value:.2f}"


def promise(verdict: Verdict) -> str:
    """Return the bound in signs, or nothing where nothing is promised."""
    if verdict.at_least and verdict.bound == 0:
        return ""
    return f"{'≥' if verdict.at_least else '≤'} {number(verdict.bound, verdict.unit)}"


def outcome(verdict: Verdict) -> str:
    """Return whether it is met, or nothing where nothing is promised."""
    if verdict.at_least and verdict.bound == 0:
        return ""
    return "met" if verdict.met else "**not met**"


def verdict_table(verdicts: list[Verdict]) -> Table:
    """Return a row for each verdict."""
    rows = [
        (
            verdict.promise,
            number(verdict.found, verdict.unit),
            promise(verdict),
            outcome(verdict),
            verdict.how,
        )
        for verdict in verdicts
    ]
    return Table(("ratio", "found", "target", "", "measured"), rows)


def markdown(table: Table) -> str:
    """Return a table of Markdown; columns of figures are aligned to the right."""
    rules = []
    for column in range(len(table.headings)):
        figures = all(re.match(r"[\d.,]+( ?%| ms| MiB|$)", row[column]) for row in table.rows)
        rules.append("---:" if figures else "---")
    lines = [table.headings, tuple(rules), *table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plain(table: Table) -> str:
    """Return a table for a terminal, columns padded."""
    lines = [table.headings, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.headings))]
    padded = (
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join(padded).replace("**", "")


def section(title: str, stamp: str, findings: Findings) -> str:
    """Return a part's section of RESULTS.md; `stamp` says when, where and how it was measured."""
    parts = [f"## {title}", stamp, markdown(verdict_table(findings.verdicts)), markdown(findings.table)]
    if findings.notes:
        parts.append(findings.notes)
    return "\n\n".join(parts) + "\n"


def replaced(document: str, title: str, text: str) -> str:
    """Return the document with the section of that title replaced, or with a new one before the last.

    Sections begin with `## `; what comes before the first, and sections of other titles, stay as they are.
    """
    head, *sections = HEADING.split(document)
    sections = [f"{part.rstrip()}\n" for part in sections]
    place = next((index for index, part in enumerate(sections) if part.startswith(f"## {title}\n")), None)
    if place is not None:
        sections[place] = text
    else:
        # The last section is written by hand and closes the document.
        sections.insert(max(len(sections) - 1, 0), text)
    return "\n".join([f"{head.rstrip()}\n", *sections])


def record(path: Path, title: str, text: str) -> None:
    """Put a section into a document."""
    path.write_text(replaced(path.read_text(encoding="utf-8"), title, text), encoding="utf-8")
