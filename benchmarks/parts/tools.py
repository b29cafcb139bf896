"""What many tools cost a call of one of them."""

from __future__ import annotations

from ..context import Context, Findings
from ..figures import judge, speed
from ..project import HEALTH
from ..throughput import Variant, measure
from ..wire import Wire
from .calls import CONNECTIONS, OURS, generated

COUNT = 50
MANY = f"{COUNT} tools"


def run(context: Context) -> Findings:
    """Measure the server as generated, with its few tools, and with fifty."""
    many = Variant(MANY, context.project.command_with_tools(COUNT), HEALTH)
    found = measure(context, [generated(context.project), many])
    verdicts = [
        judge(
            f"{wire}: speed with {COUNT} tools, of that with few",
            speed(found.of(MANY, wire, CONNECTIONS), found.of(OURS, wire, CONNECTIONS)),
            0.9,
        )
        for wire in Wire
    ]
    return Findings(found.table(), verdicts, found.raw())
