"""Requests and responses between ASGI and the data plane."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest

from local_cloud.data_plane.http_message import (
    Request,
    Response,
    ResponseAbortedError,
    exchange,
    read_request,
)

Message = MutableMapping[str, Any]


class Connection:
    """The two ends of an ASGI connection; ``leave`` makes the client go."""

    def __init__(self, *received: Message) -> None:
        self.received = list(received)
        self.sent: list[Message] = []
        self.leave = asyncio.Event()

    async def receive(self) -> Message:
        if self.received:
            return self.received.pop(0)
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)


def scope_of(method: str = "GET", **more: Any) -> Message:
    return {"type": "http", "method": method, "path": "/", "headers": [], **more}


NO_BODY: Message = {"type": "http.request", "body": b""}


async def exchanged(connection: Connection, response: Response, method: str = "GET") -> None:
    async def respond(_request: Request) -> Response:
        return response

    await exchange(scope_of(method), connection.receive, connection.send, respond)


def test_client_that_leaves_ends_the_body_at_once() -> None:
    """Also when the connection stays open, as one stream of many over HTTP/2."""
    closed = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            await asyncio.sleep(60)
        finally:
            closed.set()

    async def scenario() -> list[Message]:
        connection = Connection(NO_BODY)
        response = Response(200, [("x-a", "b"), ("connection", "close")], body())
        sending = asyncio.create_task(exchanged(connection, response))
        while len(connection.sent) < 2:
            await asyncio.sleep(0.001)
        connection.leave.set()
        await asyncio.wait_for(sending, 2)
        return connection.sent

    start, chunk = asyncio.run(scenario())

    assert closed.is_set()
    assert start["headers"] == [(b"x-a", b"b")]
    assert chunk["body"] == b"one"


def test_client_that_leaves_ends_the_wait_for_an_answer() -> None:
    given_up = asyncio.Event()

    async def respond(_request: Request) -> Response:
        try:
            await asyncio.sleep(60)
        finally:
            given_up.set()
        return Response(200, [])

    async def scenario() -> list[Message]:
        connection = Connection(NO_BODY)
        serving = asyncio.create_task(exchange(scope_of(), connection.receive, connection.send, respond))
        await asyncio.sleep(0.01)
        connection.leave.set()
        await asyncio.wait_for(serving, 2)
        return connection.sent

    assert asyncio.run(scenario()) == []
    assert given_up.is_set()


def test_failure_of_the_answer_is_not_swallowed() -> None:
    async def respond(_request: Request) -> Response:
        raise ZeroDivisionError

    async def scenario() -> None:
        connection = Connection(NO_BODY)
        await exchange(scope_of(), connection.receive, connection.send, respond)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(scenario())


def test_web_sockets_are_refused() -> None:
    async def scenario() -> list[Message]:
        connection = Connection()
        scope: Message = {"type": "websocket", "path": "/", "headers": []}

        async def respond(_request: Request) -> Response:
            raise AssertionError

        await exchange(scope, connection.receive, connection.send, respond)
        return connection.sent

    assert asyncio.run(scenario()) == [{"type": "websocket.close", "code": 1011}]


def test_body_that_breaks_off_is_not_ended() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        raise ResponseAbortedError("reset")

    async def scenario() -> list[Message]:
        connection = Connection(NO_BODY)
        await exchanged(connection, Response(200, [], body()))
        return connection.sent

    assert [message.get("more_body") for message in asyncio.run(scenario())] == [None, True]


def test_head_has_no_body() -> None:
    async def scenario() -> list[Message]:
        connection = Connection(NO_BODY)
        await exchanged(connection, Response.of(200, [], b"text"), "HEAD")
        return connection.sent

    start, end = asyncio.run(scenario())
    assert (b"content-length", b"4") in start["headers"]
    assert end["body"] == b""


def test_request_is_read_as_it_was_sent() -> None:
    scope: Message = {
        "method": "post",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"x=%26",
        "scheme": "http",
        "client": ("10.0.0.9", 1),
        "headers": [
            (b"Host", b"h"),
            (b"x-a", b"1"),
            (b"x-a", b"2"),
            (b"cookie", b"a=1"),
            (b"cookie", b"b=2"),
        ],
    }

    async def scenario() -> Request:
        connection = Connection(
            {"type": "http.request", "body": b"on", "more_body": True}, {"type": "http.request", "body": b"e"}
        )
        return await read_request(scope, connection.receive)

    request = asyncio.run(scenario())

    assert (request.method, request.target_with_query, request.path) == ("POST", "/a%20b?x=%26", "/a b")
    assert (request.header("host"), request.header("x-a")) == ("h", "1, 2")
    assert request.header("cookie") == "a=1; b=2"
    assert (request.body, request.client, request.scheme) == (b"one", "10.0.0.9", "http")


def test_client_that_leaves_before_its_body_is_there() -> None:
    async def scenario() -> None:
        connection = Connection({"type": "http.request", "body": b"x", "more_body": True})
        connection.leave.set()
        await read_request({"method": "POST", "path": "/", "headers": []}, connection.receive)

    with pytest.raises(ConnectionError):
        asyncio.run(scenario())
