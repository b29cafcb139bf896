"""CloudFormation's protocol, whatever the resource does."""

from __future__ import annotations

import json
import logging
import sys
import threading
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from custom_resources import lifecycle
from custom_resources.errors import PropertyError, ResourceError, ResponseNotDelivered
from custom_resources.lifecycle import Attributes, Request, Resource, lambda_handler_for
from custom_resources.properties import Raw, required_text, text
from custom_resources.waiting import SystemClock
from tests.custom_resources.conftest import Run, event
from tests.custom_resources.fakes import STACK_ID, Clients, Clock, Context
from tests.custom_resources.servers import Inbox


@dataclass(frozen=True)
class ThingProperties:
    name: str = text("[a-z]{1,40}", "up to 40 lower-case letters")
    secret: str = text(".{0,20}", "up to 20 characters", default="", secret=True)


class Thing(Resource[ThingProperties]):
    """A resource that does what the test says."""

    model = ThingProperties
    outcome: ClassVar[Any] = {}
    seen: ClassVar[list[Any]] = []

    @staticmethod
    def identify(raw: Raw) -> str:
        return f"thing|{required_text(raw, 'Name')}"

    def _act(self, *seen: Any) -> Attributes:
        self.seen[:] = seen
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return dict(self.outcome)

    def create(self, request: Request, properties: ThingProperties) -> Attributes:
        return self._act(request, properties)

    def update(
        self, request: Request, properties: ThingProperties, previous: ThingProperties | None
    ) -> Attributes:
        return self._act(request, properties, previous)

    def delete(self, request: Request, properties: ThingProperties | None) -> None:
        self._act(request, properties)


@pytest.fixture(autouse=True)
def _outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Thing, "outcome", {})


PROPERTIES = {"Name": "lamp"}
ID = "thing|lamp"


def fails(monkeypatch: pytest.MonkeyPatch, reason: str = "no bulb") -> None:
    monkeypatch.setattr(Thing, "outcome", ResourceError(reason))


def test_attributes_are_returned_under_the_computed_id(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Thing, "outcome", {"Colour": "red"})
    assert run(Thing, Clients(), "Create", PROPERTIES) == {
        "Status": "SUCCESS",
        "PhysicalResourceId": ID,
        "StackId": STACK_ID,
        "RequestId": "request-1",
        "LogicalResourceId": "Target",
        "Reason": "",
        "Data": {"Colour": "red"},
        "NoEcho": False,
    }
    request, properties = Thing.seen
    assert request == Request(STACK_ID, "Target", "request-1", ID)
    assert properties == ThingProperties("lamp")


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_a_failure_reports_the_real_id_not_a_random_one(
    run: Run, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    fails(monkeypatch)
    response = run(Thing, Clients(), kind, PROPERTIES, physical_id=ID if kind == "Update" else "")
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", ID)
    assert response["Reason"] == "no bulb"


@pytest.mark.parametrize("outcome", [{}, ResourceError("no bulb")])
def test_a_delete_answers_with_the_id_it_was_given(
    run: Run, monkeypatch: pytest.MonkeyPatch, outcome: Any
) -> None:
    monkeypatch.setattr(Thing, "outcome", outcome)
    response = run(Thing, Clients(), "Delete", PROPERTIES, physical_id="an-older-id")
    assert response["PhysicalResourceId"] == "an-older-id"
    assert response["Status"] == ("FAILED" if outcome else "SUCCESS")
    assert Thing.seen[0].physical_resource_id == "an-older-id"


def test_a_delete_gets_no_properties_where_they_do_not_parse(run: Run) -> None:
    response = run(Thing, Clients(), "Delete", {"Name": "7"}, physical_id=ID)
    assert response["Status"] == "SUCCESS"
    assert Thing.seen[1] is None


def test_an_update_gets_the_earlier_properties(run: Run) -> None:
    run(Thing, Clients(), "Update", PROPERTIES, physical_id=ID, old={"Name": "torch", "ServiceToken": "f"})
    assert Thing.seen[1:] == [ThingProperties("lamp"), ThingProperties("torch")]
    run(Thing, Clients(), "Update", PROPERTIES, physical_id=ID, old={"Name": "7"})
    assert Thing.seen[1:] == [ThingProperties("lamp"), None]


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"Name": "LAMP"}, "thing|LAMP"),
        ({}, "not-created|Target"),
        ({"Name": ["lamp"]}, "not-created|Target"),
        ({"Name": "l" * 2000}, "not-created|Target"),
    ],
)
def test_properties_that_do_not_parse_fail_under_the_id_they_name(
    run: Run, properties: dict[str, Any], expected: str
) -> None:
    response = run(Thing, Clients(), "Create", properties)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", expected)
    assert "Property Name" in response["Reason"]
    response = run(Thing, Clients(), "Delete", properties, physical_id=response["PhysicalResourceId"])
    assert response["Status"] == "SUCCESS"


def test_an_update_that_names_no_id_keeps_the_one_it_has(run: Run) -> None:
    response = run(Thing, Clients(), "Update", {}, physical_id=ID)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", ID)


def test_clients_that_cannot_be_made_fail_under_the_right_id(inbox: Inbox, clock: Clock) -> None:
    def broken() -> Any:
        raise RuntimeError("no credentials")

    handler = lambda_handler_for(Thing, clients=broken, clock=clock)
    handler(event("Create", PROPERTIES, inbox.url), Context(clock))
    (response,) = inbox.bodies
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", ID)
    assert response["Reason"] == "no credentials"


def test_a_package_missing_from_the_zip_fails_under_the_right_id(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "custom_resources.helper", raising=False)
    monkeypatch.setitem(sys.modules, "crhelper", None)
    response = run(Thing, Clients(), "Create", PROPERTIES)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", ID)
    assert "ModuleNotFoundError" in response["Reason"]
    assert (response["StackId"], response["RequestId"]) == (STACK_ID, "request-1")


def test_crhelpers_own_start_failing_is_reported_under_the_right_id(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crhelper import log_helper

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no log")

    monkeypatch.setattr(log_helper, "setup", broken)
    response = run(Thing, Clients(), "Create", PROPERTIES)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", ID)
    assert response["Reason"] == "no log"


def test_nothing_is_kept_from_an_earlier_invocation(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Thing, "outcome", {"Colour": "red"})
    run(Thing, Clients(), "Create", PROPERTIES)
    fails(monkeypatch)
    failed = run(Thing, Clients(), "Create", {"Name": "torch"})
    assert (failed["Data"], failed["PhysicalResourceId"]) == ({}, "thing|torch")
    monkeypatch.setattr(Thing, "outcome", {})
    assert run(Thing, Clients(), "Create", PROPERTIES)["Data"] == {}


def test_a_long_reason_keeps_its_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(monkeypatch, "beginning " + "x" * 1000 + " HTTP 503 from the server")
    reason = run(Thing, Clients(), "Create", PROPERTIES)["Reason"]
    assert reason.endswith("HTTP 503 from the server")
    assert len(reason) <= 260


def test_the_event_is_not_logged(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fails(monkeypatch)
    run(Thing, Clients(), "Create", {"Name": "lamp", "Secret": "hunter2"})
    response = run(Thing, Clients(), "Create", {"Name": "lamp", "Secret": "hunter2" * 9})
    assert "Property Secret" in response["Reason"]
    assert "hunter2" not in caplog.text + response["Reason"]
    assert "no bulb" in caplog.text


def test_an_outcome_that_cannot_be_told_makes_lambda_deliver_the_event_again(
    inbox: Inbox, clock: Clock
) -> None:
    inbox.answers = [403]
    handler = lambda_handler_for(Thing, clients=Clients, clock=clock)
    with pytest.raises(ResponseNotDelivered):
        handler(event("Create", PROPERTIES, inbox.url), Context(clock))
    handler(event("Create", PROPERTIES, inbox.url), Context(clock))
    assert [body["Status"] for body in inbox.bodies] == ["SUCCESS"]


def test_a_function_that_hangs_is_reported_before_it_dies_and_only_once(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()
    left: list[int] = []

    def hang(self: Thing, request: Request, properties: ThingProperties) -> Attributes:
        self.runtime.doing("waiting for a bulb")
        assert told.wait(5)
        left.append(context.get_remaining_time_in_millis())
        return {"Colour": "red"}

    monkeypatch.setattr(Thing, "create", hang)
    inbox.bodies = Notifying(told)
    clock = SystemClock()
    context = Context(clock, seconds=1.0)
    lambda_handler_for(Thing, clients=Clients, clock=clock)(event("Create", PROPERTIES, inbox.url), context)
    (response,) = inbox.bodies
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", ID)
    assert response["Reason"].endswith("It was waiting for a bulb")
    assert left[0] > 0, "told after the function's end"


class Notifying(list[dict[str, Any]]):
    """A list that sets an event when something is appended."""

    def __init__(self, event: threading.Event) -> None:
        super().__init__()
        self._event = event

    def append(self, item: dict[str, Any]) -> None:
        super().append(item)
        self._event.set()


def test_work_ends_early_enough_to_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    remaining: list[float] = []

    def note(self: Thing, request: Request, properties: ThingProperties) -> Attributes:
        remaining.append(self.runtime.deadline.remaining())
        return {}

    monkeypatch.setattr(Thing, "create", note)
    run(Thing, Clients(), "Create", PROPERTIES, seconds=900)
    run(Thing, Clients(), "Create", PROPERTIES, seconds=60)
    assert remaining == pytest.approx([870, 48])


def test_no_region_and_no_aws_client_is_needed_to_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SAM_LOCAL"):
        monkeypatch.delenv(name, raising=False)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a client was made")

    monkeypatch.setattr(boto3, "client", refuse)
    assert run(Thing, Clients(), "Create", PROPERTIES)["Status"] == "SUCCESS"


def test_an_id_is_found_for_anything_that_looks_like_an_event() -> None:
    class Unidentified(Thing):
        @staticmethod
        def identify(raw: Raw) -> str:
            raise PropertyError("none")

    assert lifecycle.physical_resource_id(Unidentified, {}) == "not-created|"
    assert lifecycle.physical_resource_id(Thing, {"ResourceProperties": None}) == "not-created|"


@pytest.mark.parametrize(
    ("given", "old", "removed"),
    [
        # The Update to "new" died without an answer, so CloudFormation knows no other id than the first.
        ("thing|first", "new", ["thing|new"]),
        # The Update to "new" was answered, so CloudFormation will delete it itself.
        ("thing|new", "new", []),
        ("thing|first", "first", []),
        ("thing|first", "", []),
    ],
)
def test_the_way_back_from_an_update_that_died_removes_what_it_made(
    run: Run, monkeypatch: pytest.MonkeyPatch, given: str, old: str, removed: list[str]
) -> None:
    deleted: list[str] = []

    def delete(self: Thing, request: Request, properties: ThingProperties | None) -> None:
        deleted.append(request.physical_resource_id)

    monkeypatch.setattr(Thing, "delete", delete)
    response = run(Thing, Clients(), "Update", {"Name": "first"}, physical_id=given, old={"Name": old})
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", "thing|first")
    assert deleted == removed


@pytest.mark.parametrize(("seconds", "fires_after"), [(600.0, 595.0), (20.0, 18.0)])
def test_the_watchdog_fires_shortly_before_the_function_dies(
    monkeypatch: pytest.MonkeyPatch, run: Run, seconds: float, fires_after: float
) -> None:
    asked: list[float] = []
    timer = threading.Timer

    def noting(interval: float, function: Any) -> threading.Timer:
        asked.append(interval)
        return timer(interval, function)

    monkeypatch.setattr(threading, "Timer", noting)
    assert run(Thing, Clients(), "Create", {"Name": "first"}, seconds=seconds)["Status"] == "SUCCESS"
    assert asked == [pytest.approx(fires_after, abs=0.01)]


def test_the_log_is_json_with_the_request_and_without_its_properties(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = logging.StreamHandler(sys.stdout)
    monkeypatch.setattr(logging.getLogger(), "handlers", [stream])
    run(Thing, Clients(), "Create", {"Name": "first", "Secret": "hunter2"})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["RequestId"] for line in lines} == {"request-1"}
    assert "hunter2" not in json.dumps(lines)
