"""From exec to the first answer, pinned to one core, and the memory of a server at rest."""

from __future__ import annotations

import dataclasses
import statistics
import time
from dataclasses import dataclass

from ..context import Context, Findings, Table
from ..figures import Verdict, judge, paired
from ..processes import Command, running, wait_for
from ..project import HEALTH
from ..wire import Wire, open_session, tool_call, verify
from .calls import DEFAULTS, OURS, python

FIRST_CALL_MS = 20.0
# A start is short beside a cell under load, and varies more.
STARTS_PER_ROUND = 3
REST_SECONDS = 0.5


@dataclass(frozen=True)
class Start:
    """One start of a server."""

    answer_ms: float
    """From exec to the first 200 of `GET /health`."""
    cpu_ms: float
    """Processor time until then."""
    first_call_ms: float
    second_call_ms: float
    rest_mib: float
    """Resident memory before the first call."""
    called_mib: float
    """Resident memory after the second."""


def run(context: Context) -> Findings:
    """Start the generated server and one on FastMCP's defaults by turns, for clients of both eras."""
    commands = {OURS: context.project.command(), DEFAULTS: python("fastmcp_defaults.py")}
    for name, command in commands.items():
        context.say(f"compiling: {name}")
        _start(context, command, Wire.LEGACY, in_session=name == DEFAULTS)
    found: dict[tuple[str, Wire], list[Start]] = {(name, wire): [] for wire in Wire for name in commands}
    rounds = context.rounds * (1 if context.quick else STARTS_PER_ROUND)
    for number in range(rounds):
        for name, wire in list(found)[:: 1 if number % 2 else -1]:
            in_session = name == DEFAULTS and wire is Wire.LEGACY
            start = _start(context, commands[name], wire, in_session=in_session)
            found[name, wire].append(start)
            context.say(
                f"start {number + 1}/{rounds}: {name}, {wire}: {start.answer_ms:.0f} ms, "
                f"first call {start.first_call_ms:.1f} ms"
            )
    raw = [
        {"server": name, "wire": wire.value, "starts": [dataclasses.asdict(start) for start in starts]}
        for (name, wire), starts in found.items()
    ]
    return Findings(_table(found), _verdicts(found), {"starts": raw})


def _start(context: Context, command: Command, wire: Wire, *, in_session: bool) -> Start:
    with running(command, context.directory) as server:
        answer = wait_for(server, HEALTH)
        cpu = server.cpu_seconds()
        time.sleep(REST_SECONDS)
        rest = server.rss_mib()
        call = tool_call(wire)
        if in_session:
            # The handshake is not timed, though it loads some of what the call needs.
            call = dataclasses.replace(call, sessions=(open_session(server.port),))
        seconds = []
        for _ in range(2):
            begun = time.perf_counter()
            verify(server.port, call)
            seconds.append(time.perf_counter() - begun)
        return Start(answer * 1e3, cpu * 1e3, seconds[0] * 1e3, seconds[1] * 1e3, rest, server.rss_mib())


def _of(starts: list[Start], name: str) -> list[float]:
    return [getattr(start, name) for start in starts]


def _table(found: dict[tuple[str, Wire], list[Start]]) -> Table:
    rows = []
    for (name, wire), starts in found.items():
        figures = [f"{statistics.median(_of(starts, field.name)):.1f}" for field in dataclasses.fields(Start)]
        rows.append((name, wire.value, *figures))
    headings = ("exec to 200, ms", "CPU ms", "first call ms", "second call ms", "RSS MiB", "RSS MiB, called")
    return Table(("server", "clients", *headings), rows)


def _verdicts(found: dict[tuple[str, Wire], list[Start]]) -> list[Verdict]:
    ours = [start for wire in Wire for start in found[OURS, wire]]
    theirs = [start for wire in Wire for start in found[DEFAULTS, wire]]
    clock = paired(_of(ours, "answer_ms"), _of(theirs, "answer_ms"), "time")
    cpu = paired(_of(ours, "cpu_ms"), _of(theirs, "cpu_ms"), "CPU")
    memory = paired(_of(ours, "rest_mib"), _of(theirs, "rest_mib"), "RSS")
    quietest = min(clock, cpu, key=lambda ratio: ratio.spread)
    result = [
        judge("exec to the first 200, of FastMCP's defaults", quietest, 1.15, at_least=False),
        judge("memory at rest, of FastMCP's defaults", memory, 1.1, at_least=False),
    ]
    for wire in Wire:
        mine, yours = (_of(found[name, wire], "first_call_ms") for name in (OURS, DEFAULTS))
        ratio = paired(mine, yours, "time").value
        how = f"median of {len(mine)} starts; {ratio:.2f} of FastMCP's defaults"
        middle = statistics.median(mine)
        result.append(Verdict(f"{wire}: first tool call", middle, FIRST_CALL_MS, False, how, "ms"))
    return result
