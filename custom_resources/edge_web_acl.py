"""`Custom::EdgeWebAcl`: the web ACL of a CloudFront distribution, for a stack in any region.

`AWS::WAFv2::WebACL` makes one of scope CLOUDFRONT in a stack of US East (N. Virginia) only. Shapes and limits
are those of botocore's model of wafv2. Needs the commercial partition: see `edge.py`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from custom_resources.edge import Place
from custom_resources.errors import PropertyError, ResourceError
from custom_resources.lifecycle import Attributes, Request, Resource, lambda_handler_for
from custom_resources.log_groups import RETENTION_DAYS, LogGroups
from custom_resources.ownership import Owner
from custom_resources.properties import (
    Raw,
    Update,
    choice,
    object_list,
    required_text,
    text,
    text_list,
    whole_number,
)
from custom_resources.tags import Tag, Tagging, tags_property
from custom_resources.waiting import Deadline, poll
from custom_resources.web_acls import LISTED_SECONDS, LOG_GROUP_PREFIX, WebAcl, WebAcls

logger = logging.getLogger(__name__)

RULE_NAME = r"[A-Za-z0-9_\-]{1,128}"
COUNTRY = r"[A-Z]{2}"
# What a caller proves itself by; kept out of logs and of the sampled requests in the console.
PROTECTED_HEADERS = ("authorization", "cookie")
LOGGED_ACTIONS = ("BLOCK", "COUNT", "EXCLUDED_AS_COUNT")
# Kept of the function's time for removing what was made.
CLEAN_UP_SECONDS = 60.0
CLEAN_UP_SHARE = 0.25


@dataclass(frozen=True)
class ManagedRuleGroup:
    """An entry of `ManagedRuleGroups`."""

    name: str = text(
        RULE_NAME,
        "the name of a managed rule group, such as AWSManagedRulesCommonRuleSet",
        description="Name of a managed rule group, such as AWSManagedRulesCommonRuleSet.",
    )
    vendor_name: str = text(
        r"\S.{0,127}", "a vendor's name", default="AWS", description="Whose rule group it is."
    )
    version: str = text(
        r"[A-Za-z0-9_#:.\-/]{0,64}",
        "a version of the rule group",
        default="",
        description="Version to stay at; without it the vendor's default, which moves.",
    )
    counted_rules: tuple[str, ...] = text_list(
        RULE_NAME,
        "names of rules",
        at_most=100,
        description="Rules of the group that only count what they match, in place of their own action.",
    )


@dataclass(frozen=True)
class EdgeWebAclProperties:
    """Properties of `Custom::EdgeWebAcl`."""

    name: str = text(
        RULE_NAME,
        "1 to 128 letters, digits, hyphens and underscores",
        description="Name of the web ACL and of its metrics; its log group is `aws-waf-logs-<Name>`.",
        update=Update.REPLACEMENT,
    )
    log_retention_days: str = choice(*RETENTION_DAYS, description="Days to keep the log.")
    managed_rule_groups: tuple[ManagedRuleGroup, ...] = object_list(
        ManagedRuleGroup,
        at_most=20,
        unique="name",
        description="Managed rule groups in the order in which they are asked.",
    )
    rate_limit: int = whole_number(
        0,
        2_000_000_000,
        default=0,
        description="Requests one address may make within RateWindowSeconds, 10 or more; 0 sets no limit.",
    )
    rate_window_seconds: str = choice(
        "60", "120", "300", "600", default="300", description="Time over which requests are counted."
    )
    allowed_countries: tuple[str, ...] = text_list(
        COUNTRY,
        "country codes of ISO 3166 such as DE",
        at_most=250,
        description="Countries that may call; all others are blocked. Empty allows all.",
    )
    blocked_countries: tuple[str, ...] = text_list(
        COUNTRY,
        "country codes of ISO 3166 such as DE",
        at_most=250,
        description="Countries that may not call. Not together with AllowedCountries.",
    )
    logged_requests: str = choice(
        "MATCHED",
        "ALL",
        default="MATCHED",
        description="MATCHED logs what a rule blocked or counted, ALL every request.",
    )
    tags: tuple[Tag, ...] = tags_property()

    def __post_init__(self) -> None:
        """Refuse contradictions, and a web ACL that would do nothing."""
        if self.allowed_countries and self.blocked_countries:
            raise PropertyError("Give only one of the properties AllowedCountries and BlockedCountries")
        if 0 < self.rate_limit < 10:
            raise PropertyError(f"Property RateLimit: {self.rate_limit} is too few; WAF counts from 10 on")
        if not self.rules():
            raise PropertyError(
                "The web ACL would let everything by; give ManagedRuleGroups, RateLimit or countries"
            )

    @property
    def log_group_name(self) -> str:
        """The log group's name; WAF asks for this beginning."""
        return f"{LOG_GROUP_PREFIX}{self.name}"

    def definition(self) -> dict[str, Any]:
        """Return what CreateWebACL and UpdateWebACL share."""
        return {
            "DefaultAction": {"Allow": {}},
            "Rules": [{**rule, "Priority": priority} for priority, rule in enumerate(self.rules())],
            "VisibilityConfig": self._visibility(self.name),
            "DataProtectionConfig": {
                "DataProtections": [
                    {
                        "Field": {"FieldType": "SINGLE_HEADER", "FieldKeys": [header]},
                        "Action": "SUBSTITUTION",
                    }
                    for header in PROTECTED_HEADERS
                ]
            },
        }

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules without their priority, the cheapest and most telling first."""
        rules = []
        if self.allowed_countries:
            allowed = {"GeoMatchStatement": {"CountryCodes": list(self.allowed_countries)}}
            rules.append(self._blocking("countries", {"NotStatement": {"Statement": allowed}}))
        if self.blocked_countries:
            blocked = {"GeoMatchStatement": {"CountryCodes": list(self.blocked_countries)}}
            rules.append(self._blocking("countries", blocked))
        if self.rate_limit:
            rate = {
                "Limit": self.rate_limit,
                "EvaluationWindowSec": int(self.rate_window_seconds),
                "AggregateKeyType": "IP",
            }
            rules.append(self._blocking("rate", {"RateBasedStatement": rate}))
        return rules + [self._managed(group) for group in self.managed_rule_groups]

    def logging_filter(self) -> dict[str, Any] | None:
        """Return the filter of the log, None where every request is logged."""
        if self.logged_requests == "ALL":
            return None
        conditions = [{"ActionCondition": {"Action": action}} for action in LOGGED_ACTIONS]
        return {
            "DefaultBehavior": "DROP",
            "Filters": [{"Behavior": "KEEP", "Requirement": "MEETS_ANY", "Conditions": conditions}],
        }

    def _blocking(self, name: str, statement: dict[str, Any]) -> dict[str, Any]:
        return {
            "Name": name,
            "Statement": statement,
            "Action": {"Block": {}},
            "VisibilityConfig": self._visibility(name),
        }

    def _managed(self, group: ManagedRuleGroup) -> dict[str, Any]:
        statement: dict[str, Any] = {"VendorName": group.vendor_name, "Name": group.name}
        if group.version:
            statement["Version"] = group.version
        if group.counted_rules:
            statement["RuleActionOverrides"] = [
                {"Name": rule, "ActionToUse": {"Count": {}}} for rule in group.counted_rules
            ]
        return {
            "Name": group.name,
            "Statement": {"ManagedRuleGroupStatement": statement},
            "OverrideAction": {"None": {}},
            "VisibilityConfig": self._visibility(group.name),
        }

    @staticmethod
    def _visibility(metric: str) -> dict[str, Any]:
        return {"SampledRequestsEnabled": True, "CloudWatchMetricsEnabled": True, "MetricName": metric}


class EdgeWebAcl(Resource[EdgeWebAclProperties]):
    """Keeps the web ACL of a CloudFront distribution and its log group, for a stack in any region.

    A web ACL of scope `CLOUDFRONT` exists in US East (N. Virginia) only, where `AWS::WAFv2::WebACL` makes it
    only for a stack of that region. What no rule blocks is let by; countries are asked first, then the rate
    limit, then the managed groups. `Authorization` and `Cookie` are replaced in logs and sampled requests.
    """

    model = EdgeWebAclProperties
    attributes = {  # noqa: RUF012 - ClassVar in the base
        "Arn": "ARN of the web ACL, for a distribution's `WebACLId`.",
        "Id": "Its id.",
        "Capacity": "Capacity units it uses, of 1,500 that are in the price.",
        "MetricName": "Name of its CloudWatch metric.",
        "LogGroupName": "Name of its log group.",
    }
    failures = {  # noqa: RUF012
        "isn't this stack's": "choose another `Name`, or delete what its owner no longer needs",
        "still uses it": "a distribution must let go of the web ACL first",
        "let everything by": "give managed rule groups, a rate limit or countries",
    }

    @staticmethod
    def identify(raw: Raw) -> str:
        """Return `edge-web-acl|<Name>`: the name is unique among the account's web ACLs for CloudFront."""
        return f"edge-web-acl|{required_text(raw, 'Name')}"

    def create(self, request: Request, properties: EdgeWebAclProperties) -> Attributes:
        """Make the web ACL, or adopt the one an earlier delivery of this request left."""
        return self._converge(request, properties, None)

    def update(
        self,
        request: Request,
        properties: EdgeWebAclProperties,
        previous: EdgeWebAclProperties | None,
    ) -> Attributes:
        """Replace definition and tags in place; make a missing web ACL anew."""
        return self._converge(request, properties, previous)

    def delete(self, request: Request, properties: EdgeWebAclProperties | None) -> None:
        """Delete web ACL and log group if they carry this resource's mark."""
        kind, _, name = request.physical_resource_id.partition("|")
        if kind != "edge-web-acl" or not name:
            # CloudFormation made the id up for a Create it gave up on, which may have come far all the same.
            name = properties.name if properties is not None else ""
        if not name or not Place.of_stack(request.stack_id).has_edge:
            logger.info("Nothing was made under %s", request.physical_resource_id)
            return
        self._remove(request, name)

    def _converge(
        self, request: Request, properties: EdgeWebAclProperties, previous: EdgeWebAclProperties | None
    ) -> Attributes:
        deadline = self.runtime.deadline
        work = deadline.earlier_by(min(CLEAN_UP_SECONDS, deadline.remaining() * CLEAN_UP_SHARE))
        place, owner = Place.of_stack(request.stack_id), _owner(request)
        tagging = Tagging.of(owner.tags(), properties.tags, previous.tags if previous else ())
        acls, groups = self._acls(place, work), self._groups(place, owner, work)
        was_there = acls.find(properties.name) is not None
        try:
            self.runtime.doing(f"preparing log group {properties.log_group_name}")
            days = int(properties.log_retention_days)
            log_group_arn = groups.ensure(properties.log_group_name, days, tagging)
            acl = self._ensure_acl(acls, owner, properties, tagging)
            return self._with_log(acls, acl, properties, log_group_arn)
        except Exception as error:
            # What was there before may protect a distribution.
            if not was_there:
                self._clean_up(request, properties.name, error)
            raise

    def _with_log(
        self, acls: WebAcls, acl: WebAcl, properties: EdgeWebAclProperties, log_group_arn: str
    ) -> Attributes:
        self.runtime.doing(f"having web ACL {acl.name} log to {properties.log_group_name}")
        acls.log(acl, log_group_arn, properties.logging_filter())
        found = acls.read(acl)["WebACL"]
        return {
            "Arn": acl.arn,
            "Id": acl.id,
            "Capacity": str(found.get("Capacity", "")),
            "MetricName": found["VisibilityConfig"]["MetricName"],
            "LogGroupName": properties.log_group_name,
        }

    def _ensure_acl(
        self, acls: WebAcls, owner: Owner, properties: EdgeWebAclProperties, tagging: Tagging
    ) -> WebAcl:
        definition = properties.definition()

        def attempt() -> tuple[WebAcl, bool] | None:
            found = acls.find(properties.name)
            if found is not None:
                return found, False
            made = acls.create(properties.name, definition, tagging.wanted)
            # A name that is taken by a web ACL which isn't listed yet.
            return None if made is None else (made, True)

        self.runtime.doing(f"making web ACL {properties.name}")
        acl, is_new = poll(
            attempt,
            acls.deadline.share(1, at_most=LISTED_SECONDS),
            lambda: f"The name {properties.name} is taken, but WAF lists no web ACL of that name",
        )
        if is_new:
            return acl
        present = acls.tags(acl)
        if not owner.owns_tagged(present):
            raise ResourceError(
                f"The account has a web ACL {properties.name} for CloudFront that isn't this stack's; "
                "choose another Name or delete it"
            )
        self.runtime.doing(f"updating web ACL {acl.name}")
        acls.update(acl, definition)
        acls.settle_tags(acl, present, tagging)
        return acl

    def _clean_up(self, request: Request, name: str, cause: Exception) -> None:
        """Remove what a failed creation made; what stays is named in the reason."""
        self.runtime.doing(f"removing web ACL {name} again")
        try:
            if Place.of_stack(request.stack_id).has_edge:
                self._remove(request, name)
        except Exception as error:
            logger.exception("Web ACL %s couldn't be removed again", name)
            raise ResourceError(
                f"(Web ACL {name} couldn't be removed again: {type(error).__name__}.) {cause}"
            ) from cause

    def _remove(self, request: Request, name: str) -> None:
        place, owner = Place.of_stack(request.stack_id), _owner(request)
        acls = self._acls(place, self.runtime.deadline)
        acl = acls.find(name)
        if acl is None:
            logger.info("Web ACL %s is gone already", name)
        elif not owner.owns_tagged(acls.tags(acl)):
            logger.warning("Web ACL %s isn't this resource's and stays", name)
        else:
            self.runtime.doing(f"deleting web ACL {name}")
            acls.remove(acl)
        self.runtime.doing(f"deleting log group {LOG_GROUP_PREFIX}{name}")
        self._groups(place, owner, self.runtime.deadline).remove(f"{LOG_GROUP_PREFIX}{name}")

    def _acls(self, place: Place, deadline: Deadline) -> WebAcls:
        return WebAcls(self.runtime.clients.wafv2(place.edge_region), deadline)

    def _groups(self, place: Place, owner: Owner, deadline: Deadline) -> LogGroups:
        return LogGroups(self.runtime.clients.logs(place.edge_region), place, owner, deadline)


def _owner(request: Request) -> Owner:
    return Owner(request.stack_id, request.logical_resource_id)


handler = lambda_handler_for(EdgeWebAcl)
