"""What happens around every resource handler: checked properties, threads, and the remains of failed ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.core.responses import get_region, now_iso  # type: ignore[import-untyped]
from ministack.services import cloudformation  # type: ignore[import-untyped]
from ministack.services.cloudformation import handlers, stacks  # type: ignore[import-untyped]

from . import registry
from .patching import wrap
from .property_validation import coerced, validated
from .registry import Properties, ResourceFailedError, Result


def install() -> None:
    """Wrap the engine's provisioning functions."""
    wrap(stacks, "_provision_resource", _validating_create)
    wrap(stacks, "_update_resource", _validating_update)
    wrap(stacks, "_runs_on_worker_thread", _with_registered_threads)
    wrap(stacks, "_sends_back_failed_update", _with_registered_updates)
    wrap(stacks, "_add_event", _with_physical_ids)
    wrap(stacks, "_roll_back_operation", _including_failed_resources)
    handlers._roll_back_operation = stacks._roll_back_operation
    handlers._add_event = stacks._add_event


def record(
    stack_name: str, logical_id: str, type_name: str, physical_id: str, props: Properties, status: str
) -> None:
    """Enter a resource that isn't complete into its stack, so that a rollback or delete reaches it."""
    stack = cloudformation._stacks[stack_name]
    stack.setdefault("_resources", {})[logical_id] = {
        "PhysicalResourceId": physical_id,
        "ResourceType": type_name,
        "ResourceStatus": status,
        "LogicalResourceId": logical_id,
        "Properties": props,
        "Attributes": {},
        "Timestamp": now_iso(),
    }


def initiated(stack_name: str, logical_id: str, type_name: str, physical_id: str) -> None:
    """Record CloudFormation's "Resource creation Initiated" event, the first that carries a physical id."""
    stack = cloudformation._stacks[stack_name]
    stacks._add_event(
        stack["StackId"],
        stack_name,
        logical_id,
        type_name,
        "CREATE_IN_PROGRESS",
        "Resource creation Initiated",
        physical_id,
    )


def _validating_create(original: Callable[..., Result]) -> Callable[..., Result]:
    def provision(type_name: str, logical_id: str, props: Properties, stack_name: str) -> Result:
        checked = _with_system_tags(props, validated(type_name, logical_id, _own(props), get_region()))
        try:
            physical_id, attributes = original(type_name, logical_id, checked, stack_name)
        except ResourceFailedError as error:
            record(stack_name, logical_id, type_name, error.physical_id, checked, "CREATE_FAILED")
            stack = cloudformation._stacks[stack_name]
            stack.setdefault("_failed_creates", []).append(logical_id)
            raise
        if type_name != "AWS::CloudFormation::Stack":
            initiated(stack_name, logical_id, type_name, physical_id)
        return physical_id, attributes

    return provision


def _validating_update(original: Callable[..., Result]) -> Callable[..., Result]:
    def update(
        type_name: str,
        physical_id: str,
        old_props: Properties,
        new_props: Properties,
        stack_name: str,
        logical_id: str | None = None,
        old_attrs: dict[str, Any] | None = None,
    ) -> Result:
        region = get_region()
        if old_props == new_props and type_name != "AWS::CloudFormation::Stack":
            cloudformation._stacks[stack_name].setdefault("_untouched", set()).add(logical_id)
            return physical_id, old_attrs or {}
        name = logical_id or physical_id
        new = _with_system_tags(new_props, validated(type_name, name, _own(new_props), region))
        old = _with_system_tags(old_props, coerced(type_name, _own(old_props), region))
        if type_name == "AWS::CloudFormation::Stack":
            # A nested stack is asked every time: its template may have changed behind the same address.
            handler = registry.handler_of(type_name)
            return handler["update"](physical_id, old, new, stack_name)  # type: ignore[no-any-return]
        return original(type_name, physical_id, old, new, stack_name, logical_id, old_attrs)

    return update


def _own(props: Properties) -> Properties:
    """Return the properties without the ``aws:`` tags of CloudFormation itself, which schemas refuse."""
    tags = props.get("Tags")
    if isinstance(tags, list) and any(_is_system_tag(tag) for tag in tags):
        own = [tag for tag in tags if not _is_system_tag(tag)]
        rest = {key: value for key, value in props.items() if key != "Tags"}
        return {**rest, "Tags": own} if own else rest
    if isinstance(tags, dict) and any(str(key).startswith("aws:") for key in tags):
        return {
            **props,
            "Tags": {key: value for key, value in tags.items() if not str(key).startswith("aws:")},
        }
    return props


def _with_system_tags(tagged: Properties, checked: Properties) -> Properties:
    """Return ``checked`` with the ``aws:`` tags of ``tagged`` put back."""
    tags = tagged.get("Tags")
    if isinstance(tags, list):
        system = [tag for tag in tags if _is_system_tag(tag)]
        return {**checked, "Tags": [*checked.get("Tags", []), *system]} if system else checked
    if isinstance(tags, dict):
        return {**checked, "Tags": {**checked.get("Tags", {}), **tags}}
    return checked


def _is_system_tag(tag: Any) -> bool:
    return isinstance(tag, dict) and str(tag.get("Key", "")).startswith("aws:")


def _with_registered_threads(original: Callable[[str], bool]) -> Callable[[str], bool]:
    def runs_on_worker_thread(type_name: str) -> bool:
        return registry.is_blocking(type_name) or original(type_name)

    return runs_on_worker_thread


def _with_registered_updates(original: Callable[[str], bool]) -> Callable[[str], bool]:
    """Send a failed update back where it may have changed something first: where it waits for its outcome."""

    def sends_back_failed_update(type_name: str) -> bool:
        waits = registry.is_blocking(type_name) and "update" in registry.handler_of(type_name)
        return waits or original(type_name)

    return sends_back_failed_update


def _with_physical_ids(original: Callable[..., None]) -> Callable[..., None]:
    """Give a failed resource's event its known physical id; leave untouched resources out."""

    def add_event(
        stack_id: str,
        stack_name: str,
        logical_id: str,
        resource_type: str,
        status: str,
        reason: str = "",
        physical_id: str = "",
        detailed_status: str = "",
    ) -> None:
        if not physical_id and status.endswith("_FAILED"):
            resource = cloudformation._stacks.get(stack_name, {}).get("_resources", {}).get(logical_id, {})
            physical_id = resource.get("PhysicalResourceId", "")
            if not physical_id:
                events = cloudformation._stack_events.get(stack_id, [])
                known = (
                    e["PhysicalResourceId"] for e in reversed(events) if e["LogicalResourceId"] == logical_id
                )
                physical_id = next(filter(None, known), "")
        if status == "UPDATE_COMPLETE" and _was_untouched(stack_id, stack_name, logical_id):
            return
        original(
            stack_id, stack_name, logical_id, resource_type, status, reason, physical_id, detailed_status
        )

    return add_event


def _was_untouched(stack_id: str, stack_name: str, logical_id: str) -> bool:
    """Tell whether an update left the resource alone, and forget its begin: AWS reports neither."""
    untouched = cloudformation._stacks.get(stack_name, {}).get("_untouched", set())
    if logical_id not in untouched:
        return False
    untouched.discard(logical_id)
    events = cloudformation._stack_events[stack_id]
    for index in range(len(events) - 1, -1, -1):
        if events[index]["LogicalResourceId"] == logical_id:
            if events[index]["ResourceStatus"] == "UPDATE_IN_PROGRESS":
                del events[index]
            break
    return True


def _including_failed_resources(original: Callable[..., Any]) -> Callable[..., Any]:
    """Let a rollback delete what a failed create left, too, and name what failed, as on AWS."""

    async def roll_back(
        stack_name: str,
        stack_id: str,
        stack: dict[str, Any],
        operation: dict[str, Any],
        reason_override: str = "",
    ) -> None:
        failed = operation.get("failed_logical_id")
        created = operation.setdefault("created", [])
        for logical_id in stack.pop("_failed_creates", []):
            if logical_id not in created:
                created.append(logical_id)
        if failed and not operation.get("is_update") and not reason_override:
            reason_override = (
                f"The following resource(s) failed to create: [{failed}]. Rollback requested by user."
            )
            stack["StackStatusReason"] = reason_override
        await original(stack_name, stack_id, stack, operation, reason_override)

    return roll_back
