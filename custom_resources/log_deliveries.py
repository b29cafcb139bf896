"""Vended log deliveries: a source (whose log), a destination (a log group), and the delivery between them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-vended-logs-permissions-V2.html
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from custom_resources.aws import error_code, error_message, is_throttled
from custom_resources.errors import ResourceError
from custom_resources.ownership import Owner
from custom_resources.waiting import Deadline, poll, retry

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

logger = logging.getLogger(__name__)

T = TypeVar("T")

GONE = "ResourceNotFoundException"
# One of the three is being changed, or was deleted a moment ago and still counts.
BUSY = frozenset({"ConflictException", "ServiceUnavailableException"})
BUSY_SECONDS = 120.0


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
        self._ours(
            name, lambda: self._logs.get_delivery_destination(name=name).get("deliveryDestination", {})
        )
        source = self._ours(name, lambda: self._logs.get_delivery_source(name=name).get("deliverySource", {}))
        return None if source is None else next(iter(source.get("resourceArns", [])), "")

    def ensure(
        self, name: str, resource_arn: str, log_type: str, log_group_arn: str, fields: Iterable[str]
    ) -> None:
        """Have the resource's log delivered to the log group as JSON lines."""
        tags, wanted = self._owner.tags(), list(fields)
        self._when_free(
            lambda: self._logs.put_delivery_source(
                name=name, resourceArn=resource_arn, logType=log_type, tags=tags
            )
        )
        destination = self._when_free(
            lambda: self._logs.put_delivery_destination(
                name=name,
                outputFormat="json",
                deliveryDestinationConfiguration={"destinationResourceArn": log_group_arn},
                tags=tags,
            )
        )["deliveryDestination"]["arn"]
        refusal: list[str] = []

        def attempt() -> bool | None:
            for delivery in self._deliveries(name):
                same = delivery.get("deliveryDestinationArn") == destination
                if same and delivery.get("recordFields") == wanted:
                    return True
                self._delete(delivery["id"])
            try:
                self._call(
                    lambda: self._logs.create_delivery(
                        deliverySourceName=name,
                        deliveryDestinationArn=destination,
                        recordFields=wanted,
                        tags=tags,
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

    def _ours(self, name: str, get: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any] | None:
        try:
            found = self._call(get)
        except Exception as error:
            if error_code(error) == GONE:
                return None
            raise
        if not self._owner.owns_tagged(found.get("tags", {})):
            raise ResourceError(
                f"Log delivery {name} exists and isn't this stack's; choose another Name or delete it"
            )
        return found

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
