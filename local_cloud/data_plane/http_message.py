"""HTTP requests and streamed responses as the load balancer and the distribution hand them on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, unquote

from ..context import Receive, Scope, Send

logger = logging.getLogger(__name__)

Headers = list[tuple[str, str]]

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Header fields that concern one connection (RFC 9110, section 7.6.1)."""

REASON_HEADER = "x-local-cloud-reason"
"""Says why the local cloud answered in the network's place; AWS has no such header."""


class ResponseAbortedError(Exception):
    """The rest of a response body will not come: the connection to the client must be cut."""


@dataclass(frozen=True)
class Request:
    """One request, its body read; header names are lower case, ``target`` is the path as it was sent."""

    method: str
    target: str
    query: str
    headers: Headers
    body: bytes = b""
    scheme: str = "https"
    client: str = "127.0.0.1"

    @property
    def path(self) -> str:
        """The decoded path, which rules and cache behaviors are matched against."""
        return unquote(self.target)

    @property
    def target_with_query(self) -> str:
        """What follows the authority in the request's address."""
        return f"{self.target}?{self.query}" if self.query else self.target

    def header(self, name: str, default: str = "") -> str:
        """The values of ``name``, joined as RFC 9110 allows."""
        values = [value for key, value in self.headers if key == name]
        return ("; " if name == "cookie" else ", ").join(values) if values else default

    def header_map(self) -> dict[str, str]:
        """One value per name, the shape that the emulator's own functions take."""
        return {name: self.header(name) for name, _ in self.headers}

    def query_map(self) -> dict[str, list[str]]:
        """The parsed query string."""
        return parse_qs(self.query, keep_blank_values=True)

    def with_headers(self, headers: Iterable[tuple[str, str]]) -> Request:
        """The same request with other header fields."""
        return replace(self, headers=list(headers))


async def _nothing() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for chunk in nothing:
        yield chunk


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


@dataclass
class Response:
    """A status, header fields with lower-case names, and a body that arrives in pieces.

    Whoever takes it reads ``body`` to its end or calls ``aclose``, which frees the connection behind it.
    """

    status: int
    headers: Headers
    body: AsyncIterator[bytes] = field(default_factory=_nothing)

    @classmethod
    def of(cls, status: int, headers: Iterable[tuple[str, str]], body: bytes = b"") -> Response:
        """A response whose body is already there."""
        kept = [(name.lower(), value) for name, value in headers]
        if all(name != "content-length" for name, _ in kept):
            kept.append(("content-length", str(len(body))))
        return cls(status, kept, _once(body) if body else _nothing())

    def header(self, name: str) -> str | None:
        """The first value of ``name``."""
        return next((value for key, value in self.headers if key == name), None)

    async def aclose(self) -> None:
        """Give up the rest of the body."""
        close = getattr(self.body, "aclose", None)
        if close is not None:
            await close()

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self.body])


def unreachable(reason: str, status: int = 502) -> Response:
    """What stands for a connection that AWS's network would not have made."""
    text = f"The connection failed: {reason}\n"
    headers = [
        ("content-type", "text/plain; charset=utf-8"),
        (REASON_HEADER, reason),
        ("connection", "close"),
    ]
    return Response.of(status, headers, text.encode())


async def read_request(scope: Scope, receive: Receive) -> Request:
    """The request of an ASGI ``scope``. Raises ConnectionError when the client leaves before all was sent."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client left before it had sent its request")
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    raw_path = scope.get("raw_path") or scope["path"].encode()
    client = scope.get("client") or ("127.0.0.1", 0)
    return Request(
        method=scope["method"].upper(),
        target=raw_path.split(b"?", 1)[0].decode("latin-1") or "/",
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=[
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]
        ],
        body=b"".join(chunks),
        scheme=scope.get("scheme", "https"),
        client=client[0],
    )


async def exchange(
    scope: Scope, receive: Receive, send: Send, respond: Callable[[Request], Awaitable[Response]]
) -> None:
    """Read a request, let ``respond`` answer it, and send the answer piece by piece.

    When the client leaves, the answer is given up at once, whether or not it has begun. A body that breaks
    off is not ended: the server then cuts the connection, and the client sees the cut.
    """
    if scope["type"] != "http":
        logger.warning("refused a %s connection to %s", scope["type"], scope.get("path"))
        await send({"type": "websocket.close", "code": 1011})
        return
    try:
        request = await read_request(scope, receive)
    except ConnectionError as error:
        logger.info("%s %s: %s", scope["method"], scope["path"], error)
        return
    answering = asyncio.ensure_future(_answer(request, respond, send))
    leaving = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            answering.result()
    except ResponseAbortedError as error:
        logger.info("%s %s broke off: %s", request.method, request.target, error)
    finally:
        answering.cancel()
        leaving.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)


async def _answer(request: Request, respond: Callable[[Request], Awaitable[Response]], send: Send) -> None:
    response = await respond(request)
    try:
        await _send_body(response, request, send)
    finally:
        await response.aclose()


async def _send_body(response: Response, request: Request, send: Send) -> None:
    headers = [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in response.headers
        if name not in HOP_BY_HOP
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if request.method != "HEAD":
        async for chunk in response.body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
