"""Whether AgentCore may assume a gateway's service role, as far as the role's trust policy says."""

from __future__ import annotations

import fnmatch
import json
from typing import Any
from urllib.parse import unquote

from ministack.core.responses import request_scope  # type: ignore[import-untyped]
from ministack.services import iam  # type: ignore[import-untyped]

from .errors import ValidationError
from .state import Place

_PRINCIPAL = "bedrock-agentcore.amazonaws.com"


def check_service_role(role_arn: str, place: Place, gateway_name: str) -> None:
    """Raise ValidationError unless the role exists and trusts AgentCore for this gateway."""
    account, role_name = role_arn.split(":", 5)[4], role_arn.rsplit("/", 1)[-1]
    role = None
    if account in {place.account, ""}:
        with request_scope(place.account, place.region):
            role = iam._roles.get(role_name)
    gateways = f"arn:aws:bedrock-agentcore:{place.region}:{place.account}:gateway"
    gateway_arn = f"{gateways}/{gateway_name}-0000000000"
    if role is None or not _trusts(role, place, gateway_arn.lower()):
        raise ValidationError(
            f"Role validation failed for '{role_arn}'. Please verify that the role exists and its trust "
            "policy allows assumption by this service"
        )


def _trusts(role: dict[str, Any], place: Place, gateway_arn: str) -> bool:
    document = role.get("AssumeRolePolicyDocument") or "{}"
    policy = json.loads(unquote(document)) if isinstance(document, str) else document
    statements = policy.get("Statement") or []
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal")
        services = _list(principal.get("Service")) if isinstance(principal, dict) else []
        actions = _list(statement.get("Action"))
        if (
            statement.get("Effect") == "Allow"
            and _PRINCIPAL in services
            and any(fnmatch.fnmatchcase("sts:AssumeRole", action) for action in actions)
            and _conditions_hold(statement.get("Condition") or {}, place, gateway_arn)
        ):
            return True
    return False


def _conditions_hold(condition: dict[str, Any], place: Place, gateway_arn: str) -> bool:
    """Source account and source ARN, the two keys that AgentCore's documentation asks for."""
    for operator, keys in condition.items():
        for key, expected in keys.items():
            values = [str(item) for item in _list(expected)]
            if key.lower() == "aws:sourceaccount" and place.account not in values:
                return False
            if key.lower() == "aws:sourcearn":
                exact = operator == "StringEquals" and "*" not in "".join(values)
                patterns = [value.lower() for value in values]
                if exact or not any(fnmatch.fnmatchcase(gateway_arn, pattern) for pattern in patterns):
                    return False
    return True


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
