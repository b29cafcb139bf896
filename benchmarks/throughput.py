"""Calls under load: every server in every round, one after another, so that all share the machine's moods."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from . import wrk
from .context import Context, Table
from .figures import Sample, middle
from .processes import Command, Server, running, wait_for
from .wire import Call, Wire, open_session, tool_call, verify

WARM_UP_SECONDS = 1


@dataclass(frozen=True)
class Variant:
    """A server to measure."""

    name: str
    command: Command
    health: str | None = None
    """A path that answers 200 once it serves."""
    in_sessions: bool = False
    """Whether it answers 2025 clients in sessions only."""
    token: str | None = None


class Cell(NamedTuple):
    """What is measured on its own."""

    variant: str
    wire: Wire
    connections: int


@dataclass(frozen=True)
class Measured:
    """The samples of each cell, by round, and each server's memory after the last."""

    samples: dict[Cell, list[Sample]]
    rss_mib: dict[str, float]

    def of(self, variant: str, wire: Wire, connections: int) -> list[Sample]:
        """Return a cell's samples."""
        return self.samples[Cell(variant, wire, connections)]

    def table(self) -> Table:
        """Return the medians over the rounds."""
        rows = []
        for cell, samples in self.samples.items():
            found = middle(samples)
            figures = (f"{found.calls_per_second:,.0f}", f"{found.p50_ms:.2f}", f"{found.p99_ms:.1f}")
            cost = (f"{found.cpu_us:,.0f}", f"{self.rss_mib[cell.variant]:.0f}")
            rows.append((cell.variant, cell.wire.value, str(cell.connections), *figures, *cost))
        headings = (
            "server",
            "clients",
            "connections",
            "calls/s",
            "p50 ms",
            "p99 ms",
            "CPU µs/call",
            "RSS MiB",
        )
        return Table(headings, rows)

    def raw(self) -> dict[str, Any]:
        """Return every sample."""
        cells = [
            {**cell._asdict(), "rounds": [dataclasses.asdict(sample) for sample in samples]}
            for cell, samples in self.samples.items()
        ]
        return {"cells": cells, "rss_mib": self.rss_mib}


def measure(
    context: Context,
    variants: Sequence[Variant],
    *,
    wires: Sequence[Wire] = tuple(Wire),
    connections: Sequence[int] = (16,),
) -> Measured:
    """Start every server, then go round: each cell of each server for a while, its answer checked first."""
    with contextlib.ExitStack() as stack:
        servers = {variant.name: stack.enter_context(_serving(context, variant)) for variant in variants}
        calls = {
            (variant.name, wire): prepare(variant, servers[variant.name], wire, max(connections))
            for variant in variants
            for wire in wires
        }
        cells = [
            Cell(variant.name, wire, count) for wire in wires for count in connections for variant in variants
        ]
        samples: dict[Cell, list[Sample]] = {cell: [] for cell in cells}
        for (name, wire), call in calls.items():
            context.say(f"warming up: {name}, {wire}")
            _sample(context, servers[name], call, max(connections), WARM_UP_SECONDS)
        for number in range(context.rounds):
            # Each round begins with another cell, so that none always follows the same one.
            start = number * len(cells) // context.rounds
            for cell in cells[start:] + cells[:start]:
                server, call = servers[cell.variant], calls[cell.variant, cell.wire]
                sample = _sample(context, server, call, cell.connections, context.seconds)
                samples[cell].append(sample)
                context.say(
                    f"round {number + 1}/{context.rounds}: {cell.variant}, {cell.wire}, "
                    f"{cell.connections} connections: {sample.calls_per_second:,.0f} calls/s"
                )
        return Measured(samples, {name: server.rss_mib() for name, server in servers.items()})


@contextlib.contextmanager
def _serving(context: Context, variant: Variant) -> Iterator[Server]:
    with running(variant.command, context.directory) as server:
        wait_for(server, variant.health)
        yield server


def prepare(variant: Variant, server: Server, wire: Wire, sessions: int) -> Call:
    """Return the call as a server wants it, after as many handshakes as it needs sessions."""
    call = tool_call(wire, token=variant.token)
    if not (variant.in_sessions and wire is Wire.LEGACY):
        return call
    return dataclasses.replace(call, sessions=tuple(open_session(server.port) for _ in range(sessions)))


def _sample(context: Context, server: Server, call: Call, connections: int, seconds: int) -> Sample:
    verify(server.port, call)
    before = server.cpu_seconds()
    load = wrk.load(server.port, call, connections=connections, seconds=seconds, directory=context.directory)
    spent = server.cpu_seconds() - before
    return Sample(load.calls / load.seconds, load.p50_ms, load.p99_ms, spent * 1e6 / load.calls)
