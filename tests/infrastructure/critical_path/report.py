"""The findings as a person reads them: tables on a terminal, and the page in docs."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tests.infrastructure.critical_path.findings import Findings, Gain
from tests.infrastructure.critical_path.graph import STACK
from tests.infrastructure.critical_path.times import ASSUMED, Time, table

INTRODUCTION = """\
# Critical path of a first deploy

Written by `make docs` from the templates and a table of creation times; `make critical-path STAGE=prod`
prints the same for one stage. It says what waits for what rather than how long your deploy will take:
figures marked *assumed* were published by nobody, and CloudFront's own vary most.

CloudFormation creates everything at once but for what waits: a resource for what it refers to, and a nested
stack for *all* of each stack whose outputs it takes. The chain below decides the end; to make anything else
faster wins nothing.
"""


def clock(seconds: int) -> str:
    """Return a duration as minutes and seconds: 605 is 10:05."""
    return f"{seconds // 60}:{seconds % 60:02}"


def summary(stage: str, findings: Findings) -> str:
    """Return the answer in two sentences."""
    total, floor = findings.schedule.total, findings.floor
    return (
        f"{stage}: {clock(total)} minutes, of which {clock(findings.assumed)} are assumed. "
        f"If no stack waited for more than it uses, {clock(floor)}."
    )


def screen(stage: str, findings: Findings) -> RenderableType:
    """Return everything about one stage."""
    return Group(
        Text(summary(stage, findings), style="bold"),
        _drawn("The chain", ["begins", "takes", "step", "why that long"], _chain(findings)),
        _drawn("What would shorten it", ["by", "what"], _gains(findings)),
        _drawn("The stacks", ["begins", "ends", "slack", "stack"], _stacks(findings)),
    )


def page(stages: Mapping[str, Findings]) -> str:
    """Return the page in docs: the totals of all stages, and all about the last one."""
    last = list(stages)[-1]
    findings = stages[last]
    parts = [
        INTRODUCTION,
        "".join(f"- {summary(stage, found)}\n" for stage, found in stages.items()),
        f"## The chain of {last}\n",
        _markdown(["begins", "takes", "step", "why that long"], _chain(findings)),
        "## What would shorten it\n",
        "Each by itself: a step that took no time, or a stack that waited for no more than it uses.\n",
        _markdown(["by", "what"], _gains(findings)),
        f"## The stacks of {last}\n",
        "Slack is how much later a stack could end without a later end of the deploy.\n",
        _markdown(["begins", "ends", "slack", "stack"], _stacks(findings)),
        "## Creation times\n",
        "The first row that matches a resource counts; * stands for any ending.\n",
        _markdown(["seconds", "type", "source", "note"], _times()),
    ]
    return "\n".join(parts)


def show(stage: str, findings: Findings) -> None:
    """Print everything about one stage."""
    Console(highlight=False, emoji=False).print(screen(stage, findings))


def _chain(findings: Findings) -> Iterable[Sequence[str]]:
    for step in findings.chain:
        why = step.time.note if step.time.source != ASSUMED else f"assumed: {step.time.note}"
        yield clock(findings.schedule.begin[step.name]), clock(step.time.seconds), step.name, why


def _gains(findings: Findings) -> Iterable[Sequence[str]]:
    def told(gain: Gain, text: str) -> tuple[int, Sequence[str]]:
        return gain.seconds, (clock(gain.seconds), text)

    waits = [told(gain, gain.what) for gain in findings.waits_won]
    steps = [told(gain, f"{gain.what} takes no time") for gain in findings.steps_won if gain.seconds >= 10]
    return [row for _, row in sorted(waits + steps, key=lambda item: -item[0])]


def _stacks(findings: Findings) -> Iterable[Sequence[str]]:
    begin, slack = findings.schedule.begin, findings.schedule.slack
    ends = [
        step
        for step in findings.schedule.steps.values()
        if step.resource_type == STACK and step.name in slack
    ]
    names = [step.name for step in ends if " " not in step.name]
    for name in sorted(names, key=lambda name: begin[f"{name} begins"]):
        yield clock(begin[f"{name} begins"]), clock(begin[name]), clock(slack[name]), name


def _times() -> Iterable[Sequence[str]]:
    for row in table():
        yield str(row.seconds), _named(row), row.source, row.note


def _named(row: Time) -> str:
    when = ", ".join(f"{name} {value}" for name, value in row.when.items())
    return f"`{row.resource_type}`{f' ({when})' if when else ''}"


def _drawn(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    drawn = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        numeric = column in ("begins", "takes", "ends", "slack", "by")
        drawn.add_column(column, justify="right" if numeric else "left", no_wrap=numeric)
    for row in rows:
        drawn.add_row(*row)
    return drawn


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
