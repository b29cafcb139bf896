"""Waiting inside a Lambda function: a deadline, and polling that slows down.

Time is a parameter (`Clock`), so that a test of a fifteen-minute wait takes no time.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from custom_resources.errors import DeadlineReached

T = TypeVar("T")

FIRST_INTERVAL = 1.0
LONGEST_INTERVAL = 10.0
GROWTH = 1.5
# Each pause is drawn from this part of the interval up to all of it, so parallel functions don't march in
# step.
JITTER_FLOOR = 0.7


class Clock(Protocol):
    """What the waiting code needs of time, in seconds."""

    def now(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Seconds since an arbitrary point."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block this thread."""
        time.sleep(seconds)


@dataclass(frozen=True)
class Deadline:
    """A moment on a clock."""

    clock: Clock
    at: float

    def remaining(self) -> float:
        """Seconds left; zero when it has passed."""
        return max(0.0, self.at - self.clock.now())

    def earlier_by(self, seconds: float) -> "Deadline":
        """Return the deadline that leaves so many seconds for what comes afterwards."""
        return Deadline(self.clock, self.at - seconds)

    def share(self, fraction: float, *, at_most: float) -> "Deadline":
        """Return the deadline after `fraction` of the time left, `at_most` seconds from now."""
        return Deadline(self.clock, self.clock.now() + min(self.remaining() * fraction, at_most))


@dataclass
class Activity:
    """What the function is doing, in words that complete "it was …"."""

    text: str = "starting"


def intervals(longest: float = LONGEST_INTERVAL) -> Iterator[float]:
    """Pauses in seconds, growing from FIRST_INTERVAL to `longest`, each shortened by up to 30 % at random."""
    interval = FIRST_INTERVAL
    while True:
        yield interval * random.uniform(JITTER_FLOOR, 1.0)  # noqa: S311 - spreads load, protects nothing
        interval = min(interval * GROWTH, longest)


def poll(
    attempt: Callable[[], T | None],
    deadline: Deadline,
    on_timeout: Callable[[], str],
    *,
    longest: float = LONGEST_INTERVAL,
) -> T:
    """Call `attempt` until it returns something other than None, with pauses that grow to `longest` seconds.

    Raises DeadlineReached with the text of `on_timeout()` when the next pause would end after the deadline.
    """
    for pause in intervals(longest):
        result = attempt()
        if result is not None:
            return result
        if deadline.remaining() <= pause:
            raise DeadlineReached(on_timeout())
        deadline.clock.sleep(pause)
    raise AssertionError("intervals() doesn't end")


def retry(call: Callable[[], T], should_retry: Callable[[Exception], bool], deadline: Deadline) -> T:
    """Return what `call` returns; repeat it while `should_retry(error)` and the deadline allows.

    The last error is raised as it came.
    """
    for pause in intervals():
        try:
            return call()
        except Exception as error:
            if not should_retry(error) or deadline.remaining() <= pause:
                raise
        deadline.clock.sleep(pause)
    raise AssertionError("intervals() doesn't end")
