"""Which target of a forward action gets a request: weights, health, stickiness, then each in turn."""

from __future__ import annotations

import base64
import hashlib
import itertools
import random
import threading
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from .http_message import Request
from .load_balancer_state import (
    forwarded_target_groups,
    registered_targets,
    target_group_attribute,
)

TARGET_COOKIE = "AWSALB"
GROUP_COOKIE = "AWSALBTG"
_DAY = 86_400

_turns: dict[str, itertools.count[int]] = {}
_turns_lock = threading.Lock()


class NoTargetError(Exception):
    """The chosen target group has no registered target."""


@dataclass(frozen=True)
class Target:
    """Where a request goes, and the cookies that bring the next one back."""

    group: str
    address: str
    port: int
    cookies: tuple[str, ...] = ()


def choose_target(actions: list[dict[str, Any]], request: Request) -> Target:
    """The target for ``request`` under the forward action of ``actions``.

    Raises NoTargetError when nothing is registered. When no target is healthy the balancer fails open:
    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
    """
    jar = _cookies(request)
    group, group_cookies = _choose_group(actions, jar)
    candidates = routable_targets(group)
    if not candidates:
        raise NoTargetError(f"target group {group} has no registered target")
    sticky = (
        target_group_attribute(group, "stickiness.enabled", "false") == "true"
        and target_group_attribute(group, "stickiness.type", "lb_cookie") == "lb_cookie"
    )
    if not sticky:
        address, port = candidates[_next_turn(group) % len(candidates)]
        return Target(group, address, port, group_cookies)
    tokens = {_token(f"{address}:{port}"): (address, port) for address, port in candidates}
    bound = tokens.get(jar.get(TARGET_COOKIE, ""))
    address, port = bound or candidates[_next_turn(group) % len(candidates)]
    seconds = int(target_group_attribute(group, "stickiness.lb_cookie.duration_seconds", str(_DAY)))
    cookies = _cookie_pair(TARGET_COOKIE, _token(f"{address}:{port}"), seconds)
    return Target(group, address, port, group_cookies + cookies)


def routable_targets(target_group_arn: str) -> list[tuple[str, int]]:
    """The healthy targets of a group, or every registered one when none is healthy."""
    from ..containers.target_health import healthy_targets

    registered = registered_targets(target_group_arn)
    healthy = [target for target in healthy_targets(target_group_arn) if target in registered]
    return healthy or registered


def _choose_group(actions: list[dict[str, Any]], jar: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    groups = forwarded_target_groups(actions)
    if not groups:
        raise NoTargetError("the rule forwards to no target group")
    if len(groups) == 1:
        return groups[0][0], ()
    weighted = [(arn, weight) for arn, weight in groups if weight > 0]
    if not weighted:
        raise NoTargetError("every target group of the rule has weight 0")
    config = next(action["ForwardConfig"] for action in actions if action.get("ForwardConfig"))
    stickiness = config.get("TargetGroupStickinessConfig") or {}
    arns = [arn for arn, _weight in weighted]
    # The draw needs no secrecy, only the given proportions.
    drawn = random.choices(arns, [weight for _arn, weight in weighted])[0]  # noqa: S311
    if str(stickiness.get("Enabled", False)).lower() != "true":
        return drawn, ()
    chosen = next((arn for arn in arns if _token(arn) == jar.get(GROUP_COOKIE)), drawn)
    seconds = int(stickiness.get("DurationSeconds") or 3600)
    return chosen, _cookie_pair(GROUP_COOKIE, _token(chosen), seconds)


def _next_turn(group: str) -> int:
    with _turns_lock:
        return next(_turns.setdefault(group, itertools.count()))


def _token(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _cookie_pair(name: str, value: str, seconds: int) -> tuple[str, ...]:
    expires = formatdate(time.time() + seconds, usegmt=True)
    cross_site = name.replace("AWSALB", "AWSALBCORS", 1) if name == TARGET_COOKIE else "AWSALBTGCORS"
    return (
        f"{name}={value}; Expires={expires}; Path=/",
        f"{cross_site}={value}; Expires={expires}; Path=/; SameSite=None; Secure",
    )


def _cookies(request: Request) -> dict[str, str]:
    pairs = (item.strip().partition("=") for item in request.header("cookie").split(";"))
    return {name: value for name, separator, value in pairs if separator}
