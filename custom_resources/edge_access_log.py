"""`Custom::EdgeAccessLog`: the access log of a CloudFront distribution, for a stack in any region.

CloudFront's standard logging (v2) is set up by CloudWatch Logs' delivery API, for a distribution in US East
(N. Virginia) only; so `AWS::Logs::Delivery` does it only for a stack of that region. (The older logging
writes to a bucket with ACLs, and to none in the regions one opts into.) Needs the commercial partition: see
`edge.py`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from custom_resources.edge import Place
from custom_resources.errors import ResourceError
from custom_resources.lifecycle import Attributes, Request, Resource, lambda_handler_for
from custom_resources.log_deliveries import LogDeliveries
from custom_resources.log_groups import RETENTION_DAYS, LogGroups
from custom_resources.ownership import Owner
from custom_resources.properties import Raw, Update, choice, required_text, text
from custom_resources.tags import Tag, Tagging, tags_property
from custom_resources.waiting import Deadline

logger = logging.getLogger(__name__)

NAME = r"[A-Za-z0-9_\-]{1,60}"
LOG_TYPE = "ACCESS_LOGS"
# Groups of this name share one resource policy that CloudWatch Logs keeps short.
LOG_GROUP_PREFIX = "/aws/vendedlogs/cloudfront/"
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html
# Neither the query nor cookies nor the referrer: they may hold what a caller proves itself by.
FIELDS = (
    *("date", "time", "x-edge-location", "c-ip", "cs-protocol", "cs-method", "x-host-header", "cs-uri-stem"),
    *("sc-status", "x-edge-result-type", "x-edge-detailed-result-type", "x-edge-response-result-type"),
    *("x-edge-request-id", "time-taken", "time-to-first-byte", "sc-bytes", "cs-bytes", "sc-content-type"),
    *("cs-protocol-version", "ssl-protocol", "cs(User-Agent)"),
)
# Kept of the function's time for removing what was made.
CLEAN_UP_SECONDS = 60.0
CLEAN_UP_SHARE = 0.25


@dataclass(frozen=True)
class EdgeAccessLogProperties:
    """Properties of `Custom::EdgeAccessLog`."""

    name: str = text(
        NAME,
        "1 to 60 letters, digits, hyphens and underscores",
        description="Name of the delivery; the log group is `/aws/vendedlogs/cloudfront/<Name>`.",
        update=Update.REPLACEMENT,
    )
    distribution_id: str = text(
        r"[A-Z0-9]{1,32}", "the id of a distribution", description="Id of the distribution to log."
    )
    log_retention_days: str = choice(*RETENTION_DAYS, description="Days to keep the log.")
    tags: tuple[Tag, ...] = tags_property()

    @property
    def log_group_name(self) -> str:
        """Name of the log group."""
        return f"{LOG_GROUP_PREFIX}{self.name}"


class EdgeAccessLog(Resource[EdgeAccessLogProperties]):
    """Keeps the access log of one CloudFront distribution, for a stack in any region.

    Standard logging v2 delivers to a log group in US East (N. Virginia), where the native types make its
    parts only for a stack of that region.
    """

    model = EdgeAccessLogProperties
    attributes = {  # noqa: RUF012 - ClassVar in the base
        "LogGroupName": "Name of the log group.",
        "LogGroupArn": "Its ARN.",
    }
    failures = {  # noqa: RUF012
        "exists and isn't this stack's": "choose another `Name`, or delete what its owner no longer needs",
        "has no CloudFront with web ACLs": "the type works in the commercial partition only: leave it out",
    }

    @staticmethod
    def identify(raw: Raw) -> str:
        """Return `edge-access-log|<Name>`."""
        return f"edge-access-log|{required_text(raw, 'Name')}"

    def create(self, request: Request, properties: EdgeAccessLogProperties) -> Attributes:
        """Set the log up, or take over what an earlier delivery of this request left."""
        return self._converge(request, properties, None)

    def update(
        self,
        request: Request,
        properties: EdgeAccessLogProperties,
        previous: EdgeAccessLogProperties | None,
    ) -> Attributes:
        """Change in place; a source can't be pointed to another distribution, so it is made anew for one."""
        if previous is not None and previous.name != properties.name:
            # A distribution has one source: the one that this replaces goes first, its log group later.
            self._end_delivery(request, previous.name)
        return self._converge(request, properties, previous)

    def delete(self, request: Request, properties: EdgeAccessLogProperties | None) -> None:
        """Delete delivery and log group if they carry this resource's mark."""
        kind, _, name = request.physical_resource_id.partition("|")
        if kind != "edge-access-log" or not name:
            # CloudFormation made the id up for a Create it gave up on, which may have come far all the same.
            name = properties.name if properties is not None else ""
        place = Place.of_stack(request.stack_id)
        if not name or not place.has_edge:
            logger.info("Nothing was made under %s", request.physical_resource_id)
            return
        self._remove(request, place, name)

    def _converge(
        self, request: Request, properties: EdgeAccessLogProperties, previous: EdgeAccessLogProperties | None
    ) -> Attributes:
        deadline = self.runtime.deadline
        work = deadline.earlier_by(min(CLEAN_UP_SECONDS, deadline.remaining() * CLEAN_UP_SHARE))
        place = Place.of_stack(request.stack_id)
        groups, deliveries = self._tools(request, place, work)
        marks = _owner(request).tags()
        tagging = Tagging.of(marks, properties.tags, previous.tags if previous else ())
        distribution = (
            f"arn:{place.partition}:cloudfront::{place.account}:distribution/{properties.distribution_id}"
        )
        logged = deliveries.source_of(properties.name)
        try:
            if logged not in {None, distribution}:
                self.runtime.doing(f"ending the log of {logged}")
                deliveries.remove(properties.name)
            self.runtime.doing(f"preparing log group {properties.log_group_name}")
            days = int(properties.log_retention_days)
            log_group_arn = groups.ensure(properties.log_group_name, days, tagging)
            self.runtime.doing(f"setting up the log of distribution {properties.distribution_id}")
            deliveries.ensure(properties.name, distribution, LOG_TYPE, log_group_arn, FIELDS, tagging)
        except Exception as error:
            # What was there before is a log that somebody reads.
            if logged is None:
                self._clean_up(request, place, properties.name, error)
            raise
        return {"LogGroupName": properties.log_group_name, "LogGroupArn": log_group_arn}

    def _clean_up(self, request: Request, place: Place, name: str, cause: Exception) -> None:
        """Remove what a failed creation made; what stays is named in the reason."""
        self.runtime.doing(f"removing log delivery {name} again")
        try:
            self._remove(request, place, name)
        except Exception as error:
            logger.exception("Log delivery %s couldn't be removed again", name)
            raise ResourceError(
                f"(Log delivery {name} couldn't be removed again: {type(error).__name__}.) {cause}"
            ) from cause

    def _remove(self, request: Request, place: Place, name: str) -> None:
        if not self._end_delivery(request, name):
            return
        groups, _ = self._tools(request, place, self.runtime.deadline)
        self.runtime.doing(f"deleting log group {LOG_GROUP_PREFIX}{name}")
        groups.remove(f"{LOG_GROUP_PREFIX}{name}")

    def _end_delivery(self, request: Request, name: str) -> bool:
        """Delete source, destination and delivery of that name; return whether they are this resource's."""
        _, deliveries = self._tools(request, Place.of_stack(request.stack_id), self.runtime.deadline)
        try:
            deliveries.source_of(name)
        except ResourceError as error:
            logger.warning("%s", error)
            return False
        # Also without a source: somebody may have deleted that alone.
        self.runtime.doing(f"deleting log delivery {name}")
        deliveries.remove(name)
        return True

    def _tools(self, request: Request, place: Place, deadline: Deadline) -> tuple[LogGroups, LogDeliveries]:
        owner = _owner(request)
        logs = self.runtime.clients.logs(place.edge_region)
        return LogGroups(logs, place, owner, deadline), LogDeliveries(logs, owner, deadline)


def _owner(request: Request) -> Owner:
    return Owner(request.stack_id, request.logical_resource_id)


handler = lambda_handler_for(EdgeAccessLog)
