# ruff: noqa: N803 - the services' own parameter names
"""An application load balancer in memory: listeners and their rules."""

from __future__ import annotations

import itertools
from typing import Any

from tests.custom_resources.fakes import ApiError, Backend

ELB = "arn:aws:elasticloadbalancing:us-east-1:123456789012"
LISTENER = f"{ELB}:listener/app/tools/0123456789abcdef/1111111111111111"
OTHER_LISTENER = f"{ELB}:listener/app/tools/0123456789abcdef/2222222222222222"


class LoadBalancer(Backend):
    """Listeners with their rules; `page` is how many rules an answer holds."""

    def __init__(self) -> None:
        super().__init__()
        self.listeners: dict[str, list[dict[str, Any]]] = {
            listener: [{"RuleArn": f"{listener}/default", "Priority": "default", "IsDefault": True}]
            for listener in (LISTENER, OTHER_LISTENER)
        }
        self.tags: dict[str, list[dict[str, str]]] = {}
        self.page = 1
        self._numbers = itertools.count(1)

    def create_rule(
        self,
        ListenerArn: str,
        Priority: int,
        Conditions: list[dict[str, Any]],
        Actions: list[dict[str, Any]],
        Tags: list[dict[str, str]],
    ) -> dict[str, Any]:
        rules = self.listeners[ListenerArn]
        if any(rule["Priority"] == str(Priority) for rule in rules):
            raise ApiError("PriorityInUse")
        arn = f"{ListenerArn.replace(':listener/', ':listener-rule/')}/{next(self._numbers):016x}"
        rule = {"RuleArn": arn, "Priority": str(Priority), "Conditions": Conditions, "Actions": Actions}
        rules.append(rule)
        self.tags[arn] = Tags
        return {"Rules": [rule]}

    def describe_rules(self, ListenerArn: str, Marker: str = "0") -> dict[str, Any]:
        if ListenerArn not in self.listeners:
            raise ApiError("ListenerNotFound")
        rules, start = self.listeners[ListenerArn], int(Marker)
        end = start + self.page
        more = {"NextMarker": str(end)} if end < len(rules) else {}
        return {"Rules": rules[start:end], **more}

    def describe_tags(self, ResourceArns: list[str]) -> dict[str, Any]:
        return {
            "TagDescriptions": [{"ResourceArn": arn, "Tags": self.tags.get(arn, [])} for arn in ResourceArns]
        }

    def add_tags(self, ResourceArns: list[str], Tags: list[dict[str, str]]) -> dict[str, Any]:
        for arn in ResourceArns:
            self._rule(arn)
            kept = [tag for tag in self.tags[arn] if tag["Key"] not in {new["Key"] for new in Tags}]
            self.tags[arn] = kept + Tags
        return {}

    def remove_tags(self, ResourceArns: list[str], TagKeys: list[str]) -> dict[str, Any]:
        for arn in ResourceArns:
            self._rule(arn)
            self.tags[arn] = [tag for tag in self.tags[arn] if tag["Key"] not in TagKeys]
        return {}

    def modify_rule(self, RuleArn: str, Actions: list[dict[str, Any]]) -> dict[str, Any]:
        rule = self._rule(RuleArn)
        rule["Actions"] = Actions
        return {"Rules": [rule]}

    def delete_rule(self, RuleArn: str) -> dict[str, Any]:
        rule = self._rule(RuleArn)
        for rules in self.listeners.values():
            if rule in rules:
                rules.remove(rule)
        return {}

    def _rule(self, arn: str) -> dict[str, Any]:
        for rules in self.listeners.values():
            for rule in rules:
                if rule["RuleArn"] == arn:
                    return rule
        raise ApiError("RuleNotFound")

    def rule(self, listener: str = LISTENER) -> dict[str, Any]:
        (rule,) = [rule for rule in self.listeners[listener] if rule["Priority"] == "1"]
        return rule

    def weights(self, listener: str = LISTENER) -> dict[str, int]:
        (action,) = self.rule(listener)["Actions"]
        assert action["Type"] == "forward"
        return {group["TargetGroupArn"]: group["Weight"] for group in action["ForwardConfig"]["TargetGroups"]}

    def shift(self, weights: dict[str, int], listener: str = LISTENER) -> None:
        """What ECS does in a blue/green deployment."""
        groups = [{"TargetGroupArn": group, "Weight": weight} for group, weight in weights.items()]
        self.rule(listener)["Actions"] = [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]
