from __future__ import annotations

from benchmarks.context import Findings, Table
from benchmarks.figures import Verdict
from benchmarks.report import markdown, plain, replaced, section, verdict_table

DOCUMENT = """\
# Results

How it was measured.

## Calls

old

## Where the rest goes

By hand.
"""
VERDICTS = [
    Verdict("speed of A", 2.345, 2.0, True, "by calls/s"),
    Verdict("first call", 21.26, 20.0, False, "median", "ms"),
    Verdict("speed of the ceiling", 0.1, 0.0, True, "by calls/s"),
]


def test_a_section_is_replaced_where_it_stands() -> None:
    found = replaced(DOCUMENT, "Calls", "## Calls\n\nnew\n")
    assert found == DOCUMENT.replace("old", "new")
    assert replaced(found, "Calls", "## Calls\n\nnew\n") == found


def test_a_new_section_stands_before_the_one_written_by_hand() -> None:
    found = replaced(DOCUMENT, "Tools", "## Tools\n\nnew\n")
    assert found == DOCUMENT.replace("## Where", "## Tools\n\nnew\n\n## Where")


def test_a_verdict_says_what_was_found_what_was_promised_and_whether_it_is_kept() -> None:
    assert verdict_table(VERDICTS).rows == [
        ("speed of A", "2.35", "≥ 2.00", "met", "by calls/s"),
        ("first call", "21.3 ms", "≤ 20.0 ms", "**not met**", "median"),
        ("speed of the ceiling", "0.10", "", "", "by calls/s"),
    ]


def test_figures_are_aligned_to_the_right() -> None:
    table = Table(("server", "calls/s", "share"), [("a", "1,200", "3.4 %"), ("b", "900", "12 %")])
    assert markdown(table).splitlines()[1] == "| --- | ---: | ---: |"
    assert plain(table).splitlines()[1] == "a       1,200    3.4 %"


def test_a_section_holds_verdicts_figures_and_notes() -> None:
    findings = Findings(Table(("server",), [("a",)]), VERDICTS, {}, "A note.")
    text = section("Calls", "2026-01-01, on a machine.", findings)
    assert text.startswith("## Calls\n\n2026-01-01, on a machine.\n\n| ratio |")
    assert text.endswith("| a |\n\nA note.\n")
