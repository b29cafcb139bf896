"""CloudFormation and Lambda around one custom resource, as a hypothesis state machine.

Each rule is one run of the function. CloudFormation's part is played as it is documented and observed:

* a Create that failed is followed by a Delete of the physical id that was reported;
* an Update that reports another physical id is followed, once the stack is through, by a Delete of the old;
* an Update that failed is followed by an Update back, whose request has the physical id reported last;
* of a Create without an answer, or with one that comes too late, CloudFormation makes up the id to delete;
* Lambda may deliver any event again.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requesttypes-update.html
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ClassVar
from unittest.mock import patch

from hypothesis import currently_in_test_context, note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from custom_resources import response, waiting
from custom_resources.lifecycle import lambda_handler_for
from tests.custom_resources.conftest import event
from tests.custom_resources.fakes import Context
from tests.custom_resources.faults.world import (
    MOST_PASSING,
    PASSING,
    Clients,
    Clock,
    Fault,
    Faults,
    Killed,
    Plan,
    World,
    plans,
)

LOGICAL_ID = "Thing"
# Whether CloudFormation stopped waiting before the answer came.
lateness = st.sampled_from([False, False, False, False, True])
NEXT_OPERATION = 5.0
LONGEST_REASON = 260
sequences: Counter[str] = Counter()
"""Sequences that were run to their end, by the world's name."""


class ResourceMachine(RuleBasedStateMachine):
    """One resource of one stack in one world."""

    world_class: ClassVar[type[World]]

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.faults = Faults(self.clock)
        self.world = self.world_class(self.clock, self.faults)
        self.responses: list[dict[str, Any]] = []
        self.requests = itertools.count(1)
        self.phase = "absent"
        self.physical_id = ""
        self.properties: dict[str, Any] = {}
        self.target: dict[str, Any] = {}
        """The properties of the Update that is under way or being rolled back."""
        self.due: list[tuple[str, dict[str, Any]]] = []
        """Physical ids, with their properties, that CloudFormation will delete once the stack is through."""
        self.last: dict[str, Any] = {}
        self.old_deletes: list[dict[str, Any]] = []
        """Deletes that were answered, of what may have been made again since."""
        self.unanswered = False
        """Whether the latest Update died without an answer."""
        self._excused = False
        self._patched = ExitStack()
        self._patched.enter_context(self.world.patches())
        self._patched.enter_context(patch.object(response, "deliver", self._deliver))
        # A life that is lived again makes the same calls up to the one that goes otherwise.
        self._patched.enter_context(patch.object(waiting, "random", random.Random(0)))  # noqa: S311 - no secret

    def _deliver(self, url: str, body: dict[str, Any], deadline: Any) -> bool:
        self.responses.append(body)
        return True

    # One run of the function

    def invoke(self, request: dict[str, Any], plan: Plan, *, heard: bool = True) -> dict[str, Any] | None:
        """Run the function for a request; return its response, None where it was killed first.

        What it claims is checked where CloudFormation hears it.
        """
        kind, properties = request["RequestType"], _own(request["ResourceProperties"])
        others, self._excused = self.world.others(), self.world.refuses(kind, properties)
        self.faults.begin(plan)
        self.responses.clear()
        if heard:
            self.last = request
        context = Context(self.clock, self.world.seconds)
        killed = False
        try:
            self._run(request, context)
        except Killed:
            killed = True
        met = [fault.name for fault in self.faults.met]
        if currently_in_test_context():
            note(f"{request['RequestType']} {request.get('PhysicalResourceId', '')}: {self.responses} {met}")
        assert self.clock.now() < context.end, "the function outlived its deadline"
        assert self.world.harmed(others, request) == [], "something of others' was touched"
        if killed:
            assert not self.responses
            return None
        assert len(self.responses) == 1, "CloudFormation takes exactly one response"
        if heard:
            self._check(request, self.responses[0])
        return self.responses[0]

    def _run(self, request: dict[str, Any], context: Context) -> None:
        lambda_handler_for(self.world.resource, clients=lambda: Clients(self.world), clock=self.clock)(
            request, context
        )

    def _deliver_meanwhile(self) -> None:
        """Deliver the event that is being worked on a second time, and have it worked on to its end."""
        plan, calls, met = self.faults.plan, self.faults.calls, self.faults.met
        self.faults.begin({})
        context = Context(self.clock, self.world.seconds)
        self._run(self.last, context)
        assert self.clock.now() < context.end, "the function outlived its deadline"
        (body,) = self.responses
        self._check(self.last, body)
        assert body["Status"] == "SUCCESS", f"failed for nothing: {body['Reason']}"
        self.responses.clear()
        self.faults.plan, self.faults.calls, self.faults.met = plan, calls, met

    def _check(self, request: dict[str, Any], body: dict[str, Any]) -> None:
        assert all(body[key] == request[key] for key in ("StackId", "RequestId", "LogicalResourceId"))
        kind, properties = request["RequestType"], _own(request["ResourceProperties"])
        if kind == "Delete":
            assert body["PhysicalResourceId"] == request["PhysicalResourceId"]
        else:
            assert body["PhysicalResourceId"] == self.world.resource.identify(properties)
        if body["Status"] == "FAILED":
            assert body["Reason"], "a failure without a reason"
            assert len(body["Reason"]) <= LONGEST_REASON
            assert self._excused or not _passes(self.faults.met), f"failed for nothing: {body['Reason']}"
        elif kind == "Delete":
            assert self.world.untruths_of_delete(body["PhysicalResourceId"]) == []
        else:
            assert set(body["Data"]) == set(self.world.resource.attributes)
            assert self.world.untruths(properties, body["Data"]) == []

    def request(self, kind: str, properties: dict[str, Any], **details: Any) -> dict[str, Any]:
        """Return a new request of CloudFormation's."""
        self.clock.sleep(self.world.between)
        request_id = f"request-{next(self.requests)}"
        return event(
            kind,
            properties,
            f"https://inbox/?X-Amz-Date={self.clock.date():%Y%m%dT%H%M%SZ}",
            logical_id=LOGICAL_ID,
            stack_id=self.world.stack_id,
            request_id=request_id,
            **details,
        )

    # CloudFormation

    @precondition(lambda self: self.phase == "absent")
    @rule(data=st.data(), plan=plans, late=lateness)
    def create(self, data: st.DataObject, plan: Plan, late: bool) -> None:
        """Create the stack's resource; an answer that comes late isn't heard."""
        self._create(data.draw(self.world.properties), plan, late)

    def _create(self, properties: dict[str, Any], plan: Plan, late: bool = False) -> None:
        self.properties = properties
        body = self.invoke(self.request("Create", properties), plan)
        if late:
            body = None
        if body is None:
            self.physical_id = f"tools-dev-{LOGICAL_ID}-1A2B3C4D5E6F"
        else:
            self.physical_id = body["PhysicalResourceId"]
        self.phase = "created" if body is not None and body["Status"] == "SUCCESS" else "create failed"
        if self.phase == "created":
            self.at_rest()

    @precondition(lambda self: self.phase == "created")
    @rule(data=st.data(), plan=plans, late=lateness)
    def update(self, data: st.DataObject, plan: Plan, late: bool) -> None:
        """Update it after some change in the world; another physical id makes a Delete of the old due."""
        self._disturb(data)
        same = st.just(self.properties)
        target = data.draw(st.one_of(same, self.world.properties.flatmap(self._with_one_change)))
        self._update(target, plan, late)

    def _update(self, target: dict[str, Any], plan: Plan, late: bool = False) -> None:
        self.target = target
        request = self.request("Update", target, physical_id=self.physical_id, old=self.properties)
        body = self.invoke(request, plan)
        if late:
            body = None
        if body is not None and body["Status"] == "SUCCESS":
            self._replace(body["PhysicalResourceId"], self.properties)
            self.properties = target
            self.phase = "created"
            self.at_rest()
        else:
            # Without an answer, CloudFormation knows no other id than the old.
            if body is not None:
                self._replace(body["PhysicalResourceId"], self.properties)
            self.unanswered = body is None
            self.phase = "update failed"

    @precondition(lambda self: self.phase == "update failed")
    @rule(plan=plans)
    def roll_back(self, plan: Plan) -> None:
        """Update back to the properties before; until it succeeds, "continue update rollback" is there."""
        request = self.request("Update", self.properties, physical_id=self.physical_id, old=self.target)
        self.world.is_rolling_back = True
        body = self.invoke(request, plan)
        self.world.is_rolling_back = False
        if body is not None and body["Status"] == "SUCCESS":
            self._replace(body["PhysicalResourceId"], self.target)
            # What the stack is back at isn't deleted.
            self.due = [(name, old) for name, old in self.due if name != self.physical_id]
            self.phase, self.unanswered = "created", False
            self.at_rest()

    @precondition(lambda self: self.phase == "created" and bool(self.due))
    @rule(plan=plans)
    def clean_up(self, plan: Plan) -> None:
        """Delete what an Update replaced."""
        name, properties = self.due[0]
        if self._is_deleted(name, properties, plan):
            self.due.pop(0)
            self.at_rest()

    # After an Update without an answer only the way back tells which other id there may be.
    @precondition(lambda self: self.phase != "absent" and not self.unanswered)
    @rule(plan=plans)
    def delete(self, plan: Plan) -> None:
        """Delete the resource: the stack goes, or its creation is rolled back. Clean-up comes first."""
        while self.due:
            name, properties = self.due[0]
            if self._is_deleted(name, properties, plan):
                self.due.pop(0)
            else:
                self.phase = "delete failed"
                return
        # At a second attempt the properties may be others than those of the id: which, isn't documented.
        wanted = self.target if self.phase == "update failed" else self.properties
        if self._is_deleted(self.physical_id, wanted, plan):
            self._gone()
        else:
            self.phase = "delete failed"

    @precondition(lambda self: bool(self.last))
    @rule(plan=plans)
    def deliver_again(self, plan: Plan) -> None:
        """Deliver the last event once more, as Lambda may; CloudFormation has its answer already."""
        self.invoke(self.last, plan)
        if self.phase == "absent":
            # Nothing asks for a Delete after this; so this one must leave nothing either.
            assert self.last["RequestType"] == "Delete"
            assert self.world.ours() == []

    @precondition(lambda self: self.phase == "created" and self.world.tells_age and bool(self.old_deletes))
    @rule(data=st.data(), plan=plans)
    def deliver_an_old_delete(self, data: st.DataObject, plan: Plan) -> None:
        """Deliver a Delete again that was answered before the stack made what there is now."""
        before = self.world.ours()
        self.invoke(data.draw(st.sampled_from(self.old_deletes)), plan, heard=False)
        assert self.world.ours() == before, "a Delete of earlier took away what was made since"

    @rule(seconds=st.sampled_from([1.0, 60.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        """Let the services finish what they are at."""
        self.clock.sleep(seconds)

    @rule(data=st.data())
    def someone_else_acts(self, data: st.DataObject) -> None:
        """Let someone else change something."""
        self._disturb(data)

    def teardown(self) -> None:
        """Let the faults end, and delete the stack: nothing may be left."""
        try:
            if self.unanswered:
                self.clock.sleep(3600.0)
                self.roll_back({})
                if self.unanswered and self._excused:
                    return
                assert not self.unanswered, f"can't be rolled back: {self.responses}"
            if self.phase != "absent":
                for _ in range(3):
                    self.clock.sleep(3600.0)
                    self.delete({})
                    if self.phase == "absent":
                        break
                assert self.phase == "absent", f"can't be deleted: {self.responses}"
            self.clock.sleep(3600.0)
            assert self.world.ours() == [], "something is left"
            sequences[type(self.world).__name__] += 1
        finally:
            self._patched.close()

    def live(self, stage: str, plan: Plan, *, again_at: int | None = None) -> int:
        """Go through a whole life, in which one stage meets a plan; return how many calls that stage made.

        The stages are "Create", "Update", "Replace" and "Delete". While the stage is at the call `again_at`,
        its event is delivered a second time.
        """
        again = {} if again_at is None else {again_at: self._deliver_meanwhile}
        # An assertion that fails must not leave its patches to other tests.
        with self._patched:
            calls = self._live(stage, plan, again)
            if again_at is not None:
                assert not self.faults.meanwhile, f"{stage} made no call {again_at}"
                assert self.phase in {"created", "absent"}, f"failed for nothing: {self.responses}"
            self.teardown()
        return calls

    def _live(self, stage: str, plan: Plan, again: dict[int, Callable[[], None]]) -> int:
        created, updated, replaced = self.world.life
        if stage == "Create":
            self.faults.meanwhile = again
        self._create(created, plan if stage == "Create" else {})
        if stage == "Create":
            return self.faults.calls
        self.faults.meanwhile = again
        if stage == "Delete":
            self.delete(plan)
        else:
            self._update(updated if stage == "Update" else replaced, plan)
        return self.faults.calls

    def at_rest(self) -> None:
        """Check what holds whenever the stack is at rest: one thing of ours at most."""
        if not self.due:
            assert len(self.world.ours()) <= 1, "two of ours"

    def _disturb(self, data: st.DataObject) -> None:
        self.world.disturb(data.draw(st.integers(0, self.world.disturbances - 1)))

    def _with_one_change(self, fresh: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
        """Return the present properties with one of `fresh`, or all of `fresh`."""
        if set(fresh) != set(self.properties):
            return st.just(fresh)
        changed = [{**self.properties, name: value} for name, value in fresh.items()]
        return st.sampled_from([*changed, fresh])

    def _is_deleted(self, physical_id: str, properties: dict[str, Any], plan: Plan) -> bool:
        request = self.request("Delete", properties, physical_id=physical_id)
        body = self.invoke(request, plan)
        if body is None or body["Status"] != "SUCCESS":
            return False
        self.old_deletes.append(request)
        # No stack makes a thing anew at once.
        self.clock.sleep(NEXT_OPERATION)
        return True

    def _replace(self, physical_id: str, properties: dict[str, Any]) -> None:
        if physical_id != self.physical_id:
            self.due.append((self.physical_id, properties))
            self.physical_id = physical_id

    def _gone(self) -> None:
        assert self.world.ours() == [], "something is left after the Delete"
        self.phase, self.physical_id, self.due = "absent", "", []


def _passes(met: list[Fault]) -> bool:
    """Whether a request gets through such faults."""
    return len(met) <= MOST_PASSING and set(met) <= PASSING


def _own(properties: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in properties.items() if key != "ServiceToken"}
