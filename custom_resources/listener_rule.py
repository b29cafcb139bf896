"""`Custom::ListenerRule`: a load balancer's rule between two target groups, with the weights left to ECS.

A blue/green deployment of ECS moves the traffic by rewriting the weights of a listener rule. CloudFormation's
own type writes those of its template back whenever the rule changes, and everybody ends at an empty group.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from custom_resources.aws import error_code
from custom_resources.errors import PropertyError, ResourceError
from custom_resources.lifecycle import Attributes, Request, Resource, lambda_handler_for
from custom_resources.ownership import Owner, tag_list, tag_mapping
from custom_resources.properties import Raw, Update, required_text, text, whole_number
from custom_resources.tags import Tag, Tagging, tags_property

if TYPE_CHECKING:
    from mypy_boto3_elbv2.type_defs import ActionTypeDef, RuleTypeDef

logger = logging.getLogger(__name__)

# The first tasks are registered with the blue group, so it is where the first traffic goes.
FIRST_WEIGHTS = (100, 0)
_TAKEN = "PriorityInUse"
_GONE = frozenset({"ListenerNotFound", "RuleNotFound"})
_LISTENER = r"arn:[\w-]+:elasticloadbalancing:[\w-]+:\d{12}:listener/app/[\w/-]{1,300}"
_TARGET_GROUP = r"arn:[\w-]+:elasticloadbalancing:[\w-]+:\d{12}:targetgroup/[\w/-]{1,300}"
_PHYSICAL_ID = re.compile(rf"listener-rule\|(?P<listener>{_LISTENER})\|(?P<priority>\d{{1,5}})")


@dataclass(frozen=True)
class ListenerRuleProperties:
    """Properties of `Custom::ListenerRule`."""

    listener_arn: str = text(
        _LISTENER,
        "the ARN of an application load balancer's listener",
        description="Listener that gets the rule.",
        update=Update.REPLACEMENT,
    )
    priority: int = whole_number(
        1,
        50000,
        description="Place of the rule among the listener's; lower ones are asked first.",
        update=Update.REPLACEMENT,
    )
    blue_target_group_arn: str = text(
        _TARGET_GROUP,
        "the ARN of a target group",
        description="Target group that gets all traffic of a new rule.",
    )
    green_target_group_arn: str = text(
        _TARGET_GROUP,
        "the ARN of a target group",
        description="Target group that gets none of it until ECS says so.",
    )
    tags: tuple[Tag, ...] = tags_property()

    @property
    def place(self) -> tuple[str, int]:
        """Where the rule is: a listener has one rule of a priority."""
        return self.listener_arn, self.priority

    @property
    def groups(self) -> tuple[str, str]:
        """Both target groups, the blue one first."""
        return self.blue_target_group_arn, self.green_target_group_arn


class ListenerRule(Resource[ListenerRuleProperties]):
    """Makes a rule that forwards every path to one of two target groups, and never moves its traffic.

    A new rule sends everything to the blue group. From then on the weights are ECS's, which rewrites them in
    every blue/green deployment. An Update keeps the weights it finds, also where a target group is another
    now; a rule that takes the place of another starts with that one's weights.
    """

    model = ListenerRuleProperties
    attributes = {"RuleArn": "ARN of the rule, as an ECS service names it."}  # noqa: RUF012 - ClassVar in the base
    failures = {  # noqa: RUF012
        "… has a rule of priority … that isn't this stack's": "delete that rule, or take another `Priority`"
    }

    @staticmethod
    def identify(raw: Raw) -> str:
        """Return `listener-rule|<ListenerArn>|<Priority>`."""
        priority = str(raw.get("Priority", ""))
        if not re.fullmatch(r"[0-9]{1,5}", priority):
            raise PropertyError("Property Priority is required and must be a whole number")
        return f"listener-rule|{required_text(raw, 'ListenerArn')}|{int(priority)}"

    def create(self, request: Request, properties: ListenerRuleProperties) -> Attributes:
        """Make the rule, or take over the one that an earlier try has made."""
        tagging = Tagging.of(_owner(request).tags(), properties.tags)
        return self._ensure(request, properties, properties.groups, {}, tagging)

    def update(
        self,
        request: Request,
        properties: ListenerRuleProperties,
        previous: ListenerRuleProperties | None,
    ) -> Attributes:
        """Keep the weights; give those of the rule before to one that takes its place."""
        tagging = Tagging.of(_owner(request).tags(), properties.tags, previous.tags if previous else ())
        if previous is None or previous.place == properties.place:
            return self._ensure(request, properties, (previous or properties).groups, {}, tagging)
        self.runtime.doing(f"reading the weights of rule {previous.priority} of {previous.listener_arn}")
        rule = self._find(*previous.place)
        there = rule is not None and _owner(request).owns_tagged(self._tags(rule))
        left = _weights(rule) if rule and there else {}
        return self._ensure(request, properties, previous.groups, left, tagging)

    def delete(self, request: Request, properties: ListenerRuleProperties | None) -> None:
        """Delete the rule, if it is there and this resource's."""
        address = _PHYSICAL_ID.fullmatch(request.physical_resource_id)
        if address is not None:
            place = address["listener"], int(address["priority"])
        elif properties is not None:
            # CloudFormation makes an id up where it gave up waiting for a Create.
            place = properties.place
        else:
            logger.info("No rule was made under %s", request.physical_resource_id)
            return
        self.runtime.doing(f"deleting rule {place[1]} of {place[0]}")
        rule = self._find(*place)
        if rule is None or not _owner(request).owns_tagged(self._tags(rule)):
            logger.info("There is no such rule, or it is somebody else's")
            return
        elbv2 = self.runtime.clients.elbv2()
        try:
            self.runtime.call(lambda: elbv2.delete_rule(RuleArn=rule["RuleArn"]))
        except Exception as error:
            if error_code(error) not in _GONE:
                raise

    def _ensure(
        self,
        request: Request,
        properties: ListenerRuleProperties,
        before: tuple[str, str],
        left: dict[str, int],
        tagging: Tagging,
    ) -> Attributes:
        """Make the rule, or have the one that is there name the target groups, and keep every share.

        `before` are the target groups of the state before, the blue one first; `left` are the weights of
        the rule that this one takes the place of. They count also where this one is there already, as on
        the way back from an Update: ECS knew the other one last.
        """
        listener, priority = properties.place
        self.runtime.doing(f"looking for rule {priority} of {listener}")
        elbv2 = self.runtime.clients.elbv2()
        rule = self._find(listener, priority)
        if rule is None:
            forward = _forward(properties.groups, _shares(left, properties.groups, before))
            self.runtime.doing(f"making rule {priority} of {listener}")
            try:
                made = self.runtime.call(
                    lambda: elbv2.create_rule(
                        ListenerArn=listener,
                        Priority=priority,
                        Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/*"]}}],
                        Actions=[forward],
                        Tags=tag_list(tagging.wanted),
                    )
                )
            except Exception as error:
                # botocore repeats a call whose answer is lost, and then meets the rule it has made.
                rule = self._find(listener, priority) if error_code(error) == _TAKEN else None
                if rule is None:
                    raise
            else:
                return {"RuleArn": made["Rules"][0]["RuleArn"]}
        present = self._tags(rule)
        if not _owner(request).owns_tagged(present):
            raise ResourceError(f"{listener} has a rule of priority {priority} that isn't this stack's")
        arn, found = rule["RuleArn"], _weights(rule)
        kept = _shares(left or found, properties.groups, before)
        if set(found) <= set(properties.groups) and _shares(found, properties.groups) == kept:
            logger.info("The weights of %s stay %s", arn, found)
        else:
            self.runtime.doing(f"having {arn} forward to {properties.groups} by {kept}")
            forward = _forward(properties.groups, kept)
            self.runtime.call(lambda: elbv2.modify_rule(RuleArn=arn, Actions=[forward]))
        self.runtime.doing(f"tagging {arn}")
        tagging.settle(
            present,
            lambda tags: self.runtime.call(lambda: elbv2.add_tags(ResourceArns=[arn], Tags=tag_list(tags))),
            lambda keys: self.runtime.call(lambda: elbv2.remove_tags(ResourceArns=[arn], TagKeys=keys)),
        )
        return {"RuleArn": arn}

    def _find(self, listener: str, priority: int) -> "RuleTypeDef | None":
        """Return the listener's rule of that priority, None where rule or listener isn't there."""
        try:
            rules = list(self._rules(listener))
        except Exception as error:
            if error_code(error) not in _GONE:
                raise
            return None
        return next((rule for rule in rules if rule.get("Priority") == str(priority)), None)

    def _rules(self, listener: str) -> "Iterator[RuleTypeDef]":
        elbv2, page = self.runtime.clients.elbv2(), dict[str, Any](ListenerArn=listener)
        while True:
            answer = self.runtime.call(partial(elbv2.describe_rules, **page))
            yield from answer["Rules"]
            if not answer.get("NextMarker"):
                return
            page["Marker"] = answer["NextMarker"]

    def _tags(self, rule: "RuleTypeDef") -> Mapping[str, str]:
        elbv2, arn = self.runtime.clients.elbv2(), rule["RuleArn"]
        described = self.runtime.call(lambda: elbv2.describe_tags(ResourceArns=[arn]))["TagDescriptions"]
        return {key: value for one in described for key, value in tag_mapping(one["Tags"]).items()}


def _owner(request: Request) -> Owner:
    return Owner(request.stack_id, request.logical_resource_id)


def _forward(groups: tuple[str, str], weights: tuple[int, int]) -> "ActionTypeDef":
    pairs = zip(groups, weights, strict=True)
    return {
        "Type": "forward",
        "ForwardConfig": {
            "TargetGroups": [{"TargetGroupArn": group, "Weight": weight} for group, weight in pairs]
        },
    }


def _weights(rule: "RuleTypeDef") -> dict[str, int]:
    """Return `{target group: weight}` of a rule's forward; a single group may be given without a weight."""
    found = {}
    for action in rule.get("Actions", []):
        groups = action.get("ForwardConfig", {}).get("TargetGroups", [])
        for group in groups:
            found[group["TargetGroupArn"]] = group.get("Weight", 1)
        if not groups and "TargetGroupArn" in action:
            found[action["TargetGroupArn"]] = 1
    return found


def _shares(weights: dict[str, int], *pairs: tuple[str, str]) -> tuple[int, int]:
    """Return the weights of the blue and the green group, whichever of `pairs` names them.

    A rule that leads nowhere gets the first weights: ECS never leaves one so.
    """
    blue = green = 0
    for group, weight in weights.items():
        pair = next((pair for pair in pairs if group in pair), None)
        if pair is None:
            continue
        if group == pair[0]:
            blue += weight
        else:
            green += weight
    return (blue, green) if blue or green else FIRST_WEIGHTS


handler = lambda_handler_for(ListenerRule)
