"""Custom::ToolCall against an MCP server on loopback that plays the gateway."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from custom_resources import aws, tool_call
from custom_resources.issuers import IssuerError
from custom_resources.tokens import TokenSource
from custom_resources.tool_call import ToolCall
from tests.custom_resources.conftest import Run
from tests.custom_resources.fakes import STACK_ID, ApiError, Backend, Clients, Clock
from tests.custom_resources.servers import McpServer, Reply, mcp_answers, result

TOOL = "tools___simpleadd"
CALL = {"tool": "simpleadd", "arguments": {"a": 10, "b": 20}, "answer": "30"}


class Stacks(Backend):
    """CloudFormation with the one stack the resource is in."""

    status = "UPDATE_IN_PROGRESS"

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - the service's name
        assert StackName == STACK_ID
        stack = {"StackName": "tools-dev", "CreationTime": 0, "StackStatus": self.status}
        return {"Stacks": [stack]}


@pytest.fixture
def stacks() -> Stacks:
    return Stacks()


@pytest.fixture
def properties(mcp_server: McpServer) -> dict[str, Any]:
    mcp_server.answer = gateway()
    return {"GatewayUrl": mcp_server.url, "TargetName": "tools", "Call": json.dumps(CALL)}


def gateway(
    *answers: str, names: tuple[str, ...] = (TOOL, "tools___other"), failed: bool = False
) -> Callable[[dict[str, Any]], Reply]:
    """A gateway whose tool gives these answers in turn, the last one for ever."""
    listed = mcp_answers(list(names))
    left = list(answers) or ["30"]

    def answer(message: dict[str, Any]) -> Reply:
        if message["method"] != "tools/call":
            return listed(message)
        text = left.pop(0) if len(left) > 1 else left[0]
        return result(message, {"content": [{"type": "text", "text": text}], "isError": failed})

    return answer


def calls(server: McpServer) -> list[dict[str, Any]]:
    messages = [message for _, _, message in server.requests if message]
    return [message["params"] for message in messages if message["method"] == "tools/call"]


@pytest.mark.parametrize("path", ["", "/"])
def test_the_path_may_be_left_out(
    run: Run, mcp_server: McpServer, stacks: Stacks, properties: dict[str, Any], path: str
) -> None:
    properties["GatewayUrl"] = mcp_server.url.removesuffix("/mcp") + path
    assert run(ToolCall, Clients(cloudformation=stacks), "Create", properties)["Status"] == "SUCCESS"
    assert set(mcp_server.paths) == {"/mcp"}


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_the_answer_and_its_latency_are_attributes(
    run: Run, mcp_server: McpServer, stacks: Stacks, properties: dict[str, Any], kind: str
) -> None:
    response = run(ToolCall, Clients(cloudformation=stacks), kind, properties)
    assert response["Status"] == "SUCCESS"
    assert response["PhysicalResourceId"] == "tool-call|tools"
    latency = response["Data"].pop("LatencyMs")
    assert 0 <= int(latency) < 60_000
    assert response["Data"] == {"Tool": TOOL, "Answer": "30"}
    assert calls(mcp_server) == [{"name": TOOL, "arguments": {"a": 10, "b": 20}}]
    assert all(
        headers["authorization"] == "signed for bedrock-agentcore" for _, headers, _ in mcp_server.requests
    )
    assert len(stacks.calls) == (kind == "Update")


def test_a_signature_is_one_that_iam_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "session"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
    ):
        monkeypatch.setenv(name, value)
    url, body = "https://gateway.example/mcp", b"{}"
    signed = aws.Clients().sign("bedrock-agentcore")("POST", url, {"Accept": "application/json"}, body)
    again = AWSRequest(method="POST", url=url, data=body, headers={"Accept": "application/json"})
    again.context["timestamp"] = signed["X-Amz-Date"]
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", "secret", "session"), "bedrock-agentcore", "eu-west-1")
    again.headers["X-Amz-Date"] = signed["X-Amz-Date"]
    again.headers["X-Amz-Security-Token"] = "session"
    wanted = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    assert signed["Authorization"].endswith(f"Signature={wanted}")
    assert signed["X-Amz-Security-Token"] == "session"
    assert "/eu-west-1/bedrock-agentcore/aws4_request" in signed["Authorization"]


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        pytest.param(lambda message: (403, {}, b""), "bedrock-agentcore:InvokeGateway", id="role is young"),
        pytest.param(lambda message: (404, {}, b""), "no such gateway", id="gateway is young"),
        pytest.param(lambda message: (503, {}, b""), "503", id="gateway fails"),
        pytest.param(gateway("no", names=("tools___other",), failed=True), "no tool", id="tool not read yet"),
        pytest.param(gateway("31"), "expected '30'", id="the version before answers"),
    ],
)
def test_what_may_pass_is_waited_for(
    run: Run,
    mcp_server: McpServer,
    stacks: Stacks,
    properties: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    before: Callable[[dict[str, Any]], Reply],
    reason: str,
) -> None:
    good, asked = gateway(), [0]

    def answer(message: dict[str, Any]) -> Reply:
        asked[0] += message["method"] == "initialize"
        return before(message) if asked[0] <= 2 else good(message)

    mcp_server.answer = answer
    response = run(ToolCall, Clients(cloudformation=stacks), "Create", properties)
    assert response["Status"] == "SUCCESS"
    assert asked == [3]
    assert reason in caplog.text


@pytest.mark.parametrize(("text", "failed"), [("31", False), ("30", True), ("30\n30", False), ("", False)])
def test_a_wrong_answer_fails_the_deploy_after_three_times(
    run: Run, mcp_server: McpServer, stacks: Stacks, properties: dict[str, Any], text: str, failed: bool
) -> None:
    mcp_server.answer = gateway(text, failed=failed)
    response = run(ToolCall, Clients(cloudformation=stacks), "Create", properties)
    assert response["Status"] == "FAILED"
    assert f"{text!r}; expected '30'" in response["Reason"]
    assert response["PhysicalResourceId"] == "tool-call|tools"
    assert len(calls(mcp_server)) == 3


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (gateway("no", names=(), failed=True), f"has no tool {TOOL}; it lists none"),
        (lambda message: (403, {}, b""), "needs bedrock-agentcore:InvokeGateway on it"),
        (lambda message: (401, {}, b""), "the gateway asks for a token"),
    ],
)
def test_what_does_not_pass_fails_with_its_reason_before_the_function_ends(
    run: Run, mcp_server: McpServer, stacks: Stacks, properties: dict[str, Any], answer: Any, reason: str
) -> None:
    mcp_server.answer = answer
    response = run(ToolCall, Clients(cloudformation=stacks), "Update", properties)
    assert response["Status"] == "FAILED"
    assert response["Reason"].endswith(reason) or reason in response["Reason"]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("UPDATE_IN_PROGRESS", "FAILED"),
        ("UPDATE_ROLLBACK_IN_PROGRESS", "SUCCESS"),
        ("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "FAILED"),
    ],
)
def test_a_failure_does_not_stop_a_rollback(
    run: Run,
    mcp_server: McpServer,
    stacks: Stacks,
    properties: dict[str, Any],
    clock: Clock,
    status: str,
    outcome: str,
) -> None:
    mcp_server.answer = gateway("no", names=(), failed=True)
    stacks.status = status
    began = clock.now()
    response = run(ToolCall, Clients(cloudformation=stacks), "Update", properties, old=properties)
    assert response["Status"] == outcome
    if outcome == "SUCCESS":
        assert response["Data"]["Answer"].startswith("none: ")
        assert "it lists none" in response["Data"]["Answer"]
        assert clock.now() - began <= 60
    else:
        assert clock.now() - began > 400


def test_a_right_answer_needs_no_status_of_the_stack(
    run: Run, mcp_server: McpServer, stacks: Stacks, properties: dict[str, Any]
) -> None:
    stacks.errors["describe_stacks"] = [ApiError("InternalFailure", "broken", 500)]
    response = run(ToolCall, Clients(cloudformation=stacks), "Update", properties, old=properties)
    assert (response["Status"], response["Data"]["Answer"]) == ("SUCCESS", "30")


def test_a_long_answer_fits_an_output(
    run: Run, mcp_server: McpServer, stacks: Stacks, properties: dict[str, Any]
) -> None:
    text = "x" * 5000
    mcp_server.answer = gateway(text)
    properties["Call"] = json.dumps({**CALL, "answer": text})
    response = run(ToolCall, Clients(cloudformation=stacks), "Create", properties)
    assert response["Data"]["Answer"] == text[:1000]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("{", "Property Call: not valid JSON"),
        ("[]", "Property Call: not an object but list"),
        ("{}", "Property Call: has nothing; expected an object such as"),
        ('{"tool": "simpleadd"}', "Property Call: has tool"),
        ('{"tool": "x", "arguments": [], "answer": "1"}', "Property Call: has tool, arguments, answer"),
        ('{"tool": "x", "arguments": {}, "answer": 1}', "Property Call"),
        ('{"tool": "x", "arguments": {}, "answer": "1", "more": 1}', "more"),
    ],
)
def test_a_call_that_is_none_is_refused_before_anything_is_called(
    run: Run, mcp_server: McpServer, stacks: Stacks, properties: dict[str, Any], call: str, message: str
) -> None:
    response = run(ToolCall, Clients(cloudformation=stacks), "Create", {**properties, "Call": call})
    assert response["Status"] == "FAILED"
    assert message in response["Reason"]
    assert mcp_server.requests == []


def test_delete_calls_nothing(
    run: Run, mcp_server: McpServer, stacks: Stacks, properties: dict[str, Any]
) -> None:
    response = run(
        ToolCall, Clients(cloudformation=stacks), "Delete", properties, physical_id="tool-call|tools"
    )
    assert response["Status"] == "SUCCESS"
    assert not mcp_server.requests
    assert not stacks.calls


def test_a_gateway_that_takes_tokens_gets_one(
    run: Run,
    mcp_server: McpServer,
    stacks: Stacks,
    properties: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sources: list[TokenSource] = []

    def give(_runtime: Any, source: TokenSource, _timeout: float) -> str:
        sources.append(source)
        if len(sources) == 1:
            raise IssuerError("the domain doesn't resolve yet")
        return "agent-token"

    monkeypatch.setattr(tool_call, "bearer_token", give)
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:agent-AbCdEf"
    discovery = "https://idp.example/.well-known/openid-configuration"
    given = {"DiscoveryUrl": discovery, "ClientSecretArn": arn, "Scopes": ["tools/invoke", ""]}
    response = run(ToolCall, Clients(cloudformation=stacks), "Create", {**properties, **given})
    assert response["Status"] == "SUCCESS"
    assert sources == [TokenSource(discovery, arn, ("tools/invoke",))] * 2
    assert {headers["authorization"] for _, headers, _ in mcp_server.requests} == {"Bearer agent-token"}
