"""Permissions boundaries of roles, which the emulator's CloudFormation passes over."""

from __future__ import annotations

from typing import Any

from ministack.services import iam  # type: ignore[import-untyped]

from ...context import CloudContext
from .. import registry
from ..registry import Properties, ResourceFailedError


def install(_context: CloudContext) -> None:
    """Let templates set, change and remove a role's boundary."""
    registry.amend_attributes("AWS::IAM::Role", _bind)


def _bind(role_name: str, props: Properties) -> dict[str, Any]:
    boundary = props.get("PermissionsBoundary")
    if boundary and not iam._policy_exists(boundary):
        raise ResourceFailedError(
            f"Scope ARN: {boundary} does not exist or is not attachable. (Service: Iam, Status Code: 404)",
            role_name,
        )
    iam._roles[role_name]["PermissionsBoundary"] = boundary
    return {}
