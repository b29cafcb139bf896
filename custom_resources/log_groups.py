"""Log groups that a custom resource makes: in another region than the stack's, where no template can.

The vended logs of a distribution and of its web ACL go to a group in CloudFront's region.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from custom_resources.aws import error_code, is_throttled
from custom_resources.edge import Place
from custom_resources.errors import ResourceError
from custom_resources.ownership import Owner
from custom_resources.tags import Tagging
from custom_resources.waiting import Deadline, retry

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

logger = logging.getLogger(__name__)

T = TypeVar("T")

# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
RETENTION_DAYS = (
    *("1", "3", "5", "7", "14", "30", "60", "90", "120", "150", "180", "365", "400", "545", "731"),
    *("1096", "1827", "2192", "2557", "2922", "3288", "3653"),
)
# Another request for the same group is in progress.
PASSING = frozenset({"OperationAbortedException", "ServiceUnavailableException"})


class LogGroups:
    """Log groups of one owner in CloudFront's region, made and deleted until `deadline`."""

    def __init__(self, logs: CloudWatchLogsClient, place: Place, owner: Owner, deadline: Deadline) -> None:
        self._logs = logs
        self._place = place
        self._owner = owner
        self._deadline = deadline

    def arn(self, name: str) -> str:
        """Return the group's ARN, without the `:*` that some actions want behind it."""
        place = self._place
        return f"arn:{place.partition}:logs:{place.edge_region}:{place.account}:log-group:{name}"

    def ensure(self, name: str, retention_days: int, tagging: Tagging) -> str:
        """Make the group, or take the owner's, and return its ARN; raises ResourceError for another's."""
        try:
            self._call(lambda: self._logs.create_log_group(logGroupName=name, tags=tagging.wanted))
        except Exception as error:
            if error_code(error) != "ResourceAlreadyExistsException":
                raise
            present = self._tags(name)
            if not self._owner.owns_tagged(present):
                raise ResourceError(
                    f"Log group {name} exists and isn't this stack's; choose another Name or delete it"
                ) from error
            self._settle_tags(name, present, tagging)
        self._call(lambda: self._logs.put_retention_policy(logGroupName=name, retentionInDays=retention_days))
        return self.arn(name)

    def remove(self, name: str) -> None:
        """Delete the group if it is the owner's; one that is gone is a success."""
        if not self._owner.owns_tagged(self._tags(name)):
            logger.info("Log group %s is gone or isn't this resource's", name)
            return
        try:
            self._call(lambda: self._logs.delete_log_group(logGroupName=name))
        except Exception as error:
            if error_code(error) != "ResourceNotFoundException":
                raise

    def _settle_tags(self, name: str, present: Mapping[str, str], tagging: Tagging) -> None:
        arn = self.arn(name)
        tagging.settle(
            present,
            lambda tags: self._call(lambda: self._logs.tag_resource(resourceArn=arn, tags=tags)),
            lambda keys: self._call(lambda: self._logs.untag_resource(resourceArn=arn, tagKeys=keys)),
        )

    def _tags(self, name: str) -> Mapping[str, str]:
        """Return the group's tags; none where it is gone."""
        try:
            answer = self._call(lambda: self._logs.list_tags_for_resource(resourceArn=self.arn(name)))
        except Exception as error:
            if error_code(error) == "ResourceNotFoundException":
                return {}
            raise
        return answer.get("tags", {})

    def _call(self, call: Callable[[], T]) -> T:
        return retry(call, lambda error: is_throttled(error) or error_code(error) in PASSING, self._deadline)
