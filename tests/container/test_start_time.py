"""How long a start takes on the smallest task, and whether the templates wait long enough for it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.infrastructure.cloudformation import Templates, resources

from . import caller
from .conftest import START_TIMEOUT_SECONDS, URL
from .engine import AS_ON_FARGATE, Engine
from .network import cable
from .test_running import add

STARTS = 3
# Fargate's processors, its network disk and a busy neighbour: a start there may take this many times as long.
MARGIN = 3
# A quarter of a vCPU took 10 to 14 seconds before the standard library was compiled into the image.
LIMIT_SECONDS = 8
# It took 0.7 seconds while the first call imported the store of session state.
FIRST_CALL_LIMIT_SECONDS = 0.25


@dataclass(frozen=True)
class Starts:
    """Seconds of the slowest start, until /health answers 200, and of the fastest first tool call."""

    slowest: float
    first_call: float


@pytest.fixture(scope="module")
def starts(engine: Engine, image: str, say: Callable[[str], None]) -> Starts:
    """Start a few times, each time asking from another namespace."""
    seconds, calls = [], []
    for _ in range(STARTS):
        with cable("start") as ends:
            options = (*AS_ON_FARGATE, f"--network=ns:{ends.task_path}")
            container = engine.create(image, options=options)
            try:
                asking = caller.start(ends.caller, START_TIMEOUT_SECONDS, url=f"{URL}/health")
                begin = time.time()
                engine.start(container)
                answer = caller.finish(asking)
                assert answer.get("status") == 200, f"{answer}\n{container.output()}"
                seconds.append(float(answer["at"]) - begin)
                calls.append(float(add(ends)["seconds"]))
            finally:
                engine.remove(container)
    every = ", ".join(f"{value:.1f}" for value in seconds)
    say(f"start: {statistics.median(seconds):.1f} s to /health at 0.25 vCPU (median of {every})")
    say(f"first tool call: {min(calls) * 1000:.0f} ms at 0.25 vCPU")
    return Starts(max(seconds), min(calls))


def test_the_start_is_short(starts: Starts) -> None:
    assert starts.slowest < LIMIT_SECONDS


def test_the_first_call_is_no_slower_than_others(starts: Starts) -> None:
    assert starts.first_call < FIRST_CALL_LIMIT_SECONDS


def test_the_start_period_covers_it(starts: Starts, container_definition: dict[str, Any]) -> None:
    assert starts.slowest * MARGIN < container_definition["HealthCheck"]["StartPeriod"]


def test_the_grace_period_covers_it_and_the_load_balancers_checks(
    starts: Starts, templates: Templates
) -> None:
    group = resources(templates["alb"], "AWS::ElasticLoadBalancingV2::TargetGroup")["BlueTargetGroup"]
    ((_, service),) = resources(templates["fargate"], "AWS::ECS::Service").items()
    checks = group["HealthyThresholdCount"] * group["HealthCheckIntervalSeconds"]
    assert starts.slowest * MARGIN + checks < service["HealthCheckGracePeriodSeconds"]
