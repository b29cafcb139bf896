"""Creates, updates and deletes stacks and waits for them, looking far more often than SDK waiters do."""

from __future__ import annotations

import json
import time
from typing import Any

_POLL = 0.02
_TIMEOUT = 30.0


def capabilities() -> list[str]:
    return ["CAPABILITY_IAM"]


def arguments(
    name: str, template: dict[str, Any] | str, parameters: dict[str, str] | None = None
) -> dict[str, Any]:
    return {
        "StackName": name,
        "TemplateBody": template if isinstance(template, str) else json.dumps(template),
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": value} for key, value in (parameters or {}).items()
        ],
        "Capabilities": capabilities(),
    }


def role(principal: str, *statements: dict[str, Any]) -> dict[str, Any]:
    """Return a role for a service, with a policy of these statements where there are any."""
    trust = {"Effect": "Allow", "Principal": {"Service": principal}, "Action": "sts:AssumeRole"}
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    policies = {"Policies": [{"PolicyName": "all", "PolicyDocument": document}]} if statements else {}
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]},
            **policies,
        },
    }


def settled(cloudformation: Any, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        stack: dict[str, Any] = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            return stack
        time.sleep(_POLL)
    raise TimeoutError(f"{name} is still {stack['StackStatus']} after {_TIMEOUT:.0f} s")


def create(
    cloudformation: Any, name: str, template: Any, parameters: dict[str, str] | None = None
) -> dict[str, Any]:
    stack_id = cloudformation.create_stack(**arguments(name, template, parameters))["StackId"]
    return settled(cloudformation, stack_id)


def update(
    cloudformation: Any, name: str, template: Any, parameters: dict[str, str] | None = None
) -> dict[str, Any]:
    cloudformation.update_stack(**arguments(name, template, parameters))
    return settled(cloudformation, name)


def delete(cloudformation: Any, name: str) -> dict[str, Any]:
    stack_id = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
    cloudformation.delete_stack(StackName=name)
    return settled(cloudformation, stack_id)


def outputs(stack: dict[str, Any]) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def events(cloudformation: Any, name: str) -> list[dict[str, Any]]:
    """Oldest first."""
    found: list[dict[str, Any]] = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    return found[::-1]


def failure_reasons(cloudformation: Any, name: str) -> dict[str, str]:
    return {
        event["LogicalResourceId"]: event.get("ResourceStatusReason", "")
        for event in events(cloudformation, name)
        if event["ResourceStatus"].endswith("_FAILED")
    }
