from __future__ import annotations

import pytest

from benchmarks.figures import Ratio, Sample, Verdict, judge, middle, paired, speed, tail


def sample(calls: float = 1000, p99: float = 10, cpu: float = 700) -> Sample:
    return Sample(calls, p50_ms=5, p99_ms=p99, cpu_us=cpu)


def test_rounds_are_compared_in_pairs() -> None:
    # The medians alone would say 200 / 100; the machine was twice as fast in the last two rounds.
    ratio = paired([300, 200, 200], [100, 100, 50], "calls/s")
    assert ratio.value == 3
    # Ratios of 2, 3 and 4: the quartiles are 2.5 and 3.5.
    assert ratio.spread == pytest.approx(0.5 / 3)


def test_one_round_lies_nowhere_apart() -> None:
    assert paired([3], [2], "calls/s") == Ratio(1.5, 0.0, "calls/s")


def test_a_missing_round_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired([1, 2], [1], "calls/s")


@pytest.mark.parametrize(
    ("ours", "measure", "value"),
    [
        ([sample(2000, cpu=300), sample(2000, cpu=350)], "calls/s", 2.0),
        ([sample(2100, cpu=350), sample(1500, cpu=350)], "CPU per call", 2.0),
    ],
)
def test_the_figure_that_varies_less_is_believed(ours: list[Sample], measure: str, value: float) -> None:
    found = speed(ours, [sample(), sample()])
    assert found.measure == measure
    assert found.value == pytest.approx(value)


def test_less_processor_time_is_more_speed_and_less_waiting_a_shorter_tail() -> None:
    assert speed([sample(cpu=350)], [sample(cpu=700)]).value == 2
    assert tail([sample(p99=5)], [sample(p99=20)]).value == 0.25


def test_each_median_is_taken_by_itself() -> None:
    found = middle([sample(1, p99=30, cpu=9), sample(2, p99=10, cpu=8), sample(3, p99=20, cpu=7)])
    assert (found.calls_per_second, found.p99_ms, found.cpu_us) == (2, 20, 8)


@pytest.mark.parametrize(
    ("found", "at_least", "met"),
    [(2.0, True, True), (1.99, True, False), (2.0, False, True), (2.01, False, False)],
)
def test_a_bound_is_kept_when_it_is_reached(found: float, at_least: bool, met: bool) -> None:
    verdict = judge("speed", Ratio(found, 0.034, "calls/s"), 2.0, at_least=at_least)
    assert verdict.met is met
    assert verdict.how == "by calls/s, rounds ±3%"


def test_a_verdict_may_have_a_unit() -> None:
    assert Verdict("first call", 19.9, 20, False, "median of 9 starts", "ms").met
