"""The parts of the benchmark: each measures one thing and judges its own promises."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..context import Context, Findings
from . import auth, calls, start, streams, tools, traces


@dataclass(frozen=True)
class Part:
    """A part: what it asks, and how it finds out."""

    title: str
    run: Callable[[Context], Findings]
    short_rounds: int = 0
    """If set, how many rounds of a second each stand for one usual round."""

    def context(self, given: Context) -> Context:
        """Return the context with the rounds that this part needs."""
        if not self.short_rounds or given.quick:
            return given
        return replace(given, rounds=given.rounds * self.short_rounds, seconds=1)


PARTS = {
    "calls": Part("Calls beside other servers", calls.run),
    "tools": Part("Fifty tools", tools.run),
    # A few hundredths are asked for, less than rounds differ by; neighbours in time share a mood.
    "traces": Part("Traces", traces.run, short_rounds=12),
    "auth": Part("Tokens", auth.run),
    "start": Part("Start and memory at rest", start.run),
    "streams": Part("Open streams", streams.run),
}
