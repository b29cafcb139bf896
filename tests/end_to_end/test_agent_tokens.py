"""A project whose gateway takes tokens instead of signatures, by one parameter."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.end_to_end.conftest import Project

pytestmark = pytest.mark.xdist_group("end_to_end")


def test_agents_call_with_a_token_of_their_own(scaffold: Callable[[str], Project]) -> None:
    project = scaffold("Token Server")
    stage = project.path / "infrastructure/stages/dev.json"
    content = json.loads(stage.read_text())
    content["Parameters"]["GatewayAuthorizer"] = "CUSTOM_JWT"
    stage.write_text(json.dumps(content))
    try:
        done = project.deploy()
        assert done.returncode == 0, done.stdout + done.stderr
        outputs = project.outputs()
        # The deploy's own call got through with such a token; now from outside.
        assert outputs["ToolCallAnswer"] == "30"
        verified = project.ops("verify", "--stage", "dev")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        shown = json.dumps([outputs, events(project)], default=str)
        secret = project.cloud.client("secretsmanager").get_secret_value(SecretId=outputs["AgentSecretArn"])
        client = json.loads(secret["SecretString"])
        assert client["client_secret"] not in shown + done.stdout + verified.stdout
    finally:
        destroyed = project.ops("destroy", "--stage", "dev", "--yes")
    assert destroyed.returncode == 0, destroyed.stdout + destroyed.stderr


def events(project: Project) -> list[object]:
    """Every event of every stack, with the properties that CloudFormation shows."""
    cloudformation = project.cloud.client("cloudformation")
    stacks = [stack["StackName"] for stack in cloudformation.describe_stacks()["Stacks"]]
    paginator = cloudformation.get_paginator("describe_stack_events")
    return [
        event
        for stack in stacks
        for page in paginator.paginate(StackName=stack)
        for event in page["StackEvents"]
    ]
