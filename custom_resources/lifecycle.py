"""CloudFormation's custom resource protocol, and Lambda handlers for classes that don't know it.

Promises, each with a test:

* the physical id is computed before anything can fail and is what CloudFormation is told, also on a failure;
* a Delete answers with the id it was given;
* the outcome is sent before the function dies, and never more than once;
* nothing is kept between invocations, and neither the event nor the response URL is logged.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from custom_resources.aws import Clients, is_throttled
from custom_resources.errors import PropertyError, ResponseNotDelivered
from custom_resources.properties import Model, Raw, parse
from custom_resources.response import Outbox, signed_at
from custom_resources.waiting import Activity, Clock, Deadline, SystemClock, retry

logger = logging.getLogger(__name__)

T = TypeVar("T")
Attributes = dict[str, str]
Event = dict[str, Any]

# Kept back from the function's time: for one AWS call that doesn't answer, and for the response.
MARGIN_SECONDS = 30.0
MARGIN_SHARE = 0.2
RESPONSE_MARGIN_SECONDS = 1.0
# Between the clocks of two services, one of which tells whole seconds.
CLOCK_TOLERANCE = timedelta(seconds=2)
# CloudFormation takes up to 1 KB.
LONGEST_PHYSICAL_ID = 1000


class Context(Protocol):
    """What is used of Lambda's context object."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is killed."""
        ...


@dataclass(frozen=True)
class Request:
    """Who asks: the identifiers CloudFormation gave this request."""

    stack_id: str
    logical_resource_id: str
    request_id: str
    physical_resource_id: str
    asked_at: datetime | None = None
    """When CloudFormation asked, where the response's URL says so."""

    def is_older_than(self, made_at: datetime | None) -> bool:
        """Whether what was made then can't be what this request is about.

        Lambda may deliver a Delete again after its stack has made the same thing anew, under the same id.
        """
        if self.asked_at is None or made_at is None:
            return False
        return made_at > self.asked_at + CLOCK_TOLERANCE


@dataclass(frozen=True)
class Runtime:
    """What a resource works with during one invocation: clients, time, and a word on what it is doing."""

    clients: Clients
    deadline: Deadline
    activity: Activity = field(default_factory=Activity)

    def doing(self, what: str) -> None:
        """Note in the log, and for the watchdog, what begins now: "waiting for …"."""
        logger.info("%s", what)
        self.activity.text = what

    def call(self, call: Callable[[], T]) -> T:
        """Make an AWS call, repeated with growing pauses while it is throttled."""
        return retry(call, is_throttled, self.deadline)


class Resource(ABC, Generic[Model]):
    """One `Custom::…` type. Methods raise ResourceError with a reason for the stack's events.

    The reference page of a type is made of its class: the docstrings of the class and of its methods,
    `model`, `attributes` (what `Fn::GetAtt` returns, and what it is) and `failures` (what a reason says,
    and what to do then).
    """

    model: ClassVar[type[Any]]
    attributes: ClassVar[Mapping[str, str]] = {}
    failures: ClassVar[Mapping[str, str]] = {}

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    @staticmethod
    @abstractmethod
    def identify(raw: Raw) -> str:
        """Return the physical id from the unparsed properties, or raise PropertyError."""

    @abstractmethod
    def create(self, request: Request, properties: Model) -> Attributes:
        """Bring the resource into being and return its attributes; must be safe to repeat."""

    @abstractmethod
    def update(self, request: Request, properties: Model, previous: Model | None) -> Attributes:
        """Bring the resource to `properties`; `previous` is None where the old properties don't parse."""

    @abstractmethod
    def delete(self, request: Request, properties: Model | None) -> None:
        """Remove what `request.physical_resource_id` names; what isn't there or isn't ours is a success.

        `properties` is None where they don't parse, as on the rollback of a refused Create.
        """


def lambda_handler_for(
    resource: type[Resource[Any]],
    *,
    clients: Callable[[], Clients] = Clients,
    clock: Clock | None = None,
) -> Callable[[Event, Context], None]:
    """Return `handler(event, context)` for a resource type; clients and clock are parameters for tests.

    The handler raises ResponseNotDelivered when CloudFormation couldn't be told, so that Lambda tries again.
    """
    time = clock or SystemClock()

    def handler(event: Event, context: Context) -> None:
        physical_id = physical_resource_id(resource, event)
        seconds = context.get_remaining_time_in_millis() / 1000
        end = Deadline(time, time.now() + seconds)
        outbox = Outbox(event["ResponseURL"], end.earlier_by(RESPONSE_MARGIN_SECONDS))
        deadline = end.earlier_by(min(MARGIN_SECONDS, seconds * MARGIN_SHARE))
        try:
            _converse(resource, clients, deadline, outbox, physical_id, event, context)
        except Exception as error:
            logger.exception("The function couldn't start")
            outbox.put(
                _failure(event, physical_id, f"The function couldn't start: {type(error).__name__}: {error}")
            )
        if not outbox.delivered:
            raise ResponseNotDelivered("CloudFormation couldn't be told the outcome; see the lines above")

    return handler


def physical_resource_id(resource: type[Resource[Any]], event: Event) -> str:
    """Return the id to report for `event`; never fails.

    Create and Update: what the properties say. Where they don't say, an Update keeps its id, and a Create
    gets one that no Delete will find anything under.
    """
    given = event.get("PhysicalResourceId")
    if event.get("RequestType") == "Delete" and given:
        return str(given)
    try:
        computed = resource.identify(event["ResourceProperties"])
    except (PropertyError, LookupError, TypeError, AttributeError):
        computed = ""
    if computed and len(computed.encode()) <= LONGEST_PHYSICAL_ID:
        return computed
    return str(given or f"not-created|{event.get('LogicalResourceId', '')}")


def _converse(
    resource: type[Resource[Any]],
    clients: Callable[[], Clients],
    deadline: Deadline,
    outbox: Outbox,
    physical_id: str,
    event: Event,
    context: Context,
) -> None:
    # Imported here so that a package that is missing from the function's zip is reported, not only logged.
    from custom_resources.helper import Helper

    request = Request(
        stack_id=event["StackId"],
        logical_resource_id=event["LogicalResourceId"],
        request_id=event["RequestId"],
        physical_resource_id=physical_id,
        asked_at=signed_at(event["ResponseURL"]),
    )
    activity = Activity()
    helper = Helper(physical_id, outbox, activity)

    def run(event: Event, _context: Context) -> str:
        runtime = Runtime(clients(), deadline, activity)
        helper.Data.update(_dispatch(resource(runtime), request, event))
        return physical_id

    helper.create(run)
    helper.update(run)
    helper.delete(run)
    helper(event, context)


def _dispatch(resource: Resource[Any], request: Request, event: Event) -> Attributes:
    kind, raw = event["RequestType"], event.get("ResourceProperties", {})
    logger.info("%s of %s", kind, request.physical_resource_id)
    if kind == "Delete":
        resource.delete(request, _parse_or_none(resource.model, raw))
        return {}
    properties = parse(resource.model, raw)
    if kind == "Create":
        return resource.create(request, properties)
    previous = _parse_or_none(resource.model, event.get("OldResourceProperties", {}))
    left_behind = _left_behind(resource, request.physical_resource_id, event)
    if left_behind:
        logger.info("An Update that was given up may have made %s", left_behind)
        resource.delete(replace(request, physical_resource_id=left_behind), previous)
    return resource.update(request, properties, previous)


def _left_behind(resource: Resource[Any], physical_id: str, event: Event) -> str:
    """Return the id of what a replacement made that CloudFormation got no answer about, else "".

    CloudFormation then rolls back with the id from before that replacement, and nothing but the old
    properties of this request tells of the other: no Delete will.
    """
    if event.get("PhysicalResourceId") != physical_id:
        return ""
    try:
        made = resource.identify(event["OldResourceProperties"])
    except (PropertyError, LookupError, TypeError, AttributeError):
        return ""
    return "" if made == physical_id else made


def _parse_or_none(model: type[Model], raw: Raw) -> Model | None:
    try:
        return parse(model, raw)
    except PropertyError as error:
        logger.info("Properties of the earlier state aren't usable: %s", error)
        return None


def _failure(event: Mapping[str, Any], physical_id: str, reason: str) -> dict[str, Any]:
    """Return a FAILED response without crhelper's help, cut as crhelper cuts."""
    return {
        "Status": "FAILED",
        "PhysicalResourceId": physical_id,
        "StackId": event.get("StackId", ""),
        "RequestId": event.get("RequestId", ""),
        "LogicalResourceId": event.get("LogicalResourceId", ""),
        "Reason": reason[-240:],
        "Data": {},
    }
