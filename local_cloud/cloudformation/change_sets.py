"""Change sets of stacks with nested stacks, which CloudFormation never calls unchanged.

"If you made no changes to the AWS::CloudFormation::Stack resource, CloudFormation sets the ChangeSource to
Automatic because the nested stack's template might have changed" (API reference, ResourceChangeDetail). With
``IncludeNestedStacks`` it looks into the children and may find nothing to change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.services import cloudformation  # type: ignore[import-untyped]
from ministack.services.cloudformation import changesets, engine, handlers, helpers  # type: ignore[import-untyped]

from .nested_stacks import TYPE
from .patching import wrap

_NO_CHANGES = "The submitted information didn't contain changes."


def install() -> None:
    """Wrap CreateChangeSet."""
    wrap(changesets, "_create_change_set", _considering_children)
    handlers._ACTION_HANDLERS["CreateChangeSet"] = changesets._create_change_set


def _considering_children(original: Callable[..., Any]) -> Callable[..., Any]:
    def create_change_set(params: dict[str, Any]) -> Any:
        known = set(cloudformation._change_sets)
        answer = original(params)
        for change_set_id in set(cloudformation._change_sets) - known:
            include_children = helpers._p(params, "IncludeNestedStacks", "false").lower() == "true"
            _add_children(cloudformation._change_sets[change_set_id], include_children)
        return answer

    return create_change_set


def _add_children(change_set: dict[str, Any], include_children: bool) -> None:
    if change_set["ChangeSetType"] != "UPDATE":
        return
    listed = {change["ResourceChange"]["LogicalResourceId"] for change in change_set["Changes"]}
    stack = cloudformation._stacks[change_set["StackName"]]
    for logical_id, resource in stack.get("_resources", {}).items():
        definition = change_set["_template"].get("Resources", {}).get(logical_id)
        if logical_id in listed or not definition or resource["ResourceType"] != TYPE:
            continue
        if include_children and not _differs(resource):
            continue
        change_set["Changes"].append(
            {
                "ResourceChange": {
                    "Action": "Modify",
                    "LogicalResourceId": logical_id,
                    "PhysicalResourceId": resource["PhysicalResourceId"],
                    "ResourceType": TYPE,
                    "Replacement": "False",
                    "Scope": ["Properties"],
                    "Details": [
                        {
                            "Target": {"Attribute": "Properties", "RequiresRecreation": "Never"},
                            "Evaluation": "Dynamic",
                            "ChangeSource": "Automatic",
                        }
                    ],
                }
            }
        )
    if change_set["Changes"] and change_set["StatusReason"].startswith(_NO_CHANGES):
        change_set.update(Status="CREATE_COMPLETE", ExecutionStatus="AVAILABLE", StatusReason="")


def _differs(resource: dict[str, Any]) -> bool:
    """Whether the template behind a child's address isn't the one that the child runs, at any depth."""
    child = next(
        (s for s in cloudformation._stacks.values() if s["StackId"] == resource["PhysicalResourceId"]), None
    )
    if child is None:
        return True
    body, error = helpers._resolve_document(
        {"TemplateURL": [resource["Properties"]["TemplateURL"]]}, "TemplateBody", "TemplateURL", "Template"
    )
    if error or not body or engine._parse_template(body) != engine._parse_template(child["_template_body"]):
        return True
    return any(
        _differs(grandchild)
        for grandchild in child.get("_resources", {}).values()
        if grandchild["ResourceType"] == TYPE
    )
