"""The probe against servers on loopback: well-behaved ones, FastMCP itself, and what goes wrong."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from custom_resources.mcp_probe import ProbeError, bearer, list_tools
from tests.custom_resources.servers import McpServer, Reply, mcp_answers, result, serving


def probe(url: str, timeout: float = 5) -> ProbeError:
    with pytest.raises(ProbeError) as caught:
        list_tools(url, timeout)
    return caught.value


def test_the_handshake_is_the_gateways(mcp_server: McpServer) -> None:
    mcp_server.answer = mcp_answers(["search", "add"])
    assert list_tools(mcp_server.url, 5) == ("add", "search")
    methods = [message["method"] for _, _, message in mcp_server.requests]
    assert methods == ["initialize", "notifications/initialized", "tools/list"]
    for verb, headers, message in mcp_server.requests:
        assert verb == "POST"
        assert message["jsonrpc"] == "2.0"
        assert headers["mcp-protocol-version"] == "2025-11-25"
        assert headers["accept"] == "application/json, text/event-stream"
        assert "urllib" not in headers["user-agent"].lower()
    assert mcp_server.requests[0][2]["params"]["protocolVersion"] == "2025-11-25"
    assert "id" not in mcp_server.requests[1][2]


def test_all_pages_are_read(mcp_server: McpServer) -> None:
    mcp_server.answer = mcp_answers(["c"], ["b"], ["a"])
    assert list_tools(mcp_server.url, 5) == ("a", "b", "c")


def test_a_server_without_tools_is_an_mcp_server(mcp_server: McpServer) -> None:
    mcp_server.answer = mcp_answers([])
    assert list_tools(mcp_server.url, 5) == ()


def test_a_cursor_that_repeats_ends(mcp_server: McpServer) -> None:
    def answer(message: dict[str, Any]) -> Reply:
        if message["method"] == "tools/list":
            return result(message, {"tools": [], "nextCursor": "same"})
        return mcp_answers([])(message)

    mcp_server.answer = answer
    assert "nextCursor" in str(probe(mcp_server.url))
    assert len(mcp_server.requests) < 10


def test_a_session_is_kept_and_closed(mcp_server: McpServer) -> None:
    def answer(message: dict[str, Any]) -> Reply:
        status, headers, body = mcp_answers(["add"])(message)
        extra = {"Mcp-Session-Id": "session-7"} if message["method"] == "initialize" else {}
        return status, {**headers, **extra}, body

    mcp_server.answer = answer
    assert list_tools(mcp_server.url, 5) == ("add",)
    assert [headers.get("mcp-session-id") for _, headers, _ in mcp_server.requests] == [
        None,
        "session-7",
        "session-7",
        "session-7",
    ]
    assert mcp_server.requests[-1][0] == "DELETE"


def test_event_streams_are_read_up_to_the_answer(mcp_server: McpServer) -> None:
    def answer(message: dict[str, Any]) -> Reply:
        status, _, body = mcp_answers(["add"])(message)
        if not body:
            return status, {}, body
        notice = json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
        pretty = "\n".join(f"data: {line}" for line in json.dumps(json.loads(body), indent=1).splitlines())
        stream = f": ping\n\nevent: message\ndata: {notice}\n\nid: 1\nevent: message\n{pretty}\n\n"
        return status, {"Content-Type": "text/event-stream; charset=utf-8"}, stream.encode()

    mcp_server.answer = answer
    assert list_tools(mcp_server.url, 5) == ("add",)


@pytest.mark.parametrize(
    ("status", "hint", "final"),
    [
        (400, "2025-11-25", True),
        (401, "CredentialProviderConfigurations", True),
        (403, "web ACL", False),
        (404, "path", False),
        (405, "POST", True),
        (406, "Accept", True),
        (421, "Host", True),
        (418, "log", False),
        (429, "rate", False),
        (500, "log", False),
        (502, "origin", False),
        (503, "no healthy task", False),
        (504, "security groups", False),
    ],
)
def test_each_status_says_what_to_check(mcp_server: McpServer, status: int, hint: str, final: bool) -> None:
    mcp_server.answer = lambda message: (status, {"Content-Type": "text/html"}, b"<html>no</html>")
    error = probe(f"{mcp_server.url}?key=hunter2")
    assert (error.cause, error.status, error.final) == ("http", status, final)
    assert f"HTTP {status}" in str(error)
    assert hint in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_is_reported_not_followed(mcp_server: McpServer, status: int) -> None:
    mcp_server.answer = lambda message: (status, {"Location": "http://localhost/mcp"}, b"")
    error = probe(mcp_server.url)
    assert error.status == status
    assert str(error).endswith("http://localhost/mcp")
    assert len(mcp_server.requests) == 1


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html>hello</html>"),
        ("application/json", b'{"status": "healthy"}'),
        ("application/json", b"[]"),
        ("application/json", b'{"jsonrpc": "2.0", "id": 99, "result": {}}'),
        ("application/json", b'{"jsonrpc": "2.0", "id": 1, "result": "yes"}'),
        ("application/json", b'{"jsonrpc": "2.0", "id": 1, "result": {}}'),
        ("text/event-stream", b"data: nonsense\n\n"),
        ("text/event-stream", b""),
    ],
)
def test_what_is_not_mcp_is_called_so(mcp_server: McpServer, kind: str, body: bytes) -> None:
    mcp_server.answer = lambda message: (200, {"Content-Type": kind}, body)
    error = probe(mcp_server.url)
    assert error.cause == "protocol"
    assert "isn't an MCP server" in str(error)


def test_an_error_of_the_server_is_quoted(mcp_server: McpServer) -> None:
    def answer(message: dict[str, Any]) -> Reply:
        refusal = {"code": -32602, "message": "Unsupported protocol version"}
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": refusal}).encode()
        return 200, {"Content-Type": "application/json"}, body

    mcp_server.answer = answer
    assert str(probe(mcp_server.url)).endswith("initialize with error -32602: Unsupported protocol version")


def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_name(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    error = probe("https://d111111abcdef8.cloudfront.net/mcp")
    assert error.cause == "dns"
    assert "d111111abcdef8.cloudfront.net doesn't resolve" in str(error)


def test_a_certificate_that_is_not_trusted(certificate: Path) -> None:
    server = McpServer()
    with serving(server.post, certificate) as port:
        error = probe(f"https://localhost:{port}/mcp")
    assert error.cause == "tls"
    assert "self-signed certificate" in str(error)
    assert server.requests == []


def test_a_port_nobody_listens_on() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        error = probe(f"https://localhost:{listener.getsockname()[1]}/mcp")
    assert error.cause == "connection"
    assert "refused" in str(error).lower()


def test_a_server_that_does_not_answer(mcp_server: McpServer) -> None:
    release = threading.Event()

    def answer(message: dict[str, Any]) -> Reply:
        release.wait(10)
        return 500, {}, b""

    mcp_server.answer = answer
    try:
        assert probe(mcp_server.url, timeout=0.3).cause == "timeout"
    finally:
        release.set()


@pytest.fixture(scope="module", params=["stateless, JSON", "stateful, streamed"])
def fastmcp_url(request: pytest.FixtureRequest, certificate: Path) -> Iterator[str]:
    import uvicorn
    from fastmcp import FastMCP

    server: FastMCP[Any] = FastMCP("probe")

    @server.tool
    def simpleadd(a: int, b: int) -> int:
        return a + b

    plain = request.param == "stateless, JSON"
    app = server.http_app(path="/mcp", stateless_http=plain, json_response=plain)
    config = uvicorn.Config(
        app, port=0, log_level="error", ssl_certfile=str(certificate), ws="none", lifespan="on"
    )
    runner = uvicorn.Server(config)
    thread = threading.Thread(target=runner.run, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not runner.started and time.monotonic() < end:
        time.sleep(0.02)
    assert runner.started
    yield f"https://localhost:{runner.servers[0].sockets[0].getsockname()[1]}/mcp"
    runner.should_exit = True
    thread.join(10)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fastmcp_itself(fastmcp_url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert list_tools(fastmcp_url, 30) == ("simpleadd",)


def test_a_token_goes_with_every_request(mcp_server: McpServer) -> None:
    mcp_server.answer = mcp_answers(["add"])
    assert list_tools(mcp_server.url, 5, bearer("t0ken")) == ("add",)
    assert {headers["authorization"] for _, headers, _ in mcp_server.requests} == {"Bearer t0ken"}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (
            {"type": "object", "$defs": {"A": {}}, "properties": {"a": {"$ref": "#/$defs/A"}}},
            r"\$defs, \$ref",
        ),
        ({"anyOf": [{"$dynamicRef": "#x"}]}, r"\$dynamicRef"),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, None),
        (None, None),
    ],
)
def test_schemas_that_point_elsewhere_are_warned_of(
    mcp_server: McpServer, caplog: pytest.LogCaptureFixture, schema: Any, words: str | None
) -> None:

    def answer(message: dict[str, Any]) -> Reply:
        if message["method"] == "tools/list":
            return result(message, {"tools": [{"name": "add", "inputSchema": schema}]})
        return mcp_answers([])(message)

    mcp_server.answer = answer
    referring: dict[str, str] = {}
    list_tools(mcp_server.url, 5, referring=referring)
    assert list(referring) == (["add"] if words else [])
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == (words is not None)
    if words is not None:
        assert re.search(f"tool add holds {words}, ", warnings[0])
