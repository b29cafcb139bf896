"""The short way of a request: it takes what the library takes, and nothing of one request reaches another."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from mcp.server.connection import Connection
from mcp.server.lowlevel.server import Server
from mcp_types import JSONRPCRequest
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request

Package = Callable[[str], Any]

VALID: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a"}}
INFO, CAPABILITIES = {"name": "client", "version": "1"}, {"elicitation": {}}
JSON_TYPE = (b"content-type", b"application/json")


def post(*headers: tuple[bytes, bytes]) -> Request:
    return Request({"type": "http", "method": "POST", "path": "/mcp", "headers": [JSON_TYPE, *headers]})


@pytest.mark.parametrize(
    "message",
    [
        VALID,
        {**VALID, "id": "text"},
        {**VALID, "id": 10**30},
        {**VALID, "params": {}},
        {**VALID, "params": None},
        {**VALID, "more": 1},
        {name: value for name, value in VALID.items() if name != "params"},
        *(
            {key: value for key, value in VALID.items() if key != name}
            for name in ("jsonrpc", "id", "method")
        ),
        *({**VALID, "jsonrpc": version} for version in ("1.0", 2.0, None)),
        *({**VALID, "id": request_id} for request_id in (True, 1.0, None, [], {})),
        *({**VALID, "method": method} for method in (1, None, [], True)),
        *({**VALID, "params": params} for params in ([], "a", 1, False)),
        [VALID],
        "text",
        None,
    ],
    ids=json.dumps,
)
def test_a_request_is_what_the_library_takes_for_one(package: Package, message: Any) -> None:
    try:
        JSONRPCRequest.model_validate(message)
        expected = True
    except ValidationError:
        expected = False
    request = post((b"accept", b"*/*"))
    found = package("exchange").open_exchange(Server("any"), request, json.dumps(message).encode())
    assert (found is not None) == expected


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("application/json", True),
        ("APPLICATION/JSON;q=0.5, text/event-stream", True),
        ("application/*", True),
        ("text/html , */*", True),
        ("text/event-stream", False),
        ("application/jsonx", False),
        ("", False),
    ],
)
def test_only_who_takes_json_is_answered_with_it(package: Package, accept: str, taken: bool) -> None:
    body = json.dumps(VALID).encode()
    for _ in range(2):
        found = package("exchange").open_exchange(Server("any"), post((b"accept", accept.encode())), body)
        assert (found is not None) == taken


def test_of_several_headers_the_first_counts(package: Package) -> None:
    body, accept = json.dumps(VALID).encode(), (b"accept", b"*/*")
    version = b"mcp-protocol-version"
    request = post(accept, (version, b"2025-06-18"), (version, b"2025-03-26"), (b"x-more", b"1"))
    found = package("exchange").open_exchange(Server("any"), request, body)
    assert found.connection.protocol_version == "2025-06-18"


@pytest.mark.parametrize(
    ("info", "capabilities"),
    [
        (None, None),
        (INFO, CAPABILITIES),
        (None, CAPABILITIES),
        (INFO, None),
        ({"name": 1}, CAPABILITIES),
        (INFO, []),
        ({**INFO, "title": "long" * 2000}, CAPABILITIES),
    ],
)
def test_a_connection_is_as_the_library_makes_it(package: Package, info: Any, capabilities: Any) -> None:
    exchange = package("exchange")
    reference = vars(Connection.from_envelope("2026-07-28", info, capabilities))
    for _ in range(2):
        connection = exchange._connection("2026-07-28", info, capabilities)
        found = vars(connection)
        assert found.keys() == reference.keys()
        same = {
            "outbound",
            "protocol_version",
            "session_id",
            "_client_params",
            "client_capabilities",
            "state",
        }
        assert {name: found[name] for name in same} == {name: reference[name] for name in same}
        assert connection.initialized.is_set()
        assert not connection.exit_stack._exit_callbacks
        connection.state["left"] = "behind"
        connection.exit_stack.push_async_callback(asyncio.sleep, 0)


def test_a_body_in_pieces_is_one_and_can_be_read_again(package: Package) -> None:
    exchange = package("exchange")

    def sending(*messages: dict[str, Any]) -> Any:
        left = list(messages)

        async def receive() -> dict[str, Any]:
            return left.pop(0)

        return receive

    def part(body: bytes, more: bool) -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": more}

    gone = {"type": "http.disconnect"}
    receive = sending(part(b"a", True), part(b"b", True), part(b"", False), gone)
    body = asyncio.run(exchange.read_body(receive))
    assert body == b"ab"
    again = exchange.replay(body, receive)
    assert asyncio.run(Request({"type": "http"}, again).body()) == b"ab"
    assert asyncio.run(again()) == gone
    with pytest.raises(ClientDisconnect):
        asyncio.run(exchange.read_body(sending(part(b"a", True), gone)))
