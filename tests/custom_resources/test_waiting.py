"""Deadlines and pauses."""

from __future__ import annotations

from itertools import islice

import pytest

from custom_resources.errors import DeadlineReached
from custom_resources.waiting import Deadline, SystemClock, intervals, poll, retry
from tests.custom_resources.fakes import Clock


def test_pauses_grow_to_their_limit_with_jitter() -> None:
    pauses = [list(islice(intervals(), 12)) for _ in range(200)]
    assert all(0.7 <= run[0] <= 1.0 for run in pauses)
    assert all(7.0 <= run[-1] <= 10.0 for run in pauses)
    assert len({run[0] for run in pauses}) > 100


def test_a_share_is_bounded_by_fraction_and_by_seconds() -> None:
    clock = Clock()
    deadline = Deadline(clock, clock.now() + 90)
    assert deadline.share(1 / 3, at_most=300).remaining() == pytest.approx(30)
    assert deadline.share(1 / 3, at_most=10).remaining() == pytest.approx(10)
    assert deadline.earlier_by(20).remaining() == pytest.approx(70)
    assert deadline.earlier_by(200).remaining() == 0


def test_poll_returns_the_first_result_and_never_sleeps_past_the_deadline() -> None:
    clock = Clock()
    answers = iter([None, None, "done"])
    assert poll(lambda: next(answers), Deadline(clock, clock.now() + 60), lambda: "late") == "done"
    end = clock.now() + 60
    with pytest.raises(DeadlineReached, match="late"):
        poll(lambda: None, Deadline(clock, end), lambda: "late")
    assert end - 10 <= clock.now() <= end


def test_retry_raises_the_last_error_as_it_came() -> None:
    clock = Clock()
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        raise KeyError(len(calls))

    with pytest.raises(KeyError, match="1"):
        retry(call, lambda error: False, Deadline(clock, clock.now() + 60))
    assert len(calls) == 1
    with pytest.raises(KeyError):
        retry(call, lambda error: isinstance(error, KeyError), Deadline(clock, clock.now() + 60))
    assert len(calls) > 5


def test_the_system_clock_moves() -> None:
    clock = SystemClock()
    start = clock.now()
    clock.sleep(0.01)
    assert clock.now() - start >= 0.01
