"""Secrets, whose physical id (and so ``Ref``) is the ARN on AWS; the emulator uses the name."""

from __future__ import annotations

from typing import Any

from ministack.services.cloudformation import provisioners  # type: ignore[import-untyped]

from ...context import CloudContext
from .. import registry
from ..registry import Properties, Result

_TYPE = "AWS::SecretsManager::Secret"


def install(_context: CloudContext) -> None:
    """Put ARNs in front of the emulator's own handlers."""
    own = registry.handler_of(_TYPE)

    def create(logical_id: str, props: Properties, stack_name: str) -> Result:
        return _by_arn(own["create"](logical_id, props, stack_name))

    def update(arn: str, old: Properties, new: Properties, stack_name: str) -> Result:
        if own.get("update_with_logical_id"):
            logical_id = _logical_id(arn, stack_name)
            return _by_arn(own["update"](_name_of(arn), old, new, stack_name, logical_id))
        return _by_arn(own["update"](_name_of(arn), old, new, stack_name))

    def delete(arn: str, props: Properties) -> None:
        own["delete"](_name_of(arn), props)

    registry.register(_TYPE, create=create, update=update, delete=delete, tags="Tags")


def _by_arn(result: Result) -> Result:
    name, attributes = result
    arn = str(provisioners._sm._secrets[name]["ARN"])
    return arn, {**attributes, "Id": arn}


def _name_of(arn: str) -> str:
    secrets: dict[str, Any] = provisioners._sm._secrets
    return next((name for name, secret in secrets.items() if secret.get("ARN") == arn), arn)


def _logical_id(arn: str, stack_name: str) -> str | None:
    from ministack.services import cloudformation  # type: ignore[import-untyped]

    resources = cloudformation._stacks.get(stack_name, {}).get("_resources", {})
    return next((key for key, resource in resources.items() if resource["PhysicalResourceId"] == arn), None)
