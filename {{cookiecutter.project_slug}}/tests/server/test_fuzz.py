"""Whatever is sent to the endpoint: no 5xx, no hang, no traceback. FUZZ_EXAMPLES sets how much is tried."""

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
# The same examples each time, unless somebody asks for more than every day's.
EVERYDAY = settings(
    max_examples=EXAMPLES,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    # A hang costs seconds each time: a failure is shown as it was found.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SECONDS = 5

METHODS = [
    *("initialize", "ping", "tools/list", "tools/call", "resources/list", "resources/read", "prompts/list"),
    *("prompts/get", "completion/complete", "logging/setLevel", "server/discover", "subscriptions/listen"),
    *("notifications/initialized", "notifications/cancelled", "resources/subscribe", "tasks/get"),
]
REVISIONS = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28", "1999-01-01"]

text = st.text(max_size=30)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | text
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
revisions = st.sampled_from(REVISIONS) | text
meta = st.fixed_dictionaries(
    {},
    optional={
        "io.modelcontextprotocol/protocolVersion": revisions | values,
        "io.modelcontextprotocol/clientCapabilities": st.just({}) | values,
        "io.modelcontextprotocol/clientInfo": st.just({"name": "fuzz", "version": "1"}) | values,
        "progressToken": values,
        "traceparent": values,
    },
)
params = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["simpleadd", "search_knowledge_base", "no_such_tool"]) | values,
        "arguments": st.fixed_dictionaries({}, optional={"a": values, "b": values, "query": values}) | values,
        "_meta": meta | values,
        "uri": text | values,
        "cursor": values,
        "protocolVersion": revisions | values,
        "capabilities": st.just({}) | values,
        "clientInfo": st.just({"name": "fuzz", "version": "1"}) | values,
        "requestId": values,
    },
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | values,
        "id": st.integers() | text | values,
        "method": st.sampled_from(METHODS) | text | values,
        "params": params | values,
        "result": values,
        "error": values,
    },
)
requests = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "id": st.integers(), "method": st.sampled_from(METHODS), "params": params}
)
# Surrogates can't be encoded; json.dumps escapes them, as a client in another language may.
bodies = st.one_of(
    st.binary(max_size=200),
    values.map(json.dumps).map(str.encode),
    messages.map(json.dumps).map(str.encode),
    requests.map(json.dumps).map(str.encode),
    st.lists(messages, max_size=3).map(json.dumps).map(str.encode),
    st.integers(0, 200_000).map(lambda size: b"[" * size),
    st.integers(0, 50_000).map(lambda size: b'{"a":' * size),
    st.builds(lambda message, at: json.dumps(message)[:at].encode(), requests, st.integers(0, 200)),
)
# Visible ASCII and what RFC 9110 calls obs-text; line breaks would begin another header.
allowed = bytes(byte for byte in range(0x20, 0x100) if byte != 0x7F)
header_values = st.lists(st.sampled_from(allowed), max_size=40).map(bytes)
headers = st.fixed_dictionaries(
    {},
    optional={
        b"Content-Type": st.sampled_from([b"application/json", b"text/plain", b"application/json; charset=x"])
        | header_values,
        b"Accept": st.sampled_from([b"application/json", b"text/event-stream", b"*/*"]) | header_values,
        b"MCP-Protocol-Version": st.sampled_from([name.encode() for name in REVISIONS]) | header_values,
        b"Mcp-Method": st.sampled_from([name.encode() for name in METHODS]) | header_values,
        b"Mcp-Name": st.sampled_from([b"simpleadd", b"no_such_tool"]) | header_values,
        b"Mcp-Session-Id": header_values,
        b"Mcp-Param-a": header_values,
        b"Last-Event-ID": header_values,
        b"Authorization": header_values | header_values.map(b"Bearer ".__add__),
        b"Origin": st.sampled_from([b"http://127.0.0.1", b"null"]) | header_values,
        b"X-Amzn-Trace-Id": st.sampled_from([b"Root=1-67891233-abcdef012345678912345678"]) | header_values,
        b"traceparent": header_values,
        b"Content-Encoding": st.sampled_from([b"gzip", b"br"]) | header_values,
        b"X-Forwarded-For": header_values,
        b"X-Forwarded-Proto": header_values,
        b"Cookie": header_values,
        b"Expect": st.just(b"100-continue"),
    },
)
USUAL = {b"Content-Type": b"application/json"}


@pytest.fixture(scope="module", params=["stateless", "stateful"])
def target(request: pytest.FixtureRequest, server: Any, start: Any) -> Iterator[Any]:
    if request.param == "stateless":
        yield server
    else:
        with start(MCP_STATEFUL="true") as stateful:
            yield stateful


def exchange(server: Any, raw: bytes, complete: bool = True) -> bytes:
    """Send raw bytes on a connection of their own; return what comes until the server closes it.

    Of an event stream, which may stay open, the beginning is enough.
    """
    with socket.create_connection((server.host, server.port), timeout=SECONDS) as connection:
        connection.sendall(raw)
        if not complete:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while b"text/event-stream" not in received and (piece := connection.recv(65536)):
                received += piece
        except ConnectionResetError:
            assert not complete
        return received


def check(answer: bytes) -> None:
    """Look at an answer, after any 100 Continue."""
    while answer.startswith(b"HTTP/1.1 100 "):
        answer = answer.partition(b"\r\n\r\n")[2]
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    assert answer[9:10] in {b"2", b"4"}, answer[:2000]
    assert b"Traceback" not in answer
    assert b'File "' not in answer


def http(method: bytes, path: bytes, wire: dict[bytes, bytes], body: bytes) -> bytes:
    lines = [
        method + b" " + path + b" HTTP/1.1",
        b"Host: 127.0.0.1",
        b"Connection: close",
        b"Content-Length: " + str(len(body)).encode(),
        *(name + b": " + value for name, value in wire.items()),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def alive(server: Any) -> None:
    assert server.process.poll() is None
    called = server.rpc("tools/call", {"name": "simpleadd", "arguments": {"a": 1, "b": 2}})
    assert called.status in {200, 400}


@EVERYDAY
@given(body=bodies)
def test_any_body(target: Any, body: bytes) -> None:
    check(exchange(target, http(b"POST", b"/mcp", USUAL, body)))


@EVERYDAY
@given(message=messages | requests, wire=headers)
def test_any_message_under_any_headers(target: Any, message: Any, wire: dict[bytes, bytes]) -> None:
    body = json.dumps(message).encode()
    check(exchange(target, http(b"POST", b"/mcp", {**USUAL, **wire}, body)))


@EVERYDAY
@given(request=requests, revision=st.sampled_from(REVISIONS))
def test_any_parameters_of_known_methods(target: Any, request: dict[str, Any], revision: str) -> None:
    wire = {b"MCP-Protocol-Version": revision.encode(), b"Mcp-Method": request["method"].encode()}
    name = request["params"].get("name")
    if isinstance(name, str) and name.isascii() and name.isprintable():
        wire[b"Mcp-Name"] = name.encode()
    check(exchange(target, http(b"POST", b"/mcp", {**USUAL, **wire}, json.dumps(request).encode())))


@EVERYDAY
@given(
    method=st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"HEAD", b"PATCH", b"TRACE"]),
    path=st.sampled_from(
        [b"/mcp", b"/mcp/", b"/health", b"/", b"/mcp?x=%00", b"/.well-known/x", b"/%2e/mcp"]
    ),
    wire=headers,
)
def test_any_method_on_any_path(server: Any, method: bytes, path: bytes, wire: dict[bytes, bytes]) -> None:
    check(exchange(server, http(method, path, wire, b"")))


@EVERYDAY
@given(raw=st.binary(max_size=300), cut=st.integers(0, 400))
def test_any_bytes_at_all(server: Any, raw: bytes, cut: int) -> None:
    request = http(b"POST", b"/mcp", USUAL, b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}')
    # What is no complete request may be answered with silence, once nothing more can come.
    if answer := exchange(server, request[:cut] + raw, complete=False):
        check(answer)


def test_the_server_is_none_the_worse_for_it(target: Any) -> None:
    alive(target)
