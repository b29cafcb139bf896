"""Resource types that the emulator lacks, or that need a handler of our own.

Handlers have the emulator's signatures and run in the account and region of their stack:

- ``create(logical_id, props, stack_name) -> (physical_id, attributes)``
- ``update(physical_id, old_props, new_props, stack_name) -> (physical_id, attributes)``; another physical id
  means a replacement, and the predecessor is deleted once the update has succeeded
- ``delete(physical_id, props) -> None``; deleting what is gone already must succeed

They refuse by raising; the text becomes the resource's status reason. A create that fails after it has made
something raises ``ResourceFailedError`` with the physical id, and the rollback then deletes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ministack.services.cloudformation import provisioners  # type: ignore[import-untyped]

Properties = dict[str, Any]
Result = tuple[str, dict[str, Any]]
Create = Callable[[str, Properties, str], Result]
Update = Callable[[str, Properties, Properties, str], Result]
Delete = Callable[[str, Properties], None]

_blocking: set[str] = set()


class ResourceFailedError(RuntimeError):
    """A resource failed after something of it came to exist under ``physical_id``."""

    def __init__(self, reason: str, physical_id: str) -> None:
        super().__init__(reason)
        self.physical_id = physical_id


def register(
    type_name: str,
    *,
    create: Create,
    delete: Delete,
    update: Update | None = None,
    blocking: bool = False,
    tags: str | None = None,
) -> None:
    """Handle ``type_name`` by the given functions, in place of the emulator's own if it has one.

    ``blocking`` runs them on a thread of their own: needed by whatever waits or calls the cloud's API.
    Without ``update``, every change of properties replaces the resource. ``tags`` names the property that
    receives stack tags and the ``aws:cloudformation:`` tags, as a list of Key and Value.
    """
    handler: dict[str, Callable[..., Any]] = {"create": create, "delete": delete}
    if update is not None:
        handler["update"] = update
    provisioners._RESOURCE_HANDLERS[type_name] = handler
    if tags is not None:
        provisioners._STACK_TAG_PROPERTY[type_name] = (tags, "list")
    if blocking:
        _blocking.add(type_name)
    else:
        _blocking.discard(type_name)


def is_blocking(type_name: str) -> bool:
    """Whether handlers of ``type_name`` were registered to run on their own thread."""
    return type_name in _blocking


def amend_attributes(type_name: str, amend: Callable[[str, Properties], Mapping[str, Any]]) -> None:
    """Add what ``amend(physical_id, props)`` returns to the attributes of an emulator's type."""
    handler = provisioners._RESOURCE_HANDLERS[type_name]

    def with_attributes(function: Callable[..., Result], properties_at: int) -> Callable[..., Result]:
        def amended(*arguments: Any) -> Result:
            physical_id, attributes = function(*arguments)
            return physical_id, {**attributes, **amend(physical_id, arguments[properties_at])}

        return amended

    amended_handler = {**handler, "create": with_attributes(handler["create"], 1)}
    if "update" in handler:
        amended_handler["update"] = with_attributes(handler["update"], 2)
    provisioners._RESOURCE_HANDLERS[type_name] = amended_handler


def handler_of(type_name: str) -> dict[str, Callable[..., Any]]:
    """Return the functions that handle ``type_name`` now."""
    handler: dict[str, Callable[..., Any]] = provisioners._RESOURCE_HANDLERS[type_name]
    return handler
