"""Weighted forward actions: the emulator keeps one target group per action, the others are added here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ministack.services import alb  # type: ignore[import-untyped]
from ministack.services.cloudformation import provisioners  # type: ignore[import-untyped]


def install() -> None:
    """Keep ``ForwardConfig`` of actions from the API and from templates, and describe it."""
    if getattr(alb._parse_actions, "keeps_forward_config", False):
        return
    _extend_api()
    _extend_cloudformation()


def _extend_api() -> None:
    parse_actions, action_xml = alb._parse_actions, alb._action_xml

    def with_forward_config(
        params: Mapping[str, Any], prefix: str = "DefaultActions"
    ) -> list[dict[str, Any]]:
        actions: list[dict[str, Any]] = parse_actions(params, prefix)
        for number, action in enumerate(actions, start=1):
            groups = _groups_from_query(params, f"{prefix}.member.{number}.ForwardConfig.TargetGroups")
            _store(action, groups, _stickiness_from_query(params, f"{prefix}.member.{number}.ForwardConfig"))
        return actions

    def described(action: dict[str, Any]) -> str:
        text: str = action_xml(action)
        return text.removesuffix("</member>") + _forward_config_xml(action) + "</member>"

    with_forward_config.keeps_forward_config = True  # type: ignore[attr-defined]
    alb._parse_actions = with_forward_config
    alb._action_xml = described


def _extend_cloudformation() -> None:
    listener_actions = provisioners._elbv2_listener_actions

    def with_forward_config(
        props: dict[str, Any], load_balancer_arn: str | None, prop: str = "DefaultActions"
    ) -> list[dict[str, Any]]:
        actions: list[dict[str, Any]] = listener_actions(props, load_balancer_arn, prop=prop)
        declared = [item for item in props.get(prop) or [] if isinstance(item, dict)]
        for action, source in zip(actions, declared, strict=True):
            config = source.get("ForwardConfig") or {}
            _store(action, config.get("TargetGroups") or [], config.get("TargetGroupStickinessConfig"))
        return actions

    provisioners._elbv2_listener_actions = with_forward_config


def _store(action: dict[str, Any], groups: list[dict[str, Any]], stickiness: dict[str, Any] | None) -> None:
    if not groups:
        return
    action["ForwardConfig"] = {
        "TargetGroups": [
            {"TargetGroupArn": str(group["TargetGroupArn"]), "Weight": int(group.get("Weight", 1))}
            for group in groups
        ],
        "TargetGroupStickinessConfig": stickiness or {"Enabled": False},
    }
    # AWS shows the plain member for an action with a single target group only.
    if len(groups) == 1:
        action["TargetGroupArn"] = str(groups[0]["TargetGroupArn"])
    else:
        action.pop("TargetGroupArn", None)


def _groups_from_query(params: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = []
    while arn := alb._p(params, f"{prefix}.member.{len(groups) + 1}.TargetGroupArn"):
        weight = alb._p(params, f"{prefix}.member.{len(groups) + 1}.Weight") or "1"
        groups.append({"TargetGroupArn": arn, "Weight": int(weight)})
    return groups


def _stickiness_from_query(params: Mapping[str, Any], prefix: str) -> dict[str, Any] | None:
    enabled = alb._p(params, f"{prefix}.TargetGroupStickinessConfig.Enabled")
    if not enabled:
        return None
    duration = alb._p(params, f"{prefix}.TargetGroupStickinessConfig.DurationSeconds")
    return {"Enabled": enabled == "true", **({"DurationSeconds": int(duration)} if duration else {})}


def _forward_config_xml(action: dict[str, Any]) -> str:
    config = action.get("ForwardConfig")
    if not config:
        return ""
    groups = "".join(
        f"<member><TargetGroupArn>{group['TargetGroupArn']}</TargetGroupArn><Weight>{group['Weight']}</Weight></member>"
        for group in config["TargetGroups"]
    )
    stickiness = config["TargetGroupStickinessConfig"]
    enabled = "true" if str(stickiness.get("Enabled", False)).lower() == "true" else "false"
    duration = stickiness.get("DurationSeconds")
    seconds = f"<DurationSeconds>{duration}</DurationSeconds>" if duration else ""
    return (
        f"<ForwardConfig><TargetGroups>{groups}</TargetGroups><TargetGroupStickinessConfig>"
        f"<Enabled>{enabled}</Enabled>{seconds}</TargetGroupStickinessConfig></ForwardConfig>"
    )
