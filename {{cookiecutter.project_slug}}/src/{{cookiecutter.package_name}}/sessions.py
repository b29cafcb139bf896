"""How requests to `/mcp` are served: with sessions or without, as JSON or as an event stream."""

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from fastmcp import FastMCP
from fastmcp.server.http import StreamableHTTPASGIApp
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from .answers import Answer, accepts_a_stream, notify_ahead
from .exchange import open_exchange, read_body, replay, serve
from .own_tools import names_are_plain, own_schema
from .settings import Settings


class Sessions(StreamableHTTPSessionManager):
    """The library's session manager, which here decides between JSON and a stream for each request.

    It overrides a private method and reads private attributes; tests/server/test_protocol.py fails when the
    library has them no longer.
    """

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; a client that accepts streams gets one when its call turns out to need it."""
        if scope["method"] != "POST" or not (self.stateless or _is_modern(scope)):
            await self._handle_request(scope, receive, send)
        elif accepts_a_stream(scope):
            await Answer(receive, send).serve(self._exchange, scope)
        else:
            await self._exchange(scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        again = replay(body, receive)
        request = Request(scope, again)
        exchange = open_exchange(self.app, request, body)
        if exchange is None:
            # Not by way of `asgi_app`: `guards` has counted the body already.
            await self._handle_request(scope, again, send)
        else:
            await serve(self.app, self._lifespan_state, request, exchange, send)

    async def _serve_opening_request(
        self, http_transport: StreamableHTTPServerTransport, scope: Scope, receive: Receive, send: Send
    ) -> None:
        # A session streams unless the client that opens it takes JSON alone.
        http_transport.is_json_response_enabled = _takes_json_alone(scope)
        await super()._serve_opening_request(http_transport, scope, receive, send)

    def end_standalone_streams(self) -> None:
        """End the streams that clients hold open with GET; calls in flight go on."""
        for transport in list(self._server_instances.values()):
            transport.close_standalone_sse_stream()

    async def end(self) -> None:
        """End every session, with whatever is still in flight."""
        for transport in list(self._server_instances.values()):
            await transport.terminate()


def install(app: Starlette, server: FastMCP[Any], settings: Settings) -> None:
    """Have `app`, made by `server.http_app()`, serve MCP through `Sessions`, kept in `app.state.sessions`."""
    # Ends every stream, and cancels the tool behind it, the moment the process is asked to stop.
    AppStatus.enable_automatic_graceful_drain = False
    low_level = server._mcp_server
    endpoint = _endpoint(app)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        sessions = Sessions(
            low_level,
            json_response=True,
            stateless=not settings.stateful,
            # FastMCP checks Host and Origin before a request gets here.
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            session_idle_timeout=settings.session_idle_seconds,
        )
        endpoint.session_manager = app.state.sessions = sessions
        if names_are_plain(server):
            low_level.get_tool_input_schema = partial(own_schema, server)
        else:
            # The library serves such calls, and answers with JSON alone.
            low_level.middleware.insert(0, notify_ahead)
        async with sessions.run():
            try:
                yield
            finally:
                await sessions.end()

    app.router.lifespan_context = lifespan


def _endpoint(app: Starlette) -> StreamableHTTPASGIApp:
    for route in app.routes:
        endpoint = getattr(route, "endpoint", None)
        while endpoint is not None:
            if isinstance(endpoint, StreamableHTTPASGIApp):
                return endpoint
            endpoint = getattr(endpoint, "app", None)
    raise LookupError("the application has no streamable HTTP endpoint; is it made for another transport?")


def _header(scope: Scope, wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)


def _is_modern(scope: Scope) -> bool:
    version = _header(scope, MCP_PROTOCOL_VERSION_HEADER.encode())
    return version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS


def _takes_json_alone(scope: Scope) -> bool:
    return not accepts_a_stream(scope) and "*/*" not in (_header(scope, b"accept") or "*/*")
