"""What a schedule says: the total, the chain, and what a change could win."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.infrastructure.cloudformation import Templates
from tests.infrastructure.critical_path.graph import STACK, Deploy, Step, Wait
from tests.infrastructure.critical_path.schedule import Schedule
from tests.infrastructure.critical_path.times import ASSUMED


@dataclass(frozen=True)
class Gain:
    """What would end the deploy earlier, and by how many seconds."""

    what: str
    seconds: int


@dataclass(frozen=True)
class Findings:
    """Of one stage's first deploy; all times are seconds.

    `floor` is the total if no stack waited for more of another than it uses. What each step of the chain
    costs by itself is in `steps_won`, and each wait in `waits_won`, largest first.
    """

    schedule: Schedule
    floor: int
    steps_won: list[Gain]
    waits_won: list[Gain]

    @property
    def chain(self) -> list[Step]:
        """The steps that decide the end, first to last."""
        return [self.schedule.steps[name] for name in self.schedule.chain]

    @property
    def assumed(self) -> int:
        """How many seconds of the chain nobody published."""
        return sum(step.time.seconds for step in self.chain if step.time.source == ASSUMED)


def find(templates: Templates, values: Mapping[str, str], region: str) -> Findings:
    """Return the findings of a first deploy with these parameters of the root template."""
    deploy = Deploy(templates, values, region)
    steps = deploy.steps()
    schedule = Schedule.of(steps)
    steps_won = [
        Gain(name, schedule.total - Schedule.of(steps, [name]).total)
        for name in schedule.chain
        if schedule.steps[name].resource_type != STACK
    ]
    waits = deploy.waits()
    waits_won = [Gain(str(wait), schedule.total - _total(deploy, [wait])) for wait in waits]
    return Findings(
        schedule=schedule,
        floor=_total(deploy, waits),
        steps_won=_largest_first(steps_won),
        waits_won=_largest_first(waits_won),
    )


def _total(deploy: Deploy, loosened: list[Wait]) -> int:
    return Schedule.of(deploy.steps(frozenset(loosened))).total


def _largest_first(gains: list[Gain]) -> list[Gain]:
    return sorted((gain for gain in gains if gain.seconds > 0), key=lambda gain: (-gain.seconds, gain.what))
