"""Bodies, hosts, origins and browsers, asked of a real server process over sockets."""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

Start = Callable[..., AbstractContextManager[Any]]
CALL = {"name": "simpleadd", "arguments": {"a": 10, "b": 20}}
MEBIBYTE = 1024 * 1024


def post(length: str) -> bytes:
    return (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    ).encode()


def answer(connection: socket.socket) -> bytes:
    """Read until the answer's JSON, or the connection, ends."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while not received.endswith(b"}") and (piece := connection.recv(65536)):
            received += piece
    return received


def padded(size: int) -> bytes:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**CALL, "padding": ""}}
    short = json.dumps(message).encode()
    message["params"]["padding"] = "x" * (size - len(short))  # type: ignore[index]
    return json.dumps(message).encode()


@pytest.fixture(scope="module")
def narrow(start: Start) -> Iterator[Any]:
    with start(MAX_BODY_BYTES="2000", BODY_TIMEOUT_SECONDS="0.5") as server:
        yield server


def test_a_body_is_served_up_to_the_limit_and_refused_beyond_it(narrow: Any) -> None:
    headers = {"Content-Type": "application/json"}
    assert len(padded(2000)) == 2000
    assert narrow.request("POST", "/mcp", padded(2000), headers).status == 200
    refused = narrow.request("POST", "/mcp", padded(2001), headers)
    assert refused.status == 413
    assert refused.json()["error"] == {"code": -32600, "message": "The body is larger than 2000 bytes."}
    assert refused.json()["id"] is None


@pytest.mark.parametrize("size", [4 * MEBIBYTE, 4 * MEBIBYTE + 1])
def test_the_limit_is_four_mebibytes_by_default(server: Any, size: int) -> None:
    found = server.request("POST", "/mcp", padded(size), {"Content-Type": "application/json"})
    assert found.status == (200 if size == 4 * MEBIBYTE else 413)


@pytest.mark.parametrize(("size", "status"), [(2000, b" 200 "), (3000, b" 413 ")])
def test_a_body_of_unknown_length_is_counted(narrow: Any, size: int, status: bytes) -> None:
    with socket.create_connection((narrow.host, narrow.port), timeout=10) as connection:
        connection.sendall(post("Transfer-Encoding: chunked"))
        body = padded(size)
        for begin in range(0, len(body), 1000):
            connection.sendall(b"3e8\r\n" + body[begin : begin + 1000] + b"\r\n")
            time.sleep(0.02)
        connection.sendall(b"0\r\n\r\n")
        assert status in answer(connection).split(b"\r\n")[0]


@pytest.mark.parametrize("length", ["Content-Length: 100", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("dripping", [False, True])
def test_a_slow_body_is_given_up(narrow: Any, length: str, dripping: bool) -> None:
    with socket.create_connection((narrow.host, narrow.port), timeout=10) as connection:
        begun = time.monotonic()
        connection.sendall(post(length))
        for _ in range(4 if dripping else 0):
            connection.sendall(b"1\r\n \r\n" if "chunked" in length else b" ")
            time.sleep(0.1)
        found = answer(connection)
    assert b" 408 " in found.split(b"\r\n")[0]
    assert b"connection: close" in found.lower()
    assert 0.3 < time.monotonic() - begun < 5
    assert narrow.rpc("tools/call", CALL).status == 200


def test_a_client_that_leaves_in_the_middle_of_a_body_harms_nobody(start: Start) -> None:
    with start() as server:
        for length in ("Content-Length: 100", "Transfer-Encoding: chunked"):
            with socket.create_connection((server.host, server.port), timeout=10) as connection:
                connection.sendall(post(length))
        assert server.rpc("tools/call", CALL).status == 200
        assert server.process.poll() is None
        assert "Traceback" not in "".join(server.stop())


def test_only_configured_hosts_are_answered_but_health_is_for_everybody(start: Start) -> None:
    with start(HOST="0.0.0.0", ALLOWED_HOSTS="mcp.example,*.elb.example") as server:  # noqa: S104
        # Twice: what was let by once is remembered.
        for host, status in 2 * (
            ("mcp.example", 200),
            ("mcp.example:8080", 200),
            ("internal.elb.example", 200),
            ("elsewhere.example", 421),
            ("", 421),
            ("mcp.example.evil.example", 421),
        ):
            assert server.rpc("tools/call", CALL, Host=host).status == status, host
            assert server.request("GET", "/health", headers={"Host": host}).status == 200, host
        # What a load balancer's probe of a target says.
        assert server.request("GET", "/health", headers={"Host": "10.0.1.23:8080"}).status == 200
        assert server.rpc("tools/call", CALL, Host="mcp.example", Origin="https://evil.example").status == 403


def test_only_configured_origins_are_answered(start: Start) -> None:
    with start(HOST="0.0.0.0", ALLOWED_ORIGINS="https://app.example") as server:  # noqa: S104
        host = "any.example"
        for _ in range(2):
            assert server.rpc("tools/call", CALL, Host=host).status == 200
            assert server.rpc("tools/call", CALL, Host=host, Origin="https://app.example").status == 200
            assert server.rpc("tools/call", CALL, Host=host, Origin="https://evil.example").status == 403
            assert server.rpc("tools/call", CALL, Host=host, Origin="null").status == 403


def preflight(server: Any, origin: str, **headers: str) -> Any:
    wanted = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,mcp-protocol-version,mcp-param-a",
    }
    return server.request("OPTIONS", "/mcp", headers={**wanted, **headers})


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104
def test_a_browser_on_a_configured_origin_may_call(start: Start, host: str) -> None:
    with start(HOST=host, CORS_ORIGINS="https://app.example, https://other.example") as server:
        asked = preflight(server, "https://app.example")
        assert asked.status == 200
        assert asked.headers["access-control-allow-origin"] == "https://app.example"
        assert "POST" in asked.headers["access-control-allow-methods"]
        allowed = asked.headers["access-control-allow-headers"].lower()
        for name in ("authorization", "content-type", "mcp-protocol-version", "mcp-param-a"):
            assert name in allowed
        called = server.rpc("tools/call", CALL, Origin="https://app.example")
        assert called.status == 200
        assert called.headers["access-control-allow-origin"] == "https://app.example"
        exposed = called.headers["access-control-expose-headers"].lower()
        assert "mcp-session-id" in exposed
        assert "mcp-protocol-version" in exposed
        assert "www-authenticate" in exposed
        assert "access-control-allow-credentials" not in called.headers
        # A script must be able to read why it was refused.
        large = server.request("POST", "/mcp", b"x" * (4 * MEBIBYTE + 1), {"Origin": "https://app.example"})
        assert large.status == 413
        assert large.headers["access-control-allow-origin"] == "https://app.example"
        assert preflight(server, "https://evil.example").status == 400
        evil = server.rpc("tools/call", CALL, Origin="https://evil.example")
        assert evil.status == 403
        assert "access-control-allow-origin" not in evil.headers


def test_without_the_setting_no_browser_may_call(start: Start) -> None:
    with start(HOST="0.0.0.0") as server:  # noqa: S104
        assert preflight(server, "https://app.example").status == 405
        called = server.rpc("tools/call", CALL, Origin="https://app.example")
        assert "access-control-allow-origin" not in called.headers
