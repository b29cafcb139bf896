"""Custom resources as CloudFormation treats them: the remains of a failed create are deleted."""

from __future__ import annotations

import json
import secrets
import string
import threading
from collections.abc import Callable
from typing import Any

from ministack.services.cloudformation import custom_resource  # type: ignore[import-untyped]

from .patching import wrap
from .registry import ResourceFailedError

_RESPONSE_LIMIT = 4096
"""Bytes of a response object (CloudFormation user guide, "Custom resource response objects")."""
_SUFFIX_ALPHABET = string.ascii_uppercase + string.digits

_current = threading.local()


def install() -> None:
    """Wrap the invocation of custom resource functions."""
    wrap(custom_resource, "register_token", _remembering)
    wrap(custom_resource, "deliver_response", _checking)
    wrap(custom_resource, "invoke_custom_resource", _like_cloudformation)


def _remembering(original: Callable[[str], threading.Event]) -> Callable[[str], threading.Event]:
    def register_token(token: str) -> threading.Event:
        event = original(token)
        # The invocation forgets the response when it fails; the physical id in it is still needed.
        _current.entry = custom_resource._pending[token]
        return event

    return register_token


def _checking(original: Callable[[str, dict[str, Any]], bool]) -> Callable[[str, dict[str, Any]], bool]:
    def deliver_response(token: str, response: dict[str, Any]) -> bool:
        problem = _problem(response)
        if problem:
            response = {
                "Status": "FAILED",
                "Reason": problem,
                "PhysicalResourceId": response.get("PhysicalResourceId"),
            }
        return original(token, response)

    return deliver_response


def _problem(response: dict[str, Any]) -> str:
    if len(json.dumps(response).encode()) > _RESPONSE_LIMIT:
        return "Response object is too long."
    if response.get("Status") not in {"SUCCESS", "FAILED"}:
        return "Invalid Status in the response object: it must be either SUCCESS or FAILED."
    if not response.get("PhysicalResourceId"):
        return "Invalid PhysicalResourceId: the response object must name one."
    return ""


def _like_cloudformation(original: Callable[..., Any]) -> Callable[..., Any]:
    def invoke(
        request_type: str,
        logical_id: str,
        props: dict[str, Any],
        stack_name: str,
        stack_id: str,
        resource_type: str,
        physical_id: str | None = None,
        old_props: dict[str, Any] | None = None,
    ) -> Any:
        _current.entry = None
        try:
            return original(
                request_type, logical_id, props, stack_name, stack_id, resource_type, physical_id, old_props
            )
        except TimeoutError as error:
            reason = (
                "CloudFormation did not receive a response from your Custom Resource. Please check your logs "
                f"for the {request_type} request of {logical_id}. If you are using the Python cfn-response "
                "module, you may need to update your Lambda function code so that CloudFormation can attach "
                "the updated version."
            )
            failure: tuple[str, Any, Exception] = reason, None, error
        except RuntimeError as error:
            result = (_current.entry or {}).get("result") or {}
            reason = f"Received response status [FAILED] from custom resource. Message returned: {error}"
            failure = reason, result.get("PhysicalResourceId"), error
        finally:
            _current.entry = None
        reason, answered, cause = failure
        if request_type != "Create":
            raise RuntimeError(reason) from cause
        suffix = "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(12))
        raise ResourceFailedError(reason, answered or f"{stack_name}-{logical_id}-{suffix}") from cause

    return invoke
