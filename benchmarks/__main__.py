"""`python -m benchmarks`: measure the generated server beside its yardsticks."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from . import machine, profiling, report
from .context import Context
from .parts import PARTS
from .parts.calls import MissingError
from .parts.streams import StreamError
from .parts.traces import NoSpansError
from .processes import GENERATOR_CORE, SERVER_CORE, StartError
from .project import ROOT, generate
from .wire import WrongAnswerError
from .wrk import LoadError

RESULTS = ROOT / "benchmarks" / "RESULTS.md"
EXIT_NOT_MET = 1
EXIT_NOT_MEASURED = 2
ERRORS = (
    LoadError,
    MissingError,
    NoSpansError,
    StartError,
    StreamError,
    WrongAnswerError,
    profiling.ProfileError,
)


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    parts = "\n".join(f"  {name:<9} {part.title}" for name, part in PARTS.items())
    result = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Generate a project, measure its server beside others, and judge what is promised.",
        epilog=f"parts:\n{parts}\n\nexit status: 0 all promises met, 1 some not, 2 not measured.\n"
        "Linux with two cores, wrk and taskset is needed; docs are in benchmarks/README.md.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "--only", action="append", choices=PARTS, metavar="PART", help="a part; may be repeated"
    )
    result.add_argument("--rounds", type=int, default=5, help="rounds over all servers (default: 5)")
    result.add_argument("--seconds", type=int, default=2, help="length of a cell under load (default: 2)")
    result.add_argument("--streams", type=int, default=1000, help="open streams (default: 1000)")
    result.add_argument("--quick", action="store_true", help="one round of short cells, which prove nothing")
    result.add_argument("--record", action="store_true", help="write the findings into benchmarks/RESULTS.md")
    result.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round")
    result.add_argument(
        "--profile", choices=profiling.TARGETS, help="instead: where the processor time of a server goes"
    )
    return result


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Tell what is going on: in place on a terminal, a line each elsewhere; on standard error."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda text: print(text, file=sys.stderr, flush=True)
        return
    with console.status("") as status:
        yield lambda text: status.update(text)


def stamp(context: Context) -> str:
    """Return when, where and how it was measured."""
    today = datetime.now(UTC).date().isoformat()
    return f"{today}, {context.rounds} rounds of {context.seconds} s. {machine.line()}."


def measure(context: Context, names: Sequence[str], *, record: bool) -> tuple[dict[str, Any], bool]:
    """Run some parts; returns their raw figures, and whether every promise is met."""
    raw: dict[str, Any] = {}
    met = True
    for name in names:
        part = PARTS[name]
        own = part.context(context)
        findings = part.run(own)
        met = met and all(verdict.met for verdict in findings.verdicts)
        raw[name] = findings.raw
        tables = (report.plain(findings.table), report.plain(report.verdict_table(findings.verdicts)))
        print("\n\n".join((part.title, *tables)), end="\n\n", flush=True)
        if record:
            report.record(RESULTS, part.title, report.section(part.title, stamp(own), findings))
    return raw, met


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parser().parse_args(arguments)
    if options.record and options.quick:
        parser().error("--quick proves nothing, so there is nothing to --record")
    if not shutil.which("taskset") or {SERVER_CORE, GENERATOR_CORE} - os.sched_getaffinity(0):
        print("Linux with two processor cores and util-linux's taskset is needed.", file=sys.stderr)
        return EXIT_NOT_MEASURED
    # The server's core is the server's alone.
    os.sched_setaffinity(0, {GENERATOR_CORE})
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name, progress() as say:
        directory = Path(name)
        context = Context(
            project=generate(directory),
            directory=directory,
            rounds=1 if options.quick else options.rounds,
            seconds=1 if options.quick else options.seconds,
            streams=min(options.streams, 20) if options.quick else options.streams,
            quick=options.quick,
            say=say,
        )
        try:
            if options.profile:
                print(profiling.profile(context, options.profile))
                return 0
            raw, met = measure(context, options.only or list(PARTS), record=options.record)
        except ERRORS as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return EXIT_NOT_MEASURED
    if options.json:
        options.json.write_text(json.dumps({"machine": machine.line(), "parts": raw}, indent=1) + "\n")
    return 0 if met or options.quick else EXIT_NOT_MET


if __name__ == "__main__":
    sys.exit(main())
