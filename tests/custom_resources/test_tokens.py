"""Tokens by client credentials; the issuer is on loopback."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest

from custom_resources.issuers import IssuerError
from custom_resources.lifecycle import Runtime
from custom_resources.tokens import TokenSource, bearer_token
from custom_resources.waiting import Deadline
from tests.custom_resources.fakes import Clients, Clock
from tests.custom_resources.issuer_fakes import ARN, ISSUED, SECRET, Issuer, Secrets


def credentials() -> Secrets:
    return Secrets(json.dumps({"client_id": "the gateway", "client_secret": SECRET}))


def token(issuer: Issuer, secrets: Secrets, clock: Clock, **details: Any) -> str:
    runtime = Runtime(Clients(secrets=secrets), Deadline(clock, clock.now() + 60))
    return bearer_token(runtime, TokenSource(issuer.discovery_url, ARN, **details), 5)


def test_a_token_is_asked_for_as_the_client(issuer: Issuer, clock: Clock) -> None:
    found = token(
        issuer, credentials(), clock, scopes=("tools/call", "more"), parameters={"audience": "https://mcp"}
    )
    assert found == ISSUED
    _, (path, headers, form) = issuer.requests
    assert path == "/token"
    assert form == {
        "grant_type": "client_credentials",
        "scope": "tools/call more",
        "audience": "https://mcp",
    }
    # RFC 6749, section 2.3.1: form-encoded first.
    basic = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode()
    assert basic == "the+gateway:hunter2%2F%2B"


def test_no_scope_is_asked_for_where_there_is_none(issuer: Issuer, clock: Clock) -> None:
    token(issuer, credentials(), clock)
    assert "scope" not in issuer.requests[-1][2]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            (400, {"error": "invalid_scope", "error_description": "no such scope"}),
            "invalid_scope: no such scope",
        ),
        ((500, b"<html>"), r"HTTP 500\Z"),
        ((200, {"access_token": ""}), "without an access_token"),
        ((200, {"access_token": 5}), "without an access_token"),
        ((302, b""), "HTTP 302"),
        ((200, {"token_type": "Bearer"}), "without an access_token"),
        ((200, [1]), "no JSON object"),
        ((200, b"{"), "can't be read"),
    ],
)
def test_a_refusal_says_who_refused_and_holds_no_secret(
    issuer: Issuer,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    answer: tuple[int, Any],
    reason: str,
) -> None:
    issuer.token = answer
    with pytest.raises(IssuerError) as caught:
        token(issuer, credentials(), clock)
    text = str(caught.value)
    assert re.search(reason, text)
    assert "/token" in text
    assert "hunter2" not in text + caplog.text
    assert [path for path, _, _ in issuer.requests] == ["/.well-known/openid-configuration", "/token"]


def test_an_issuer_out_of_reach_is_named_with_the_cause(issuer: Issuer, clock: Clock) -> None:
    issuer.discovery["token_endpoint"] = "https://localhost:1/token"
    with pytest.raises(IssuerError, match="https://localhost:1/token can't be read: ConnectionRefusedError"):
        token(issuer, credentials(), clock)


@pytest.mark.parametrize("content", ["hunter2", '{"client_id": "x"}', "[]", '"hunter2"'])
def test_a_secret_of_another_form_is_named_and_not_quoted(issuer: Issuer, clock: Clock, content: str) -> None:
    with pytest.raises(IssuerError, match="must be JSON with client_id and client_secret") as caught:
        token(issuer, Secrets(content), clock)
    assert ARN in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("endpoint", [None, "http://idp.example/token"])
def test_a_token_endpoint_must_be_https(issuer: Issuer, clock: Clock, endpoint: str | None) -> None:
    secrets = credentials()
    issuer.discovery["token_endpoint"] = endpoint
    with pytest.raises(IssuerError, match="names no https token_endpoint"):
        token(issuer, secrets, clock)
    assert secrets.calls == [], "the secret isn't even read"
