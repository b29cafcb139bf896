"""Following a stack operation to its end, live."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime

from botocore.exceptions import BotoCoreError, ClientError
from rich.live import Live
from rich.table import Table

from ops import stacks
from ops.aws import Aws
from ops.console import Screen
from ops.errors import INTERRUPTED, OpsError, explain, is_transient
from ops.events import Event, EventStream

_FIRST_PAUSE, _LAST_PAUSE, _GROWTH = 1.0, 5.0, 1.2
_PATIENCE = 300.0
"""Seconds without an answer from AWS before following is given up."""


@dataclass(frozen=True)
class Outcome:
    """How an operation ended.

    Attributes:
        status: the stack's status; `DELETE_COMPLETE` also when the stack can't be found any more.
        reason: what CloudFormation says about it; may be empty.
        events: all events of the operation, nested stacks included.
        seconds: how long it was followed.

    """

    status: str
    reason: str
    events: list[Event]
    seconds: float


@dataclass
class Pauses:
    """Seconds between polls: from 1 growing to 5, or always `OPS_POLL_SECONDS`."""

    pause: float = _FIRST_PAUSE
    fixed: float | None = field(default_factory=lambda: poll_seconds())
    sleep: Callable[[float], None] = time.sleep

    def wait(self) -> None:
        """Sleep, a little longer each time."""
        self.sleep(self.pause if self.fixed is None else self.fixed)
        self.pause = min(self.pause * _GROWTH, _LAST_PAUSE)


def poll_seconds() -> float | None:
    """Return the fixed polling interval set in the environment; None if there is none."""
    text = os.environ.get("OPS_POLL_SECONDS", "")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise OpsError(f"OPS_POLL_SECONDS must be a number of seconds, not {text!r}.", 2)
    return seconds


def follow(aws: Aws, screen: Screen, stack_id: str, name: str, since: datetime) -> Outcome:
    """Show a stack's events until the operation on it has ended.

    Args:
        aws: the session.
        screen: where to show them.
        stack_id: the stack's id, which stays valid after its deletion.
        name: the stack's name.
        since: when its newest event before the operation was; see `events.newest`.

    Raises:
        OpsError: stopped with Ctrl-C, or AWS could not be asked any more. The operation itself goes on.

    """
    stream, started = EventStream(aws.cloudformation, stack_id, name, since), time.monotonic()
    board = _Board(name, screen)
    try:
        with board:
            status, reason = _poll_until_done(aws, screen, stack_id, stream, board)
    except KeyboardInterrupt as error:
        raise OpsError(_goes_on(aws, name, "Stopped following."), INTERRUPTED) from error
    except (BotoCoreError, ClientError) as error:
        told = explain(error)
        raise OpsError(_goes_on(aws, name, str(told)), told.exit_code) from error
    return Outcome(status, reason, stream.all, time.monotonic() - started)


def _poll_until_done(
    aws: Aws, screen: Screen, stack_id: str, stream: EventStream, board: _Board
) -> tuple[str, str]:
    pauses, answered, lost = Pauses(), time.monotonic(), False
    while True:
        try:
            stack = stacks.describe(aws.cloudformation, stack_id)
            # Read after the status, so that the last events of an ended operation are all there.
            board.show(stream.poll())
        except (BotoCoreError, ClientError) as error:
            if not is_transient(error) or time.monotonic() - answered > _PATIENCE:
                raise
            if not lost:
                screen.note(f"No answer from AWS, trying again: {explain(error)}", "yellow")
            lost = True
        else:
            answered, lost = time.monotonic(), False
            status = stack["StackStatus"] if stack else "DELETE_COMPLETE"
            if not status.endswith("_IN_PROGRESS"):
                return status, stack.get("StackStatusReason", "") if stack else ""
        pauses.wait()


def _goes_on(aws: Aws, name: str, first: str) -> str:
    return (
        f"{first}\nThe operation on {name} goes on in AWS. Follow it again with\n"
        f"  python -m ops follow --stack-name {name} --region {aws.region}"
    )


class _Board:
    """The events: one line each, or on a terminal one moving row per stack and lines for failures only."""

    def __init__(self, name: str, screen: Screen) -> None:
        self._screen = screen
        self._name = name
        self._rows: dict[str, dict[str, Event]] = {}
        self._names: dict[str, str] = {}
        self._live: AbstractContextManager[object] = nullcontext()
        if screen.live:
            self._live = Live(
                console=screen.progress, get_renderable=self._table, refresh_per_second=4, transient=True
            )

    def __enter__(self) -> None:
        self._live.__enter__()

    def __exit__(self, *details: object) -> None:
        self._live.__exit__(*details)  # type: ignore[arg-type]

    def show(self, events: list[Event]) -> None:
        """Show new events."""
        for event in events:
            failed = event.status.endswith("_FAILED")
            if event.of_stack_itself:
                self._names[event.stack_id] = event.path
            self._rows.setdefault(event.stack_id, {})[event.path] = event
            # A nested stack's own events repeat what its parent says of it.
            repeated = event.of_stack_itself and event.path != self._name
            if failed or not (repeated or self._screen.live):
                self._screen.note(_line(event), "red" if failed else "")

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("stack", "status", "done", "in progress"):
            table.add_column(title, justify="right" if title == "done" else "left")
        for stack_id, latest in self._rows.items():
            own = latest.get(self._names.get(stack_id, ""))
            parts = [event for event in latest.values() if not event.of_stack_itself]
            busy = [event for event in parts if event.status.endswith("_IN_PROGRESS")]
            table.add_row(
                self._names.get(stack_id, self._name),
                own.status if own else "",
                f"{len(parts) - len(busy)}/{len(parts)}",
                ", ".join(_busy(event) for event in busy[:3]) + (" …" if len(busy) > 3 else ""),
            )
        return table


def _busy(event: Event) -> str:
    seconds = max(0, int(time.time() - event.time.timestamp()))
    return f"{event.path.rpartition('/')[2]} {seconds} s"


def _line(event: Event) -> str:
    reason = " ".join(event.reason.split())
    clock = event.time.astimezone().strftime("%H:%M:%S")
    return f"{clock}  {event.status:<28} {event.path} ({event.kind}){f': {reason}' if reason else ''}"
