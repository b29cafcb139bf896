# ruff: noqa: N803 - the services' own parameter names
"""The lifecycle hook: what it answers ECS, with an issuer on loopback and a probe in memory."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

from custom_resources import smoke_test_hook
from custom_resources.smoke_test_hook import SettingsError, answer, handler, settings
from tests.custom_resources.fakes import ApiError, Backend, Clients, Clock, Context
from tests.custom_resources.issuer_fakes import ARN, ISSUED, SECRET, Issuer, Secrets

PROBE = "arn:aws:lambda:us-east-1:123456789012:function:probe"
CALL = {"tool": "simpleadd", "arguments": {"a": 10, "b": 20}, "answer": "30"}
REVISION = "arn:aws:ecs:us-east-1:123456789012:service-revision/cluster/service/7"
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/lambda-lifecycle-hooks.html
EVENT = {
    "executionDetails": {"testTrafficWeights": {}, "productionTrafficWeights": {}},
    "lifecycleStage": "POST_TEST_TRAFFIC_SHIFT",
    "targetServiceRevisionArn": REVISION,
}
PASSED = {"Passed": True, "Final": True, "Reason": ""}


class Functions(Backend):
    """Lambda with the probe."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: Any = PASSED
        self.error = ""
        self.payloads: list[dict[str, Any]] = []

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        assert FunctionName == PROBE
        self.payloads.append(json.loads(Payload))
        body = io.BytesIO(json.dumps(self.answer).encode())
        return {"StatusCode": 200, "Payload": body, **({"FunctionError": self.error} if self.error else {})}


@pytest.fixture
def functions() -> Functions:
    return Functions()


@pytest.fixture
def environment(issuer: Issuer) -> dict[str, str]:
    return {
        "PROBE_FUNCTION": PROBE,
        "TEST_URL": "http://internal.example.com:9001",
        "CERTIFICATE_NAME": "origin.example.com",
        "CALL": json.dumps(CALL),
        "DISCOVERY_URL": issuer.discovery_url,
        "CLIENT_SECRET_ARN": ARN,
        "SCOPES": "tools/call,tools/list",
        "AUDIENCE": "https://mcp.example.com",
        "AUDIENCE_PARAMETER": "resource",
    }


def answered(
    functions: Functions, environment: dict[str, str], event: dict[str, Any] | None = None
) -> dict[str, Any]:
    clock = Clock()
    secrets = Secrets(json.dumps({"client_id": "gateway", "client_secret": SECRET}))
    clients = Clients(functions=functions, secrets=secrets)
    return answer(event or dict(EVENT), Context(clock, 120), environment, lambda: clients, clock)


def test_a_version_that_passes_may_have_the_traffic(
    functions: Functions, environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert answered(functions, environment) == {"hookStatus": "SUCCEEDED"}
    assert functions.payloads == [
        {
            "Url": "http://internal.example.com:9001",
            "CertificateName": "origin.example.com",
            "Token": ISSUED,
            "Call": CALL,
        }
    ]
    assert f"{REVISION} may have the traffic" in caplog.text
    assert ISSUED not in caplog.text
    assert SECRET not in caplog.text


def test_the_token_is_asked_for_as_the_gateway_does(
    functions: Functions, environment: dict[str, str], issuer: Issuer
) -> None:
    answered(functions, environment)
    answered(functions, {**environment, "SCOPES": "", "AUDIENCE_PARAMETER": ""})
    forms = [form for path, _, form in issuer.requests if path == "/token"]
    assert forms == [
        {
            "grant_type": "client_credentials",
            "scope": "tools/call tools/list",
            "resource": "https://mcp.example.com",
        },
        {"grant_type": "client_credentials"},
    ]


def test_without_a_call_the_probe_makes_none(functions: Functions, environment: dict[str, str]) -> None:
    assert answered(functions, {**environment, "CALL": ""}) == {"hookStatus": "SUCCEEDED"}
    assert functions.payloads[0]["Call"] is None


def test_a_refusal_is_final_and_explained(
    functions: Functions, environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    functions.answer = {"Passed": False, "Final": True, "Reason": "simpleadd answered '31'; expected '30'"}
    assert answered(functions, environment) == {"hookStatus": "FAILED"}
    assert REVISION in caplog.text
    assert "the traffic stays where it is: simpleadd answered '31'; expected '30'" in caplog.text


def test_a_version_that_is_not_there_yet_is_asked_again_but_not_for_ever(
    functions: Functions, environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    functions.answer = {"Passed": False, "Final": False, "Reason": "HTTP 503"}
    event: dict[str, Any] = dict(EVENT)
    answers: list[dict[str, Any]] = []
    for _ in range(10):
        answers.append(answered(functions, environment, event))
        event["hookDetails"] = answers[-1].get("hookDetails")
    *before, last = answers
    assert before == [
        {"hookStatus": "IN_PROGRESS", "callBackDelay": 10, "hookDetails": {"attempt": number}}
        for number in range(1, 10)
    ]
    assert last == {"hookStatus": "FAILED"}
    assert "HTTP 503" in caplog.text


@pytest.mark.parametrize("details", [None, "", [], {"attempt": "9"}, {"other": 1}])
def test_details_of_somebody_else_count_as_none(
    functions: Functions, environment: dict[str, str], details: Any
) -> None:
    functions.answer = {"Passed": False, "Final": False, "Reason": "HTTP 503"}
    event = {**EVENT, "hookDetails": details}
    assert answered(functions, environment, event)["hookDetails"] == {"attempt": 1}


def test_an_issuer_that_gives_no_token_is_asked_again(
    functions: Functions,
    environment: dict[str, str],
    issuer: Issuer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    issuer.token = (400, {"error": "invalid_client"})
    assert answered(functions, environment)["hookStatus"] == "IN_PROGRESS"
    assert "no token for the call" in caplog.text
    assert "invalid_client" in caplog.text
    assert functions.payloads == []


def test_a_probe_that_fails_is_asked_again_and_not_quoted(
    functions: Functions, environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    functions.error = "Unhandled"
    functions.answer = {"errorType": "Sandbox.Timedout", "errorMessage": f"given {ISSUED}"}
    assert answered(functions, environment)["hookStatus"] == "IN_PROGRESS"
    assert "Sandbox.Timedout" in caplog.text
    assert ISSUED not in caplog.text


def test_an_accident_of_the_test_itself_is_explained(
    functions: Functions, environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    functions.errors["invoke"] = [ApiError("AccessDeniedException", "not allowed to invoke")]
    assert answered(functions, environment)["hookStatus"] == "IN_PROGRESS"
    assert "not allowed to invoke" in caplog.text


def test_a_throttled_invocation_is_repeated(functions: Functions, environment: dict[str, str]) -> None:
    functions.errors["invoke"] = [ApiError("TooManyRequestsException", "slower", 429)]
    assert answered(functions, environment) == {"hookStatus": "SUCCEEDED"}


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("PROBE_FUNCTION", "", "PROBE_FUNCTION must be set"),
        ("TEST_URL", "", "TEST_URL must be set"),
        ("DISCOVERY_URL", "", "DISCOVERY_URL must be set"),
        ("CALL", "{", "CALL isn't a JSON object"),
        ("CALL", "[1]", "CALL isn't a JSON object"),
        ("CALL", '{"tool": "a"}', "CALL has tool; expected tool, arguments and answer"),
        ("CALL", "{}", "CALL has nothing"),
        ("CALL", '{"tool": "a", "arguments": {}, "answer": 30}', "expected tool, arguments and answer"),
    ],
)
def test_settings_that_cannot_work_refuse_at_once(
    functions: Functions,
    environment: dict[str, str],
    caplog: pytest.LogCaptureFixture,
    name: str,
    value: str,
    complaint: str,
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        settings({**environment, name: value})
    assert answered(functions, {**environment, name: value}) == {"hookStatus": "FAILED"}
    assert complaint in caplog.text


def test_the_handler_reads_its_environment(
    functions: Functions, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    secrets = Secrets(json.dumps({"client_id": "gateway", "client_secret": SECRET}))
    monkeypatch.setattr(smoke_test_hook, "Clients", lambda: Clients(functions=functions, secrets=secrets))
    assert handler(dict(EVENT), Context(Clock(), 120)) == {"hookStatus": "SUCCEEDED"}
