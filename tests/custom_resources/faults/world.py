"""What a resource type works in: services in memory, on a clock of their own, with faults at any call."""

from __future__ import annotations

import heapq
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from typing import Any, ClassVar

from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from hypothesis import strategies as st

from custom_resources import aws
from custom_resources.lifecycle import Resource
from tests.custom_resources import fakes
from tests.custom_resources.fakes import ApiError

# One call of an AWS API, and the longest one: connecting and reading time out, and botocore tries twice.
CALL_SECONDS = 0.1
SLOW_CALL_SECONDS = 9.0
LOST_SECONDS = float((aws.CONNECT_TIMEOUT + aws.READ_TIMEOUT) * aws.ATTEMPTS)


START = datetime(2026, 11, 1, tzinfo=UTC)


class Fault(Enum):
    """What happens to one call."""

    THROTTLED = "the service asks to slow down"
    FAILED = "the service fails before doing the work"
    UNREACHABLE = "the service isn't reached"
    SLOW = "the answer takes long"
    ANSWER_LOST = "the work is done and the answer is lost"
    FUNCTION_KILLED = "the function dies before the call"
    FUNCTION_KILLED_AFTER = "the function dies after the call"
    BUSY = "the service is at another change"
    WORK_FAILS = "what the call sets in motion fails"
    WORK_HANGS = "what the call sets in motion takes longer than any function runs"


PASSING = frozenset({Fault.THROTTLED, Fault.SLOW, Fault.BUSY})
"""Faults that fail no request as long as they are few: a second attempt at the call gets through."""
MOST_PASSING = 4

Plan = dict[int, Fault]
"""The faults of one run of the function, by the number of the call they meet."""

plans = st.one_of(
    st.just({}),
    st.builds(lambda call, fault: {call: fault}, st.integers(0, 24), st.sampled_from(Fault)),
    st.dictionaries(st.integers(0, 14), st.sampled_from(Fault), max_size=MOST_PASSING),
    # A service that is down for the rest of the run.
    st.builds(
        lambda start, fault: dict.fromkeys(range(start, start + 400), fault),
        st.integers(0, 10),
        st.sampled_from([Fault.THROTTLED, Fault.FAILED, Fault.UNREACHABLE]),
    ),
)


class Killed(BaseException):
    """The function's process ended: nothing of it runs any more, no `except Exception` either."""


class Clock(fakes.Clock):
    """Virtual time, in which services take their steps."""

    def __init__(self) -> None:
        super().__init__()
        self._steps: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def later(self, seconds: float, step: Callable[[], None]) -> None:
        """Take a step when so many seconds have passed."""
        heapq.heappush(self._steps, (self.time + seconds, next(self._numbers), step))

    def date(self) -> datetime:
        """Return the time as services and CloudFormation tell it."""
        return START + timedelta(seconds=self.time)

    def sleep(self, seconds: float) -> None:
        """Let time pass, with what happens in it."""
        assert seconds >= 0
        end = self.time + seconds
        while self._steps and self._steps[0][0] <= end:
            self.time, _, step = heapq.heappop(self._steps)
            step()
        self.time = end


@dataclass
class Faults:
    """The faults of the function's run that is under way; `met` are those that have struck."""

    clock: Clock
    plan: Plan = field(default_factory=dict)
    calls: int = 0
    met: list[Fault] = field(default_factory=list)
    work: Fault | None = None
    """WORK_FAILS or WORK_HANGS for the work that the current call sets in motion."""

    meanwhile: dict[int, Callable[[], None]] = field(default_factory=dict)
    """What happens while the run is at a call, by the call's number."""

    def begin(self, plan: Plan) -> None:
        """Start a run."""
        self.plan, self.calls, self.met = plan, 0, []

    def meet(self, call: Callable[[], Any], busy: ApiError | None = None) -> Any:
        """Make a call, or have it meet its fault; `busy` is how the service refuses a second change."""
        fault, happens = self.plan.get(self.calls), self.meanwhile.pop(self.calls, None)
        self.calls += 1
        if happens is not None:
            happens()
        self.clock.sleep(CALL_SECONDS)
        if fault is not None:
            self.met.append(fault)
        if fault is Fault.FUNCTION_KILLED:
            raise Killed
        if fault is Fault.THROTTLED:
            raise ApiError("ThrottlingException", "Rate exceeded", 429)
        if fault is Fault.FAILED:
            raise ApiError("InternalServerException", "Internal failure", 500)
        if fault is Fault.UNREACHABLE:
            self.clock.sleep(LOST_SECONDS)
            raise ConnectTimeoutError(endpoint_url="https://service")
        if fault is Fault.BUSY and busy is not None:
            raise busy
        self.work = fault if fault in {Fault.WORK_FAILS, Fault.WORK_HANGS} else None
        try:
            answer = call()
        finally:
            self.work = None
        if fault is Fault.SLOW:
            self.clock.sleep(SLOW_CALL_SECONDS)
        if fault is Fault.ANSWER_LOST:
            self.clock.sleep(LOST_SECONDS)
            raise ReadTimeoutError(endpoint_url="https://service")
        if fault is Fault.FUNCTION_KILLED_AFTER:
            raise Killed
        return answer


class World(ABC):
    """The services around one resource, and what is true in them."""

    resource: ClassVar[type[Resource[Any]]]
    properties: ClassVar[st.SearchStrategy[dict[str, Any]]]
    life: ClassVar[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]
    """Properties of a Create, of an Update in place, and of one that replaces."""
    seconds: ClassVar[float] = 600.0
    """The function's Timeout in the template."""
    stack_id: ClassVar[str] = fakes.STACK_ID
    disturbances: ClassVar[int] = 6
    """How many kinds of `disturb` there are."""
    tells_age: ClassVar[bool] = False
    """Whether a Delete that is delivered late can know that what it finds was made after it."""
    between: ClassVar[float] = 0.0
    """Seconds that CloudFormation takes, at the least, from one request to the next."""

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self.clock = clock
        self.faults = faults
        self.is_rolling_back = False
        """Whether the stack is on its way back from an Update."""

    @abstractmethod
    def backend(self, service: str, region: str | None) -> Any:
        """Return what answers calls of a service (botocore's name) in a region (None: the function's)."""

    @abstractmethod
    def ours(self) -> list[str]:
        """Return what this stack's resource has made and is still there; empty after a Delete."""

    @abstractmethod
    def others(self) -> Any:
        """Return a snapshot of all that isn't this stack's, for `harmed`."""

    def harmed(self, before: Any, request: dict[str, Any]) -> list[str]:
        """Return what a request did to others' things; `before` is the snapshot from before it."""
        return [] if self.others() == before else [f"{before} became {self.others()}"]

    def untruths(self, properties: dict[str, Any], attributes: dict[str, str]) -> list[str]:
        """Return what a SUCCESS of Create or Update claims and isn't so."""
        return []

    def untruths_of_delete(self, physical_id: str) -> list[str]:
        """Return what a SUCCESS of Delete claims and isn't so."""
        return []

    def refuses(self, kind: str, properties: dict[str, Any]) -> bool:
        """Whether a request that comes now may fail without a fault: the name is someone else's, say."""
        return False

    def busy(self, operation: str) -> ApiError | None:
        """Return how an operation (in snake case) is refused while another change is under way."""
        return None

    def disturb(self, choice: int) -> None:  # noqa: B027 - not every world has someone else
        """Let someone else change something; `choice` is any number."""

    def patches(self) -> AbstractContextManager[Any]:
        """Return what stands in for calls that aren't AWS's."""
        return nullcontext()


class FaultyBackend(fakes.Backend):
    """Passes a client's calls on to the present world, through its faults.

    Clients are made once for all worlds: parsing a service's model takes longer than a sequence.
    """

    def __init__(self, service: str, region: str | None) -> None:
        super().__init__()
        self._where = service, region
        self.world: World | None = None

    def __getattr__(self, operation: str) -> Any:
        world = self.__dict__["world"]
        if operation.startswith("_") or world is None:
            raise AttributeError(operation)
        self.calls.clear()
        call = getattr(world.backend(*self._where), operation)
        return lambda **parameters: world.faults.meet(lambda: call(**parameters), world.busy(operation))


@cache
def _client(service: str, region: str | None) -> tuple[Any, FaultyBackend]:
    backend = FaultyBackend(service, region)
    return fakes.client_for(service, backend), backend


class Clients(aws.Clients):
    """A handler's clients for one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _client(self, service: str, region: str | None = None, **_options: Any) -> Any:
        client, backend = _client(service, region)
        backend.world = self._world
        return client
