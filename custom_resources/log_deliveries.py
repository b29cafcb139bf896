"""Vended log deliveries: a source (whose log), a destination (a log group), and the delivery between them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-vended-logs-permissions-V2.html
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from custom_resources.aws import error_code, error_message, is_throttled
from custom_resources.errors import ResourceError
from custom_resources.ownership import Owner
from custom_resources.tags import Tagging
from custom_resources.waiting import Deadline, poll, retry

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_logs.type_defs import DeliveryDestinationConfigurationTypeDef

logger = logging.getLogger(__name__)

T = TypeVar("T")

OUTPUT_FORMAT: Final = "json"
GONE = "ResourceNotFoundException"
# One of the three is being changed, or was deleted a moment ago and still counts.
BUSY = frozenset({"ConflictException", "ServiceUnavailableException"})
BUSY_SECONDS = 120.0


@dataclass(frozen=True)
class _Part:
    """A source or a destination as Get… tells it, and its tags."""

    arn: str
    about: Mapping[str, Any]
    tags: Mapping[str, str]


class LogDeliveries:
    """Sources, destinations and deliveries of one owner, all under one name, until `deadline`."""

    def __init__(self, logs: CloudWatchLogsClient, owner: Owner, deadline: Deadline) -> None:
        self._logs = logs
        self._owner = owner
        self._deadline = deadline

    def source_of(self, name: str) -> str | None:
        """Return the ARN whose log the source of that name is, None where there is no source.

        Raises ResourceError where the source, or the destination of that name, isn't the owner's.
        """
        self._destination(name)
        source = self._source(name)
        return None if source is None else next(iter(source.about.get("resourceArns", [])), "")

    def ensure(
        self,
        name: str,
        resource_arn: str,
        log_type: str,
        log_group_arn: str,
        fields: Iterable[str],
        tagging: Tagging,
    ) -> None:
        """Have the resource's log delivered to the log group as JSON lines."""
        self._ensure_source(name, resource_arn, log_type, tagging)
        destination = self._ensure_destination(name, log_group_arn, tagging)
        wanted, refusal = list(fields), list[str]()

        def attempt() -> bool | None:
            for delivery in self._deliveries(name):
                same = delivery.get("deliveryDestinationArn") == destination
                kept = same and delivery.get("recordFields") == wanted
                tags = self._tags(delivery["arn"]) if kept else None
                if tags is not None:
                    self._settle_tags(delivery["arn"], tags, tagging)
                    return True
                self._delete(delivery["id"])
            try:
                self._call(
                    lambda: self._logs.create_delivery(
                        deliverySourceName=name,
                        deliveryDestinationArn=destination,
                        recordFields=wanted,
                        tags=tagging.wanted,
                    )
                )
            except Exception as error:
                if error_code(error) not in BUSY:
                    raise
                refusal[:] = [error_message(error)]
                return None
            return True

        poll(
            attempt,
            self._deadline.share(1, at_most=BUSY_SECONDS),
            lambda: f"Log delivery {name} can't be made: {refusal[0]}",
        )

    def remove(self, name: str) -> None:
        """Delete delivery, destination and source; what is gone is a success."""

        def attempt() -> None:
            # Each time anew: a second run of this function may have made a delivery meanwhile.
            for delivery in self._deliveries(name):
                self._delete(delivery["id"])
            self._gone(lambda: self._logs.delete_delivery_destination(name=name))
            self._gone(lambda: self._logs.delete_delivery_source(name=name))

        self._when_free(attempt)

    def _ensure_source(self, name: str, resource_arn: str, log_type: str, tagging: Tagging) -> None:
        source = self._source(name)
        # What is there isn't put again: whether that replaces its tags isn't documented.
        if source is not None and source.about.get("resourceArns") == [resource_arn]:
            self._settle_tags(source.arn, source.tags, tagging)
            return
        self._when_free(
            lambda: self._logs.put_delivery_source(
                name=name, resourceArn=resource_arn, logType=log_type, tags=tagging.wanted
            )
        )

    def _ensure_destination(self, name: str, log_group_arn: str, tagging: Tagging) -> str:
        """Have a destination that leads to the log group, and return its ARN."""
        configuration: DeliveryDestinationConfigurationTypeDef = {"destinationResourceArn": log_group_arn}
        destination = self._destination(name)
        if (
            destination is None
            or destination.about.get("outputFormat") != OUTPUT_FORMAT
            or destination.about.get("deliveryDestinationConfiguration") != configuration
        ):
            arn = self._when_free(
                lambda: self._logs.put_delivery_destination(
                    name=name,
                    outputFormat=OUTPUT_FORMAT,
                    deliveryDestinationConfiguration=configuration,
                    tags=tagging.wanted,
                )
            )["deliveryDestination"]["arn"]
            if destination is None:
                return arn
        # Also after a put: whether that changes the tags of what is there isn't documented.
        self._settle_tags(destination.arn, destination.tags, tagging)
        return destination.arn

    def _source(self, name: str) -> _Part | None:
        return self._ours(name, lambda: self._logs.get_delivery_source(name=name)["deliverySource"])

    def _destination(self, name: str) -> _Part | None:
        return self._ours(name, lambda: self._logs.get_delivery_destination(name=name)["deliveryDestination"])

    def _ours(self, name: str, get: Callable[[], Mapping[str, Any]]) -> _Part | None:
        """Return the owner's part of that name, None where there is none; raises ResourceError."""
        try:
            found = self._call(get)
        except Exception as error:
            if error_code(error) == GONE:
                return None
            raise
        # The answers of Get… and Describe… have no tags, though the model says so:
        # https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/logs/delivery_source.go
        tags = self._tags(found["arn"])
        if tags is None:
            return None
        if not self._owner.owns_tagged(tags):
            raise ResourceError(
                f"Log delivery {name} exists and isn't this stack's; choose another Name or delete it"
            )
        return _Part(found["arn"], found, tags)

    def _tags(self, arn: str) -> Mapping[str, str] | None:
        try:
            return self._call(lambda: self._logs.list_tags_for_resource(resourceArn=arn)).get("tags", {})
        except Exception as error:
            if error_code(error) == GONE:
                return None
            raise

    def _settle_tags(self, arn: str, present: Mapping[str, str], tagging: Tagging) -> None:
        tagging.settle(
            present,
            lambda tags: self._when_free(lambda: self._logs.tag_resource(resourceArn=arn, tags=tags)),
            lambda keys: self._when_free(lambda: self._logs.untag_resource(resourceArn=arn, tagKeys=keys)),
        )

    def _delete(self, delivery_id: str) -> None:
        self._gone(lambda: self._when_free(lambda: self._logs.delete_delivery(id=delivery_id)))

    def _deliveries(self, name: str) -> list[Any]:
        found: list[Any] = []
        token = ""
        while True:
            page = token
            answer = self._call(
                lambda page=page: self._logs.describe_deliveries(  # type: ignore[misc]
                    **({"nextToken": page} if page else {})
                )
            )
            found += [one for one in answer.get("deliveries", []) if one.get("deliverySourceName") == name]
            token = answer.get("nextToken", "")
            if not token:
                return found

    def _gone(self, delete: Callable[[], Any]) -> None:
        try:
            self._call(delete)
        except Exception as error:
            if error_code(error) != GONE:
                raise

    def _when_free(self, change: Callable[[], T]) -> T:
        return retry(
            lambda: self._call(change),
            lambda error: error_code(error) in BUSY,
            self._deadline.share(1, at_most=BUSY_SECONDS),
        )

    def _call(self, call: Callable[[], T]) -> T:
        return retry(call, is_throttled, self._deadline)
