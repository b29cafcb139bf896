"""CLOUDFRONT-scope web ACLs of one account: WAF's API as verbs that wait.

A change needs the lock token of the state it replaces; an entity made a moment ago may not be found yet, and
one that a distribution let go of a moment ago still counts as associated. All three pass, and are waited out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from custom_resources.aws import error_code, error_message, is_throttled
from custom_resources.ownership import tag_list, tag_mapping
from custom_resources.tags import Tagging
from custom_resources.waiting import Deadline, poll, retry

if TYPE_CHECKING:
    from mypy_boto3_wafv2 import WAFV2Client

logger = logging.getLogger(__name__)

T = TypeVar("T")

SCOPE: Final = "CLOUDFRONT"
PAGE = 100
# WAF takes only log groups whose name begins so.
LOG_GROUP_PREFIX = "aws-waf-logs-"
# The service asks to try these again.
PASSING = frozenset(
    {"WAFUnavailableEntityException", "WAFInternalErrorException", "WAFTagOperationInternalErrorException"}
)
# Of a call without a lock token: the service was at another change of the same thing.
OVERTAKEN = frozenset({"WAFOptimisticLockException"})
PASSING_SECONDS = 120.0
# A web ACL that is new, and the right to write to its log group, are known everywhere after a while.
LOGGING_REFUSALS = frozenset(
    {"WAFNonexistentItemException", "WAFLogDestinationPermissionIssueException", "WAFOptimisticLockException"}
)
LOGGING_SECONDS = 120.0
LISTED_SECONDS = 60.0


@dataclass(frozen=True)
class WebAcl:
    """A web ACL as listed."""

    id: str
    name: str
    arn: str


class WebAcls:
    """Reads and changes web ACLs until `deadline`."""

    def __init__(self, waf: WAFV2Client, deadline: Deadline) -> None:
        self.deadline = deadline
        self._waf = waf

    def find(self, name: str) -> WebAcl | None:
        """Return the web ACL of that name, None where there is none."""
        marker = ""
        while True:
            page = marker
            answer = self._call(
                lambda page=page: self._waf.list_web_acls(  # type: ignore[misc]
                    Scope=SCOPE, Limit=PAGE, **({"NextMarker": page} if page else {})
                )
            )
            for item in answer.get("WebACLs", []):
                if item["Name"] == name:
                    return WebAcl(item["Id"], item["Name"], item["ARN"])
            marker = answer.get("NextMarker", "")
            # The last page of some answers carries a marker too.
            if not marker or not answer.get("WebACLs"):
                return None

    def tags(self, acl: WebAcl) -> dict[str, str]:
        """Return the web ACL's tags; none where it is gone."""
        marker = ""
        tags: dict[str, str] = {}
        while True:
            page = marker
            try:
                answer = self._call(
                    lambda page=page: self._waf.list_tags_for_resource(  # type: ignore[misc]
                        ResourceARN=acl.arn, **({"NextMarker": page} if page else {})
                    )
                )
            except Exception as error:
                if error_code(error) == "WAFNonexistentItemException":
                    return {}
                raise
            tags |= tag_mapping(answer.get("TagInfoForResource", {}).get("TagList", []))
            marker = answer.get("NextMarker", "")
            if not marker:
                return tags

    def settle_tags(self, acl: WebAcl, present: Mapping[str, str], tagging: Tagging) -> None:
        """Change the tags of a web ACL that has those `present`."""
        tagging.settle(
            present,
            lambda tags: self._call(lambda: self._waf.tag_resource(ResourceARN=acl.arn, Tags=tag_list(tags))),
            lambda keys: self._call(lambda: self._waf.untag_resource(ResourceARN=acl.arn, TagKeys=keys)),
        )

    def create(self, name: str, definition: Mapping[str, Any], tags: Mapping[str, str]) -> WebAcl | None:
        """Make a web ACL; None where the name is taken."""
        try:
            summary = self._call(
                lambda: self._waf.create_web_acl(Name=name, Scope=SCOPE, Tags=tag_list(tags), **definition),
                also=OVERTAKEN,
            )["Summary"]
        except Exception as error:
            if error_code(error) == "WAFDuplicateItemException":
                return None
            raise
        return WebAcl(summary["Id"], summary["Name"], summary["ARN"])

    def update(self, acl: WebAcl, definition: Mapping[str, Any]) -> None:
        """Replace the whole definition; another change in between is waited out."""

        def attempt() -> bool | None:
            token = self.read(acl)["LockToken"]
            try:
                self._call(
                    lambda: self._waf.update_web_acl(
                        Name=acl.name, Scope=SCOPE, Id=acl.id, LockToken=token, **definition
                    )
                )
            except Exception as error:
                if error_code(error) != "WAFOptimisticLockException":
                    raise
                logger.info("Web ACL %s was changed by somebody else meanwhile", acl.name)
                return None
            return True

        poll(attempt, self.deadline, lambda: f"Web ACL {acl.name} is changed by somebody else all the time")

    def read(self, acl: WebAcl) -> Any:
        """Return GetWebACL's answer: the web ACL and the lock token of this state."""
        return self._call(
            lambda: self._waf.get_web_acl(Name=acl.name, Scope=SCOPE, Id=acl.id),
            also=frozenset({"WAFNonexistentItemException"}),
        )

    def remove(self, acl: WebAcl) -> None:
        """Delete the web ACL; a distribution that still counts as using it is waited for."""
        self._stop_logging(acl)
        refusal: list[str] = []

        def attempt() -> bool | None:
            try:
                token = self._call(lambda: self._waf.get_web_acl(Name=acl.name, Scope=SCOPE, Id=acl.id))[
                    "LockToken"
                ]
                self._call(
                    lambda: self._waf.delete_web_acl(Name=acl.name, Scope=SCOPE, Id=acl.id, LockToken=token)
                )
            except Exception as error:
                code = error_code(error)
                if code == "WAFNonexistentItemException":
                    return True
                if code not in {"WAFAssociatedItemException", "WAFOptimisticLockException"}:
                    raise
                refusal[:] = [error_message(error)]
                logger.info("DeleteWebACL: %s", refusal[0])
                return None
            return True

        poll(
            attempt,
            self.deadline,
            lambda: f"Web ACL {acl.name} is still in use; take it from the distribution first: {refusal[0]}",
        )

    def log(self, acl: WebAcl, destination_arn: str, logging_filter: Mapping[str, Any] | None) -> None:
        """Have the web ACL write to a log group, in place of what it wrote to before."""
        configuration: Any = {"ResourceArn": acl.arn, "LogDestinationConfigs": [destination_arn]}
        if logging_filter is not None:
            configuration["LoggingFilter"] = logging_filter
        retry(
            lambda: self._call(
                lambda: self._waf.put_logging_configuration(LoggingConfiguration=configuration)
            ),
            lambda error: error_code(error) in LOGGING_REFUSALS,
            self.deadline.share(1, at_most=LOGGING_SECONDS),
        )

    def _stop_logging(self, acl: WebAcl) -> None:
        try:
            self._call(
                lambda: self._waf.delete_logging_configuration(ResourceArn=acl.arn),
                also=OVERTAKEN,
            )
        except Exception as error:
            if error_code(error) != "WAFNonexistentItemException":
                raise

    def _call(self, call: Callable[[], T], *, also: frozenset[str] = frozenset()) -> T:
        """Make a call, repeated while it is throttled, and for a while where the service asks for it."""
        passing = PASSING | also
        limit = self.deadline.share(1, at_most=PASSING_SECONDS)
        return retry(
            lambda: retry(call, is_throttled, self.deadline),
            lambda error: error_code(error) in passing,
            limit,
        )
