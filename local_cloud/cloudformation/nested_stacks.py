"""``AWS::CloudFormation::Stack`` by the full engine: transforms, updates, rollback, policies, exports.

The emulator deploys children by a shortened loop of its own that leaks what a failed child had made. Here a
child is a stack like any other, created, updated and deleted through the same API actions as its parent.
"""

from __future__ import annotations

import asyncio
import secrets
import string
import time
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import unescape

from ministack import app as emulator  # type: ignore[import-untyped]
from ministack.services import cloudformation  # type: ignore[import-untyped]
from ministack.services.cloudformation import handlers  # type: ignore[import-untyped]

from . import provisioning, registry
from .patching import wrap
from .registry import Properties, ResourceFailedError, Result

TYPE = "AWS::CloudFormation::Stack"
_POLL = 0.02
_NO_UPDATES = "No updates are to be performed"
_NAME_LIMIT = 128
_SUFFIX_ALPHABET = string.ascii_uppercase + string.digits

Stack = dict[str, Any]


def install() -> None:
    """Put this handler in place of the emulator's."""
    registry.register(TYPE, create=create, update=update, delete=delete, blocking=True, tags="Tags")
    wrap(handlers, "_describe_stacks", _naming_parents)
    handlers._ACTION_HANDLERS["DescribeStacks"] = handlers._describe_stacks


def create(logical_id: str, props: Properties, parent_name: str) -> Result:
    """Create the child ``<parent>-<logical id>-<12 characters>`` and wait for it.

    Raises ResourceFailedError with CloudFormation's "Embedded stack … was not successfully created" sentence.
    """
    suffix = "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(12))
    name = f"{parent_name}-{logical_id}"[: _NAME_LIMIT - 13] + f"-{suffix}"
    parent = cloudformation._stacks[parent_name]
    parameters = _request(name, props, parent)
    parameters["DisableRollback"] = [str(bool(parent.get("DisableRollback"))).lower()]
    _call("CreateStack", parameters)
    child = cloudformation._stacks[name]
    stack_id: str = child["StackId"]
    child["ParentId"] = parent["StackId"]
    child["RootId"] = parent.get("RootId") or parent["StackId"]
    provisioning.initiated(parent_name, logical_id, TYPE, stack_id)
    _wait(child)
    if child["StackStatus"] != "CREATE_COMPLETE":
        raise ResourceFailedError(
            f"Embedded stack {stack_id} was not successfully created: {_failure(child, 'CREATE_FAILED')}",
            stack_id,
        )
    return stack_id, _outputs(child)


def update(stack_id: str, _old: Properties, props: Properties, parent_name: str) -> Result:
    """Update the child; one without changes is a success.

    Raises RuntimeError with CloudFormation's "Embedded stack … was not successfully updated" sentence.
    """
    child = _by_id(stack_id)
    if child is None:
        raise RuntimeError(f"Stack [{stack_id}] does not exist")
    parameters = _request(child["StackName"], props, cloudformation._stacks[parent_name])
    try:
        _call("UpdateStack", parameters)
    except RuntimeError as error:
        if _NO_UPDATES in str(error):
            return stack_id, _outputs(child)
        raise
    _wait(child)
    if child["StackStatus"] != "UPDATE_COMPLETE":
        raise RuntimeError(
            f"Embedded stack {stack_id} was not successfully updated. Currently in "
            f"{child['StackStatus']} with reason: {_failure(child, 'UPDATE_FAILED', 'CREATE_FAILED')}"
        )
    return stack_id, _outputs(child)


def delete(stack_id: str, _props: Properties) -> None:
    """Delete the child and wait; one that is gone is a success.

    Raises RuntimeError naming what couldn't be deleted.
    """
    child = _by_id(stack_id)
    if child is None or child["StackStatus"] == "DELETE_COMPLETE":
        return
    # On AWS the protection of a child doesn't hold against its parent.
    child["EnableTerminationProtection"] = False
    _call(
        "DeleteStack",
        {"StackName": [child["StackName"]]},
        lambda: child.update(StackStatus="DELETE_IN_PROGRESS"),
    )
    _wait(child)
    if child["StackStatus"] != "DELETE_COMPLETE":
        raise RuntimeError(
            f"Stack [{stack_id}] was not successfully deleted: "
            f"{child.get('StackStatusReason') or child['StackStatus']}"
        )


def _request(name: str, props: Properties, parent: Stack) -> dict[str, list[str]]:
    """Return the query parameters of CreateStack or UpdateStack for a child with ``props``."""
    request = {"StackName": [name], "TemplateURL": [str(props["TemplateURL"])]}
    for index, (key, value) in enumerate(sorted((props.get("Parameters") or {}).items()), 1):
        if isinstance(value, list | dict):
            raise ValueError(  # noqa: TRY004 - a value of the template, not of the program
                "Value of property Parameters must be an object with String (or simple type) properties"
            )
        request[f"Parameters.member.{index}.ParameterKey"] = [key]
        request[f"Parameters.member.{index}.ParameterValue"] = [_text(value)]
    tags = [tag for tag in props.get("Tags") or [] if not str(tag["Key"]).startswith("aws:")]
    for index, tag in enumerate(tags, 1):
        request[f"Tags.member.{index}.Key"] = [str(tag["Key"])]
        request[f"Tags.member.{index}.Value"] = [str(tag["Value"])]
    for index, capability in enumerate(parent.get("Capabilities") or [], 1):
        request[f"Capabilities.member.{index}"] = [capability]
    return request


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _call(action: str, parameters: dict[str, list[str]], then: Callable[[], None] = lambda: None) -> None:
    """Run an API action and ``then`` in one step of the event loop, in the caller's account and region.

    Raises RuntimeError with the action's error message.
    """

    async def act() -> tuple[int, dict[str, str], bytes]:
        answer: tuple[int, dict[str, str], bytes] = handlers._ACTION_HANDLERS[action](parameters)
        if answer[0] < 400:
            then()
        return answer

    status, _, body = asyncio.run_coroutine_threadsafe(act(), emulator._MAIN_LOOP).result()
    if status >= 400:
        text = body.decode() if isinstance(body, bytes) else str(body)
        message = text.partition("<Message>")[2].partition("</Message>")[0]
        raise RuntimeError(unescape(message, {"&#x27;": "'", "&quot;": '"'}) or text)


def _wait(stack: Stack) -> None:
    while stack["StackStatus"].endswith("_IN_PROGRESS"):
        time.sleep(_POLL)


def _by_id(stack_id: str) -> Stack | None:
    stack: Stack | None = next(
        (stack for stack in list(cloudformation._stacks.values()) if stack["StackId"] == stack_id), None
    )
    return stack


def _outputs(stack: Stack) -> dict[str, Any]:
    return {f"Outputs.{output['OutputKey']}": output["OutputValue"] for output in stack.get("Outputs", [])}


def _failure(stack: Stack, *statuses: str) -> str:
    """Say what failed in ``stack``'s last operation, in CloudFormation's words."""
    failed: list[str] = []
    verb = ""
    for event in reversed(cloudformation._stack_events.get(stack["StackId"], [])):
        if event["LogicalResourceId"] == stack["StackName"]:
            if event["ResourceStatus"] in {"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"}:
                break
            if event["ResourceStatus"] in statuses and event["ResourceStatusReason"] and not failed:
                return str(event["ResourceStatusReason"])
        elif event["ResourceStatus"] in statuses:
            failed.insert(0, event["LogicalResourceId"])
            verb = "create" if event["ResourceStatus"] == "CREATE_FAILED" else "update"
    if failed:
        return f"The following resource(s) failed to {verb}: [{', '.join(failed)}]. "
    return str(stack.get("StackStatusReason") or stack["StackStatus"])


def _naming_parents(original: Callable[..., Any]) -> Callable[..., Any]:
    """DescribeStacks with the ``ParentId`` and ``RootId`` of nested stacks."""

    def describe_stacks(params: dict[str, Any]) -> Any:
        status, headers, body = original(params)
        text = body.decode() if isinstance(body, bytes) else body
        for stack in list(cloudformation._stacks.values()):
            if "ParentId" in stack:
                identity = f"<StackId>{stack['StackId']}</StackId>"
                parents = f"<ParentId>{stack['ParentId']}</ParentId><RootId>{stack['RootId']}</RootId>"
                text = text.replace(identity, identity + parents)
        return status, headers, text.encode() if isinstance(body, bytes) else text

    return describe_stacks
