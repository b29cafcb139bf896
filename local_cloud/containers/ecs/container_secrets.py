"""A container definition's ``secrets``: fetched as ECS fetches them, with its own words when that fails.

ministack reads them without a role, without versions, and leaves a SecureString encrypted. What ``valueFrom``
may be:
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ministack.core.responses import get_account_id, get_region  # type: ignore[import-untyped]
from ministack.services import ecs, secretsmanager, ssm  # type: ignore[import-untyped]

from ...cloudformation.patching import wrap
from . import roles

_execution_role: ContextVar[str] = ContextVar("execution_role", default="")
_ONCE = "service call has been retried 1 time(s): "
_PRINCIPAL = "ecs-tasks.amazonaws.com"


def install() -> None:
    """Resolve secrets here, and refuse a task definition that names no role to fetch them with."""
    wrap(ecs, "_resolve_container_secrets", lambda _original: resolve)
    wrap(ecs, "_start_task_worker", _with_execution_role)
    wrap(ecs, "_register_task_definition", _refusing_without_role)
    ecs._ACTION_MAP["RegisterTaskDefinition"] = ecs._register_task_definition


def resolve(definition: dict[str, Any]) -> dict[str, str]:
    """Give the environment variables of a container's secrets. Raises ministack's _SecretResolutionError."""
    secrets = definition.get("secrets") or []
    role = _execution_role.get()
    if secrets and not roles.trusts(role, _PRINCIPAL):
        raise ecs._SecretResolutionError(f"ECS was unable to assume the role '{role}'")
    return {secret["name"]: fetch(secret["valueFrom"], role) for secret in secrets}


def fetch(value_from: str, role: str | None) -> str:
    """Give what a ``valueFrom`` names, if the role may; None asks no role. Raises _SecretResolutionError."""
    if ":secretsmanager:" in value_from:
        return _from_secrets_manager(role, value_from)
    return _from_parameter_store(role, value_from)


def _from_secrets_manager(role: str | None, value_from: str) -> str:
    parts = value_from.split(":")
    arn = ":".join(parts[:7])
    key, stage, version = [*parts[7:10], "", "", ""][:3]
    failed = f"unable to retrieve secret from asm: {_ONCE}"
    fetch = f"{failed}failed to fetch secret {arn} from secrets manager: "
    if refusal := _denied(role, "secretsmanager:GetSecretValue", arn):
        raise ecs._SecretResolutionError(fetch + refusal)
    value = secretsmanager.resolve_secret_string(arn, stage or "AWSCURRENT", version or None)
    if value is None:
        raise ecs._SecretResolutionError(
            f"{fetch}ResourceNotFoundException: Secrets Manager can't find the specified secret."
        )
    if not key:
        return str(value)
    try:
        fields = json.loads(value)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or key not in fields:
        raise ecs._SecretResolutionError(
            f"{failed}retrieved secret from Secrets Manager did not contain json key {key}"
        )
    field = fields[key]
    return field if isinstance(field, str) else json.dumps(field)


def _from_parameter_store(role: str | None, value_from: str) -> str:
    failed = f"unable to retrieve secrets from ssm: {_ONCE}"
    name = value_from.rpartition(":parameter")[2] if value_from.startswith("arn:") else value_from
    # An ARN has one slash between "parameter" and the name, whether the name begins with one or not.
    arn = f"arn:aws:ssm:{get_region()}:{get_account_id()}:parameter/{name.removeprefix('/')}"
    if refusal := _denied(role, "ssm:GetParameters", value_from if value_from.startswith("arn:") else arn):
        raise ecs._SecretResolutionError(failed + refusal)
    value = ssm.resolve_parameter_value(value_from, decrypt=True)
    if value is None:
        raise ecs._SecretResolutionError(f"{failed}invalid ssm parameters: {name}")
    return str(value)


def _denied(role: str | None, action: str, resource: str) -> str:
    if role is None or roles.allows(role, action, resource):
        return ""
    return (
        f"AccessDeniedException: User: {role} is not authorized to perform: {action} on resource: {resource} "
        f"because no identity-based policy allows the {action} action"
    )


def _with_execution_role(original: Callable[..., None]) -> Callable[..., None]:
    def start(task: dict[str, Any], task_definition: dict[str, Any], *arguments: Any) -> None:
        token = _execution_role.set(task_definition.get("executionRoleArn") or "")
        try:
            original(task, task_definition, *arguments)
        finally:
            _execution_role.reset(token)

    return start


def _refusing_without_role(original: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    def register(data: dict[str, Any]) -> Any:
        secret = any(container.get("secrets") for container in data.get("containerDefinitions") or [])
        if secret and not data.get("executionRoleArn"):
            text = "When you are specifying container secrets, you must also specify a value for "
            return ecs.error_response_json("ClientException", f"{text}'executionRoleArn'.", 400)
        return original(data)

    return register
