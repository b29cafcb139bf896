"""Whether a role would let ECS do what it is named for: who may assume it, and what its own policies allow.

Nothing else in the local cloud asks policies. Statements with ``NotAction`` or ``NotResource`` are not
understood, conditions are not evaluated, and AWS managed policies allow nothing here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ministack.services import iam  # type: ignore[import-untyped]

Statement = dict[str, Any]


def trusts(role_arn: str, principal: str) -> bool:
    """Whether the role exists and the service ``principal`` may assume it."""
    role = _role(role_arn)
    document = _document((role or {}).get("AssumeRolePolicyDocument"))
    return any(
        statement.get("Effect") == "Allow"
        and principal in _list((statement.get("Principal") or {}).get("Service"))
        for statement in _statements(document)
    )


def allows(role_arn: str, action: str, resource: str) -> bool:
    """Whether an inline or customer managed policy of the role allows ``action`` on ``resource``."""
    role = _role(role_arn)
    if role is None:
        return False
    effects = {
        statement.get("Effect")
        for document in _policies(role)
        for statement in _statements(document)
        if any(_matches(each, action.lower(), fold=True) for each in _list(statement.get("Action")))
        and any(_matches(each, resource) for each in _list(statement.get("Resource")))
    }
    return effects == {"Allow"}


def _role(role_arn: str) -> dict[str, Any] | None:
    role: dict[str, Any] | None = iam._roles.get(role_arn.rpartition("/")[2])
    return role


def _policies(role: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for document in (role.get("InlinePolicies") or {}).values():
        yield _document(document)
    for arn in role.get("AttachedPolicies") or []:
        policy = iam._policies.get(arn) or {}
        version = (policy.get("Versions") or {}).get(policy.get("DefaultVersionId")) or {}
        yield _document(version.get("Document"))


def _document(document: Any) -> dict[str, Any]:
    parsed = json.loads(document) if isinstance(document, str) and document else document
    return parsed if isinstance(parsed, dict) else {}


def _statements(document: dict[str, Any]) -> list[Statement]:
    return [each for each in _list(document.get("Statement")) if isinstance(each, dict)]


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _matches(pattern: str, value: str, *, fold: bool = False) -> bool:
    """IAM's wildcards: ``*`` for any characters, ``?`` for one."""
    expression = re.escape(pattern.lower() if fold else pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, re.DOTALL) is not None
