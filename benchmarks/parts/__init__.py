"""The parts of the benchmark: each measures one thing and judges its own promises."""

from collections.abc import Callable
from dataclasses import dataclass

from ..context import Context, Findings
from . import auth, calls, start, streams, tools, traces


@dataclass(frozen=True)
class Part:
    """A part: what it asks, and how it finds out."""

    title: str
    run: Callable[[Context], Findings]


PARTS = {
    "calls": Part("Calls beside other servers", calls.run),
    "tools": Part("Fifty tools", tools.run),
    "traces": Part("Traces", traces.run),
    "auth": Part("Tokens", auth.run),
    "start": Part("Start and memory at rest", start.run),
    "streams": Part("Open streams", streams.run),
}
