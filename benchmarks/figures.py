"""What is made of measurements: medians, ratios of paired rounds, and whether a promise is kept.

Two servers are compared round by round, since what disturbs a machine for a while disturbs neighbours in time
alike. Of several ways to see the same ratio, the one that varied least over the rounds is believed.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One cell of one round."""

    calls_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Processor time of the server per call."""


@dataclass(frozen=True)
class Ratio:
    """Ours to theirs: the median over the rounds, and how far the rounds lie apart."""

    value: float
    spread: float
    """Half of the distance between the quartiles, as a share of the median: 0.02 is 2 %."""
    measure: str


@dataclass(frozen=True)
class Verdict:
    """A promise, and what was found."""

    promise: str
    found: float
    bound: float
    at_least: bool
    """Whether the bound is the least allowed; otherwise it is the most."""
    how: str
    """What was measured, and how."""
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether the promise is kept."""
        return self.found >= self.bound if self.at_least else self.found <= self.bound


def paired(ours: Sequence[float], theirs: Sequence[float], measure: str) -> Ratio:
    """Return ours : theirs over rounds measured side by side; raises `ValueError` on unequal numbers."""
    ratios = [mine / yours for mine, yours in zip(ours, theirs, strict=True)]
    if len(ratios) == 1:
        return Ratio(ratios[0], 0.0, measure)
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(middle, (high - low) / 2 / middle, measure)


def speed(ours: Sequence[Sample], theirs: Sequence[Sample]) -> Ratio:
    """Return how many times as fast ours is, by processor time or calls a second: what varies less."""
    calls = paired(
        [sample.calls_per_second for sample in ours],
        [sample.calls_per_second for sample in theirs],
        "calls/s",
    )
    cpu = paired([sample.cpu_us for sample in theirs], [sample.cpu_us for sample in ours], "CPU per call")
    return min(cpu, calls, key=lambda ratio: ratio.spread)


def tail(ours: Sequence[Sample], theirs: Sequence[Sample]) -> Ratio:
    """Return the ratio of the 99th percentiles."""
    return paired([sample.p99_ms for sample in ours], [sample.p99_ms for sample in theirs], "p99")


def middle(samples: Sequence[Sample]) -> Sample:
    """Return the median of each figure by itself."""
    return Sample(
        statistics.median(sample.calls_per_second for sample in samples),
        statistics.median(sample.p50_ms for sample in samples),
        statistics.median(sample.p99_ms for sample in samples),
        statistics.median(sample.cpu_us for sample in samples),
    )


def judge(promise: str, ratio: Ratio, bound: float, *, at_least: bool = True) -> Verdict:
    """Return the verdict on a ratio."""
    how = f"by {ratio.measure}, rounds ±{ratio.spread:.0%}"
    return Verdict(promise, ratio.value, bound, at_least, how)
