"""Custom::GatewayTarget in several threads at once, against one gateway that takes five changes at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch

import pytest

from custom_resources import gateway_target, response
from custom_resources.gateway_target import GatewayTarget
from custom_resources.lifecycle import lambda_handler_for
from tests.custom_resources.conftest import event
from tests.custom_resources.fakes import GATEWAY, ApiError, Clients, Context, Gateway

MOST_CHANGES = 5
IN_PROGRESS = frozenset({"CREATING", "UPDATING", "SYNCHRONIZING", "DELETING"})
# Waiting goes by this many times faster than on the wall.
FASTER = 10.0


class FastClock:
    """The machine's clock, faster."""

    def now(self) -> float:
        return time.monotonic() * FASTER

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / FASTER)


class BusyGateway(Gateway):
    """A gateway that refuses a sixth change while five are under way, one call after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()
        self.refused = 0
        # Long enough for the others to come in between.
        for change, statuses in self.plans.items():
            self.plans[change] = [statuses[0]] * 3 + statuses[1:]

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.endswith(("_target", "_targets")) or name == "_target":
            return found

        def one_at_a_time(**parameters: Any) -> Any:
            with self._lock:
                busy = sum(target.statuses[0] in IN_PROGRESS for target in self.targets.values())
                if not name.startswith(("get_", "list_")) and busy >= MOST_CHANGES:
                    self.refused += 1
                    raise ApiError("ServiceQuotaExceededException", "Too many concurrent operations", 402)
                return found(**parameters)

        return one_at_a_time


@pytest.fixture
def answers() -> Iterator[list[dict[str, Any]]]:
    told: list[dict[str, Any]] = []

    def deliver(url: str, body: dict[str, Any], deadline: object) -> bool:
        told.append(body)
        return True

    with (
        patch.object(response, "deliver", deliver),
        patch.object(gateway_target, "list_tools", lambda *_, **__: ("add", "search")),
    ):
        yield told


def run_at_once(gateway: Gateway, requests: list[dict[str, Any]]) -> None:
    """Handle each request in a thread of its own, all from the same moment."""
    clock, gate = FastClock(), threading.Barrier(len(requests))

    def run(request: dict[str, Any], clients: Clients) -> None:
        handler = lambda_handler_for(GatewayTarget, clients=lambda: clients, clock=clock)
        gate.wait(timeout=30)
        handler(request, Context(clock))

    every = [Clients(gateway=gateway) for _ in requests]
    for clients in every:
        # Made here: a session of boto3's isn't for several threads.
        clients.gateway()
    with ThreadPoolExecutor(len(requests)) as threads:
        list(threads.map(run, requests, every))


def request_of(kind: str, name: str, request_id: str) -> dict[str, Any]:
    properties = {"GatewayIdentifier": GATEWAY, "Name": name, "Endpoint": "https://host/mcp"}
    more: dict[str, Any] = {} if kind == "Create" else {"physical_id": f"{GATEWAY}|{name}"}
    return event(kind, properties, "https://inbox", request_id=request_id, logical_id=name, **more)


def test_more_stacks_than_the_gateway_takes_changes_wait_for_each_other(
    answers: list[dict[str, Any]],
) -> None:
    gateway, names = BusyGateway(), [f"tools-{number}" for number in range(8)]
    run_at_once(gateway, [request_of("Create", name, f"create-{name}") for name in names])
    assert [body["Status"] for body in answers] == ["SUCCESS"] * 8, [body["Reason"] for body in answers]
    assert gateway.names() == names
    assert gateway.refused > 0
    answers.clear()
    run_at_once(gateway, [request_of("Delete", name, f"delete-{name}") for name in names])
    assert [body["Status"] for body in answers] == ["SUCCESS"] * 8, [body["Reason"] for body in answers]
    assert gateway.names() == []


def test_one_event_in_two_functions_at_once_makes_one_target(answers: list[dict[str, Any]]) -> None:
    gateway = BusyGateway()
    run_at_once(gateway, [request_of("Create", "tools", "request-1")] * 2)
    assert [body["Status"] for body in answers] == ["SUCCESS"] * 2, [body["Reason"] for body in answers]
    assert {body["PhysicalResourceId"] for body in answers} == {f"{GATEWAY}|tools"}
    assert gateway.names() == ["tools"]
    assert len({body["Data"]["TargetId"] for body in answers}) == 1
