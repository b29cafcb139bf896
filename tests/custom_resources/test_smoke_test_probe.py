"""The probe of a new version, against servers on loopback that are fit and others that aren't."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from custom_resources import smoke_test_probe
from custom_resources.smoke_test_probe import handler
from tests.custom_resources.fakes import Clock, Context
from tests.custom_resources.servers import Reply, result, serving

TOKEN = "the-token"
CALL = {"tool": "add", "arguments": {"a": 10, "b": 20}, "answer": "30"}
STATELESS = "2026-07-28"


class Version:
    """A version of the server: `/health` and `/mcp`, which asks for the token."""

    def __init__(self) -> None:
        self.health: tuple[int, bytes] = (200, b'{"status": "healthy"}')
        self.tools = {"2025-11-25": ["add"], STATELESS: ["add"]}
        self.answers: Callable[[dict[str, int]], str] = lambda arguments: str(sum(arguments.values()))
        self.failed = False
        self.stranger: tuple[int, dict[str, str]] = (401, {"WWW-Authenticate": "Bearer"})
        self.caller: tuple[int, dict[str, str]] | None = None
        self.hosts: set[str] = set()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.hosts.add(handler.headers["Host"])
        status, headers, content = self._reply(handler, body)
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    def _reply(self, handler: BaseHTTPRequestHandler, body: bytes) -> Reply:
        if handler.path == "/health":
            return self.health[0], {}, self.health[1]
        if handler.headers.get("Authorization") != f"Bearer {TOKEN}":
            if self.stranger[0] != 200:
                return *self.stranger, b""
        elif self.caller is not None:
            return *self.caller, b""
        message, version = json.loads(body), handler.headers["MCP-Protocol-Version"]
        if message["method"] == "initialize":
            return result(message, {"protocolVersion": "2025-11-25"})
        if message["method"] == "tools/list":
            return result(message, {"tools": [{"name": name} for name in self.tools[version]]})
        if message["method"] == "tools/call":
            content = [{"type": "text", "text": self.answers(message["params"]["arguments"])}]
            return result(message, {"content": content, "isError": self.failed})
        return 202, {}, b""


@pytest.fixture
def version() -> Version:
    return Version()


@pytest.fixture
def url(version: Version) -> Iterator[str]:
    with serving(version.serve) as port:
        yield f"http://127.0.0.1:{port}"


def examined(url: str, call: dict[str, Any] | None = CALL, certificate_name: str = "") -> dict[str, Any]:
    event = {"Url": url, "CertificateName": certificate_name, "Token": TOKEN, "Call": call}
    return handler(event, Context(Clock(), 60))


@pytest.mark.parametrize("call", [CALL, None])
def test_a_fit_version_passes(url: str, call: dict[str, Any] | None) -> None:
    assert examined(url, call) == {"Passed": True, "Final": True, "Reason": ""}


def test_a_version_passes_over_tls_under_the_name_of_its_certificate(
    version: Version, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is the load balancer's own, and nobody can have a certificate for that one."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(version.serve, certificate) as port:
        assert examined(f"https://127.0.0.1:{port}", certificate_name="localhost")["Passed"]
        for name in ("mcp.example.com", "origin.example.com"):
            answer = examined(f"https://127.0.0.1:{port}", certificate_name=name)
            assert not answer["Passed"]
            assert answer["Final"]
            assert "TLS failed" in answer["Reason"]


def _sets(**values: Any) -> Callable[[Version], None]:
    return lambda version: vars(version).update(values)


@pytest.mark.parametrize(
    ("spoil", "final", "reason"),
    [
        (_sets(health=(503, b"")), False, "/health answered HTTP 503"),
        (_sets(health=(200, b"<html>")), True, "expected 'healthy'"),
        (_sets(health=(200, b'{"status": "ill"}')), True, "says 'ill'"),
        (_sets(health=(200, b"[]")), True, "expected 'healthy'"),
        (_sets(stranger=(200, {})), True, "serves callers without a token"),
        (_sets(stranger=(401, {})), True, "401 without WWW-Authenticate"),
        (_sets(stranger=(401, {"WWW-Authenticate": "Basic"})), True, "401 without WWW-Authenticate"),
        (_sets(stranger=(502, {})), False, "HTTP 502"),
        (_sets(caller=(401, {})), True, "refuses the gateway's token"),
        (_sets(caller=(403, {})), True, "refuses the gateway's scopes"),
        (_sets(caller=(503, {})), False, "HTTP 503"),
        (_sets(caller=(400, {})), True, "HTTP 400"),
        (_sets(tools={"2025-11-25": [], STATELESS: []}), True, "no tool add; it lists none"),
        (_sets(tools={"2025-11-25": ["sub"], STATELESS: ["sub"]}), True, "no tool add; it lists sub"),
        (
            _sets(tools={"2025-11-25": ["add", "sub"], STATELESS: ["add"]}),
            True,
            "lists add, sub by MCP 2025-11-25, but add by 2026-07-28",
        ),
        (_sets(answers=lambda arguments: "31"), True, "add answered '31'; expected '30'"),
        (_sets(failed=True), True, "add failed with '30'"),
    ],
)
def test_a_version_that_is_not_fit_is_refused_with_the_reason(
    version: Version,
    url: str,
    spoil: Callable[[Version], None],
    final: bool,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoil(version)
    answer = examined(url)
    assert (answer["Passed"], answer["Final"]) == (False, final)
    assert reason in answer["Reason"]
    assert reason in caplog.text
    assert TOKEN not in answer["Reason"] + caplog.text


def test_a_version_without_tools_is_refused_without_a_call_too(version: Version, url: str) -> None:
    version.tools = {"2025-11-25": [], STATELESS: []}
    assert "lists no tools" in examined(url, None)["Reason"]


def test_a_version_that_speaks_no_mcp_is_refused(version: Version, url: str) -> None:
    version.caller = (200, {})
    answer = examined(url)
    assert (answer["Passed"], answer["Final"]) == (False, True)
    assert "isn't an MCP server" in answer["Reason"]


def test_a_listener_nobody_answers_on_is_asked_again() -> None:
    with serving(lambda handler: None) as port:
        pass
    answer = examined(f"http://127.0.0.1:{port}")
    assert (answer["Passed"], answer["Final"]) == (False, False)
    assert "connection failed" in answer["Reason"]


def test_each_exchange_leaves_time_for_the_others(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def examine(url: str, name: str, timeout: float) -> None:
        given.append(timeout)

    monkeypatch.setattr(smoke_test_probe, "_healthy", examine)
    for seconds in (60, 25, 6):
        event = {"Url": url, "CertificateName": "", "Token": TOKEN, "Call": None}
        handler(event, Context(Clock(), seconds))
    assert given == [10, 5, 1]
