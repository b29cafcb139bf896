"""Every type under faults: sequences of requests, each fault at each call, and each event twice at once.

`FAULT_SEQUENCES` says how many sequences of requests each type is put through, the same ones each time;
`FAULT_RANDOM=1` draws others. `FAULTS` names the faults of the lives that have one: "FAILED,BUSY".
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.custom_resources.faults.machine import ResourceMachine, sequences
from tests.custom_resources.faults.world import Fault, World
from tests.custom_resources.faults.worlds import WORLDS
from tests.custom_resources.reference import custom_resources

FULL = int(os.environ.get("FAULT_SEQUENCES", "0"))
# The everyday tests leave out what others nearly are.
EVERYDAY = "FAILED,ANSWER_LOST,FUNCTION_KILLED_AFTER,BUSY,WORK_FAILS"
NAMED = os.environ.get("FAULTS", "" if FULL else EVERYDAY)
FAULTS = [Fault[name] for name in NAMED.split(",")] if NAMED else list(Fault)
STAGES = ("Create", "Update", "Replace", "Delete")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The functions' log of thousands of requests would be all there is to read."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def machine_of(world: type[World]) -> type[ResourceMachine]:
    """Return the state machine of a world."""
    return type(f"{world.__name__}Machine", (ResourceMachine,), {"world_class": world})


def test_every_type_has_a_world() -> None:
    assert {world.resource for world in WORLDS} == {custom.resource for custom in custom_resources()}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("world", WORLDS, ids=[world.__name__ for world in WORLDS])
def test_nothing_leaks_lies_or_hangs(world: type[World], say: Callable[[str], None]) -> None:
    before = sequences[world.__name__]
    run_state_machine_as_test(
        machine_of(world),
        settings=settings(
            max_examples=FULL or WORLDS[world],
            stateful_step_count=12,
            deadline=None,
            database=None,
            # The same on every machine, unless somebody goes looking for more.
            derandomize="FAULT_RANDOM" not in os.environ,
            print_blob=True,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
    run = sequences[world.__name__] - before
    say(f"{world.resource.__name__}: {run} sequences")
    assert run >= (FULL or WORLDS[world])


@pytest.mark.parametrize("world", WORLDS, ids=[world.__name__ for world in WORLDS])
def test_any_one_fault_at_any_one_call(world: type[World], say: Callable[[str], None]) -> None:
    lives = 0
    for stage in STAGES:
        calls = machine_of(world)().live(stage, {})
        for call, fault in itertools.product(range(calls), FAULTS):
            try:
                machine_of(world)().live(stage, {call: fault})
            except AssertionError as error:
                raise AssertionError(f"{stage} with {fault.name} at call {call}: {error}") from error
            lives += 1
    say(f"{world.resource.__name__}: {lives} lives with one fault each")


@pytest.mark.parametrize("world", WORLDS, ids=[world.__name__ for world in WORLDS])
def test_two_deliveries_of_one_event_at_once(world: type[World], say: Callable[[str], None]) -> None:
    lives = 0
    for stage in STAGES:
        for call in range(machine_of(world)().live(stage, {})):
            try:
                machine_of(world)().live(stage, {}, again_at=call)
            except AssertionError as error:
                raise AssertionError(f"{stage} delivered again at call {call}: {error}") from error
            lives += 1
    say(f"{world.resource.__name__}: {lives} lives with two deliveries at once")
