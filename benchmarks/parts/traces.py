"""What traces cost at the share that is kept by default."""

from __future__ import annotations

from ..context import Context, Findings
from ..figures import judge, speed
from ..loopback import answering
from ..project import HEALTH
from ..throughput import Variant, measure
from ..wire import Wire
from .calls import CONNECTIONS, OURS, generated

SHARE = 0.05
TRACED = f"traced at {SHARE:.0%}"


class NoSpansError(Exception):
    """The traced server sent no spans: it wasn't traced."""


def run(context: Context) -> Findings:
    """Measure the server without and with a collector that takes its spans."""
    with answering({}) as collector:
        command = context.project.command(TRACES_ENDPOINT=collector.url, TRACES_SAMPLE_RATIO=str(SHARE))
        found = measure(context, [generated(context.project), Variant(TRACED, command, HEALTH)])
        if not collector.posts:
            raise NoSpansError("no span reached the collector, so the figures would be those of no tracing")
        sent = f"The collector was sent {len(collector.posts)} batches, {sum(collector.posts) / 1e6:.1f} MB."
    verdicts = [
        judge(
            f"{wire}: speed while traced, of that without",
            speed(found.of(TRACED, wire, CONNECTIONS), found.of(OURS, wire, CONNECTIONS)),
            0.95,
        )
        for wire in Wire
    ]
    return Findings(found.table(), verdicts, found.raw(), sent)
