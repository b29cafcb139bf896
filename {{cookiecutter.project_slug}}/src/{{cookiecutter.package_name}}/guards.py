"""What is refused before MCP sees it: foreign hosts and origins, huge and endless bodies."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

from fastmcp.server.http import HostOriginGuardMiddleware
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .health import HEALTH_PATH
from .settings import Settings

# Only a server for this machine alone is open to DNS rebinding: a web page that makes its own name resolve to
# loopback. Any other server is reached under names it can't know unless ALLOWED_HOSTS lists them.
LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")
# What a browser's script must read: the session, the revision, and where to get a token after a 401.
EXPOSED_HEADERS = ("Mcp-Session-Id", "MCP-Protocol-Version", "WWW-Authenticate", "Retry-After")
INVALID_REQUEST = -32600  # JSON-RPC 2.0, section 5.1


def add_guards(app: Starlette, settings: Settings) -> None:
    """Put the guards in front of the application; the one added last is the first to be asked."""
    app.add_middleware(LimitBody, max_bytes=settings.max_body_bytes, seconds=settings.body_timeout_seconds)
    hosts, origins = settings.allowed_hosts, (*settings.allowed_origins, *settings.cors_origins)
    local = settings.host in LOCAL_HOSTS
    if local or hosts or origins:
        app.add_middleware(
            GuardHosts,
            allowed_hosts=hosts or (() if local else ("*",)),
            allowed_origins=origins or None,
        )
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST", "DELETE"),
            # Mcp-Param-* headers are named after tools' parameters, so no list is complete.
            allow_headers=("*",),
            expose_headers=EXPOSED_HEADERS,
        )


class GuardHosts(HostOriginGuardMiddleware):
    """FastMCP's guard, except for `/health`: load balancers probe by address, and it tells nothing.

    What it lets by is remembered: it parses addresses and patterns, and clients send the same few headers.
    """

    _REMEMBERED = 256
    _HEADERS = (b"host", b"origin")

    def __init__(
        self, app: ASGIApp, allowed_hosts: Sequence[str], allowed_origins: Sequence[str] | None
    ) -> None:
        super().__init__(self._pass, allowed_hosts, allowed_origins, mode="strict")
        self._inner = app
        self._passed: set[Any] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let health checks by, and what was let by before."""
        if scope["type"] != "http" or scope["path"] == HEALTH_PATH or self._key(scope) in self._passed:
            await self._inner(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        if len(self._passed) < self._REMEMBERED:
            self._passed.add(self._key(scope))
        await self._inner(scope, receive, send)

    def _key(self, scope: Scope) -> Any:
        asked = tuple(header for header in scope["headers"] if header[0] in self._HEADERS)
        return scope["scheme"], scope["server"], asked


class RefusedBodyError(Exception):
    """A body that isn't read to its end; holds the HTTP status and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class GoneError(Exception):
    """The client left before its body was complete."""


class LimitBody:
    """Answer 413 to a body of more than `max_bytes`, declared or not, 408 to one that takes over `seconds`.

    The body is counted while the application reads it, so a caller without a token can't fill the memory.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count and time what is received."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if _declared_size(scope) > self.max_bytes:
            await _refuse(send, self._too_large())
            return
        deadline = time.monotonic() + self.seconds
        received = 0
        complete = answered = False

        async def counted() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                    message = await receive()
            except TimeoutError:
                raise RefusedBodyError(408, f"The body took over {self.seconds:g} seconds.") from None
            if message["type"] == "http.disconnect":
                raise GoneError
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise self._too_large()
            complete = not message.get("more_body", False)
            return message

        async def watched(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, counted, watched)
        except GoneError:
            # The MCP library would log an error with a traceback; there is nobody to answer either.
            return
        except RefusedBodyError as refused:
            if answered:
                raise
            await _refuse(send, refused)

    def _too_large(self) -> RefusedBodyError:
        return RefusedBodyError(413, f"The body is larger than {self.max_bytes} bytes.")


def _declared_size(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


async def _refuse(send: Send, refused: RefusedBodyError) -> None:
    error = {"code": INVALID_REQUEST, "message": str(refused)}
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if refused.status == 408:
        # After 413 the connection stays: one closed under a client that is still sending is a 502 to a proxy.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
