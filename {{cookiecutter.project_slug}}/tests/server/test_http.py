"""A real server process, asked over HTTP."""

import json
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

SIMPLEADD = {"name": "simpleadd", "arguments": {"a": 10, "b": 20}}
INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}
REQUEST = {"Content-Type": "application/json"}

needs_a_second_loopback_address = pytest.mark.skipif(
    sys.platform == "darwin", reason="macOS answers on 127.0.0.1 only unless 127.0.0.2 is configured"
)
Start = Callable[..., AbstractContextManager[Any]]


def test_health(server: Any) -> None:
    answer = server.request("GET", "/health")
    assert answer.status == 200
    assert answer.json() == {"status": "healthy"}


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json, text/event-stream"])
def test_simpleadd_without_a_session(server: Any, path: str, accept: str | None) -> None:
    headers = {} if accept is None else {"Accept": accept}
    answer = server.rpc("tools/call", SIMPLEADD, path, **headers)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    result = answer.json()["result"]
    assert answer.json()["id"] == "test-1"
    assert result["isError"] is False
    assert result["content"] == [{"type": "text", "text": "30"}]
    assert result["structuredContent"] == {"result": 30}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/mcp", "/mcp/", "/mcp//", "/health/", "/nothing/"])
def test_nothing_redirects(server: Any, method: str, path: str) -> None:
    answer = server.request(method, path, b"{}", {**REQUEST, "X-Forwarded-Proto": "https"})
    assert not 300 <= answer.status < 400
    assert answer.status < 500
    assert "location" not in answer.headers


def test_a_route_added_later_redirects_as_little(package: Callable[[str], Any]) -> None:
    assert package("app").build_app(package("settings").load_settings()).router.redirect_slashes is False


def test_server_info_is_the_project(server: Any, package: Callable[[str], Any]) -> None:
    distribution = package("_distribution").this_distribution()
    info = server.rpc("initialize", INITIALIZE).json()["result"]["serverInfo"]
    assert (info["name"], info["version"]) == (distribution.name, distribution.version)


def test_every_tool_is_described_and_short_enough_for_a_gateway(server: Any) -> None:
    tools = {tool["name"]: tool for tool in server.rpc("tools/list", {}).json()["result"]["tools"]}
    assert {"simpleadd", "search_knowledge_base"} <= set(tools)
    for name, tool in tools.items():
        assert tool["description"], name
        assert all("description" in schema for schema in tool["inputSchema"]["properties"].values()), name
        # A gateway offers target___tool, and models accept 64 characters of which a target may take 39.
        assert len(name) <= 64 - 39 - len("___"), name


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"jsonrpc": "2.0"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": 7}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "no/such/method"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 5}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "no_such_tool"}}',
        b"x" * (5 * 1024 * 1024),
    ],
    ids=lambda body: f"{body[:40]!r}-{len(body)}",
)
def test_bad_input_is_never_the_servers_fault(server: Any, body: bytes) -> None:
    answer = server.request("POST", "/mcp", body, REQUEST)
    assert 200 <= answer.status < 500
    if answer.status == 200:
        assert "error" in answer.json() or answer.json()["result"]["isError"] is True
    assert b"Traceback" not in answer.body


@pytest.mark.parametrize(
    "arguments",
    [
        '{"a": "x", "b": []}',
        '{"a": 1}',
        '{"a": 1, "b": 2, "c": 3}',
        '{"a": NaN, "b": 1}',
        '{"a": 1e308, "b": 1e308}',
        '{"a": 1e400, "b": 1}',
        '{"a": 1' + "0" * 400 + ', "b": 0.5}',
        '{"a": 1' + "0" * 5000 + ', "b": 1}',
        "[]",
        "null",
    ],
    ids=lambda arguments: arguments[:30],
)
def test_bad_arguments_are_a_tool_error(server: Any, arguments: str) -> None:
    params = f'{{"name": "simpleadd", "arguments": {arguments}}}'
    call = f'{{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {params}}}'
    answer = server.request("POST", "/mcp", call.encode(), REQUEST)
    assert 200 <= answer.status < 500
    reply = answer.json()
    assert "error" in reply or reply["result"]["isError"] is True


def test_a_web_page_cannot_reach_a_local_server_under_another_name(server: Any) -> None:
    assert server.rpc("tools/call", SIMPLEADD, Host="rebound.example").status == 421
    assert server.rpc("tools/call", SIMPLEADD, Origin="https://page.example").status == 403


@needs_a_second_loopback_address
def test_a_server_on_loopback_is_on_no_other_address(server: Any) -> None:
    with pytest.raises(ConnectionRefusedError):
        server.request("GET", "/health", host="127.0.0.2")


@needs_a_second_loopback_address
def test_a_server_on_every_address_answers_behind_a_proxy(start: Start) -> None:
    with start(HOST="0.0.0.0") as public:  # noqa: S104
        assert public.request("GET", "/health", host="127.0.0.2").status == 200
        answer = public.rpc("tools/call", SIMPLEADD, Host="d111111abcdef8.cloudfront.net")
        assert answer.json()["result"]["structuredContent"] == {"result": 30}


def test_a_stateful_server_keeps_sessions_and_streams(start: Start) -> None:
    with start(MCP_STATEFUL="true") as stateful:
        begun = stateful.rpc("initialize", INITIALIZE)
        assert begun.status == 200
        assert begun.headers["content-type"].startswith("text/event-stream")
        session = {"mcp_session_id": begun.headers["mcp-session-id"], "MCP_Protocol_Version": "2025-06-18"}
        answer = stateful.rpc("tools/call", SIMPLEADD, **session)
        assert answer.status == 200
        data = next(line for line in answer.body.decode().splitlines() if line.startswith("data: {"))
        assert json.loads(data.removeprefix("data: "))["result"]["structuredContent"] == {"result": 30}
        assert stateful.rpc("tools/call", SIMPLEADD, mcp_session_id="unknown").status == 404
        stateful.stop()


def test_sigterm_ends_the_server_at_once_and_every_log_line_is_json(start: Start) -> None:
    with start() as logged, socket.create_connection((logged.host, logged.port)):
        logged.rpc("tools/call", SIMPLEADD)
        logged.rpc("tools/call", {"name": "simpleadd", "arguments": {"a": "x", "b": 1}})
        logged.process.send_signal(signal.SIGTERM)
        assert logged.process.wait(timeout=5) in {0, -signal.SIGTERM, 128 + signal.SIGTERM}
        lines = [json.loads(line) for line in logged.stop()]
    assert all({"timestamp", "level", "logger", "event"} <= line.keys() for line in lines)
    assert "uvicorn" in {line["logger"].split(".")[0] for line in lines}
    assert [line["event"] for line in lines if "tool" in line] == ["tool.succeeded", "tool.failed"]


def test_a_connection_outlives_the_load_balancers_idle_timeout(package: Callable[[str], Any]) -> None:
    config = package("serving").uvicorn_config(package("settings").load_settings())
    assert config.timeout_keep_alive > 3600
