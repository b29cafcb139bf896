"""The listener rules of a blue/green service: which target group they lead to, and moving them to the other.

Refusals are ECS's own sentences:
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/troubleshooting-blue-green.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ministack.services import alb  # type: ignore[import-untyped]

Balancer = Mapping[str, Any]
"""A member of a service's ``loadBalancers``."""
Listener = Literal["productionListenerRule", "testListenerRule"]


class NetworkingError(Exception):
    """The load balancer isn't set up for a blue/green deployment; the text is ECS's."""


def refusal(balancers: list[dict[str, Any]]) -> str | None:
    """What CreateService and UpdateService say to load balancers that no blue/green deployment can use."""
    for balancer in balancers:
        advanced = balancer.get("advancedConfiguration")
        if not advanced:
            return (
                "advancedConfiguration field is required for all loadBalancers when using a non-ROLLING "
                "deployment strategy"
            )
        production, test = advanced.get("productionListenerRule", ""), advanced.get("testListenerRule")
        for name, arn in (("productionListenerRule", production), ("testListenerRule", test)):
            if arn is not None and ":listener-rule/" not in arn:
                expected = "Must be RuleArn for ALB or ListenerArn for NLB"
                return f"{name} has an invalid ARN format. {expected}. Got: {arn}"
        if production == test:
            return f"The following rules cannot be used as both production and test listener rules: {test}"
        both = {balancer["targetGroupArn"], advanced.get("alternateTargetGroupArn")}
        if test is None and not both <= set(_weights(production)):
            return (
                "For Application LoadBalancer, testListenerRule is required when productionListenerRule is "
                "not associated with both targetGroup and alternateTargetGroup"
            )
    return None


def serving_group(balancer: Balancer) -> str | None:
    """The group that the production rule leads to; None without such a rule. Raises nothing."""
    rule = (balancer.get("advancedConfiguration") or {}).get("productionListenerRule")
    serving = [arn for arn, weight in _weights(rule).items() if weight] if rule else []
    return serving[0] if len(serving) == 1 else None


def checked_serving_group(balancer: Balancer) -> str:
    """The one of the two groups that the production rule leads to. Raises NetworkingError."""
    advanced = balancer["advancedConfiguration"]
    group, alternate = balancer["targetGroupArn"], advanced["alternateTargetGroupArn"]
    production, test = advanced["productionListenerRule"], advanced.get("testListenerRule")
    for rule in filter(None, (production, test)):
        if rule not in alb._rules:
            raise NetworkingError("One or more rules not found")
    weights = _weights(production)
    for arn in (group, alternate):
        if arn not in {*weights, *(_weights(test) if test else ())}:
            raise NetworkingError(
                f"Target group {arn} is not associated with either productionListenerRule or "
                "testListenerRule."
            )
    serving = [arn for arn, weight in weights.items() if weight]
    if len(serving) != 1:
        raise NetworkingError(
            f"productionListenerRule {production} should have exactly one target group serving traffic but "
            f"found {len(serving)} target groups which are serving traffic"
        )
    if serving[0] not in {group, alternate}:
        raise NetworkingError(
            f"Production listener rule is forwarding traffic to unexpected target group {serving[0]}. "
            f"Expected traffic to be forwarded to either targetGroupArn: {group} or "
            f"alternateTargetGroupArn: {alternate}"
        )
    return serving[0]


def shift(balancers: list[dict[str, Any]], listener: Listener, groups: list[str]) -> None:
    """Lead the rule of each load balancer to the group at the same place in ``groups``, all at once."""
    for balancer, wanted in zip(balancers, groups, strict=True):
        advanced = balancer["advancedConfiguration"]
        rule = alb._rules.get(advanced.get(listener, ""))
        if rule is None:
            continue
        both = [balancer["targetGroupArn"], advanced["alternateTargetGroupArn"]]
        forward: dict[str, Any] = next(
            (each for each in rule["Actions"] if each.get("Type") == "forward"), {}
        )
        stickiness = (forward.get("ForwardConfig") or {}).get("TargetGroupStickinessConfig")
        weighted = {
            **{key: value for key, value in forward.items() if key != "TargetGroupArn"},
            "Type": "forward",
            "ForwardConfig": {
                "TargetGroups": [
                    {"TargetGroupArn": arn, "Weight": 100 if arn == wanted else 0} for arn in both
                ],
                "TargetGroupStickinessConfig": stickiness or {"Enabled": False},
            },
        }
        rule["Actions"] = [*(each for each in rule["Actions"] if each.get("Type") != "forward"), weighted]


def _weights(rule_arn: str) -> dict[str, int]:
    """Target groups of a rule's forward action with their weights."""
    for action in (alb._rules.get(rule_arn) or {}).get("Actions") or []:
        if action.get("Type") != "forward":
            continue
        groups = (action.get("ForwardConfig") or {}).get("TargetGroups") or []
        if groups:
            return {group["TargetGroupArn"]: int(group.get("Weight", 1)) for group in groups}
        if action.get("TargetGroupArn"):
            return {action["TargetGroupArn"]: 1}
    return {}
