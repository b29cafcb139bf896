"""The critical path method: when each step can begin, when it must, and which steps decide the end."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter

from tests.infrastructure.critical_path.graph import Step


@dataclass(frozen=True)
class Schedule:
    """Steps with as many hands as they need; all times are seconds since the beginning.

    `instant` names steps that are taken to need no time.
    """

    steps: Mapping[str, Step]
    instant: frozenset[str] = frozenset()

    @classmethod
    def of(cls, steps: Iterable[Step], instant: Iterable[str] = ()) -> "Schedule":
        """Return the schedule of some steps; a need that is no step is a KeyError, a circle a ValueError."""
        return cls({step.name: step for step in steps}, frozenset(instant))

    def seconds(self, name: str) -> int:
        """Return how long a step takes."""
        return 0 if name in self.instant else self.steps[name].time.seconds

    @cached_property
    def _order(self) -> list[str]:
        return list(TopologicalSorter({name: step.needs for name, step in self.steps.items()}).static_order())

    @cached_property
    def begin(self) -> dict[str, int]:
        """The earliest second in which each step can begin."""
        begin: dict[str, int] = {}
        for name in self._order:
            begin[name] = max(
                (begin[need] + self.seconds(need) for need in self.steps[name].needs), default=0
            )
        return begin

    @cached_property
    def total(self) -> int:
        """Seconds until the last step is done."""
        return max((self.begin[name] + self.seconds(name) for name in self.steps), default=0)

    @cached_property
    def slack(self) -> dict[str, int]:
        """Seconds that each step could take longer without a later end."""
        latest = dict.fromkeys(self.steps, self.total)
        for name in reversed(self._order):
            for need in self.steps[name].needs:
                latest[need] = min(latest[need], latest[name] - self.seconds(name))
        return {name: latest[name] - self.begin[name] - self.seconds(name) for name in self.steps}

    @cached_property
    def chain(self) -> list[str]:
        """The steps that decide the end, first to last; of several such chains the first by name."""
        chain: list[str] = []
        candidates = sorted(
            name for name in self.steps if self.begin[name] + self.seconds(name) == self.total
        )
        while candidates:
            chain.append(candidates[0])
            begin = self.begin[chain[-1]]
            needs = sorted(self.steps[chain[-1]].needs)
            candidates = [need for need in needs if self.begin[need] + self.seconds(need) == begin]
        return chain[::-1]
