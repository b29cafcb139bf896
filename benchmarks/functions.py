"""What the custom resources' functions cost: `python -m benchmarks.functions`.

Two tables. The first sets the import of each function's module, which is what Lambda counts as its start,
against `import boto3`, in fresh processes that take turns; the functions import boto3 with their first
client. The second says how long after the service is done CloudFormation hears of it: the function runs
against the local cloud's AgentCore in virtual time, so the figures don't depend on the machine. crhelper's
own polling, which an EventBridge rule drives every two minutes, stands beside it.
"""

from __future__ import annotations

import math
import random
import statistics
import subprocess
import sys
from unittest.mock import patch

from custom_resources import response
from custom_resources.lifecycle import lambda_handler_for
from tests.custom_resources.conftest import event
from tests.custom_resources.fakes import Context
from tests.custom_resources.faults.gateway_world import GATEWAYS, GatewayWorld
from tests.custom_resources.faults.world import Clients, Clock, Faults
from tests.custom_resources.reference import custom_resources

ROUNDS = 9
TRIES = 50
SERVICE_SECONDS = (2.0, 10.0, 30.0, 60.0, 90.0, 200.0)
CRHELPER_SECONDS = 120.0
# What is promised: a function's start in that of boto3, and what registering adds to the service's own time.
MOST_OF_BOTO3 = 1.5
MOST_ADDED_SECONDS = 5.0


def import_seconds(module: str) -> float:
    """Return how long a fresh process takes to import a module."""
    code = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def print_imports() -> float:
    """Print the first table; return the largest share of boto3's time."""
    modules = ["boto3", *(custom.resource.__module__ for custom in custom_resources())]
    times: dict[str, list[float]] = {module: [] for module in modules}
    for _ in range(ROUNDS):
        for module in modules:
            times[module].append(import_seconds(module))
    base = statistics.median(times["boto3"])
    print(f"{'import':<40}{'ms':>8}{'of boto3':>10}")
    medians = {module: statistics.median(times[module]) for module in modules}
    for module, median in medians.items():
        print(f"{module:<40}{median * 1000:>8.0f}{median / base:>10.2f}")
    return max(median / base for module, median in medians.items() if module != "boto3")


def added_seconds(service_seconds: float) -> float:
    """Return the seconds from READY to the response, where the service takes so long to register a target."""
    clock = Clock()
    faults = Faults(clock)
    world = GatewayWorld(clock, faults)
    world.step_seconds = service_seconds
    properties = {
        "GatewayIdentifier": GATEWAYS[0],
        "Name": "tools",
        "Endpoint": "https://one.example.com/mcp",
    }
    told: list[float] = []

    def deliver(url: str, body: dict[str, object], deadline: object) -> bool:  # noqa: ARG001 - deliver's
        assert body["Status"] == "SUCCESS", body["Reason"]  # noqa: S101
        told.append(clock.now())
        return True

    start = clock.now()
    handler = lambda_handler_for(GatewayWorld.resource, clients=lambda: Clients(world), clock=clock)
    with world.patches(), patch.object(response, "deliver", deliver):
        handler(event("Create", properties, "https://inbox"), Context(clock, GatewayWorld.seconds))
    return told[0] - start - service_seconds


def print_registration() -> float:
    """Print the second table; return the most seconds that were added."""
    random.seed(1)
    most = 0.0
    print(f"\n{'the service takes':<20}{'median added':>14}{'at most':>10}{'crhelper polls':>16}")
    for seconds in SERVICE_SECONDS:
        added = [added_seconds(seconds) for _ in range(TRIES)]
        most = max(most, *added)
        polled = math.ceil(seconds / CRHELPER_SECONDS) * CRHELPER_SECONDS - seconds
        print(f"{seconds:>15.0f} s{statistics.median(added):>14.1f} s{max(added):>10.1f} s{polled:>12.0f} s")
    return most


if __name__ == "__main__":
    import logging

    logging.disable(logging.CRITICAL)
    share, seconds = print_imports(), print_registration()
    print(f"\nimport: {share:.2f} of boto3's at most; promised are {MOST_OF_BOTO3:.2f}")
    print(f"registration: {seconds:.1f} s added at most; promised are {MOST_ADDED_SECONDS:.1f} s")
    sys.exit(share > MOST_OF_BOTO3 or seconds > MOST_ADDED_SECONDS)
