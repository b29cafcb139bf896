"""A request outside of any session, served where it arrives.

For a 2025 client the library starts a transport, a dispatcher and four tasks for each such request, which is
half of what the request costs; for a 2026-07-28 client it looks at everything three times. One message comes
in, one goes out: none of that is needed. What is unusual or has to be refused is left to the library.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from types import NoneType
from typing import Any, NamedTuple

import anyio
import pydantic_core
from mcp.server.connection import Connection
from mcp.server.lowlevel.server import Server
from mcp.server.runner import aclose_shielded, modern_error_data
from mcp.server.streamable_http import CONTENT_TYPE_JSON
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    InboundModernRoute,
    classify_inbound_request,
    find_duplicated_routing_header,
    validate_mcp_param_headers,
)
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import DEFAULT_NEGOTIATED_VERSION
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Send

from .answers import ANSWER_KEY, Answer, media_types
from .own_tools import declares_headers
from .results import Runner

# Its answer is a stream in any case.
LISTEN = "subscriptions/listen"
JSON_TYPES = (CONTENT_TYPE_JSON, "application/*", "*/*")
# The headers that decide how a request is served, as they come and as they are compared.
READ = {
    name.encode(): name
    for name in (
        "content-type",
        "accept",
        MCP_PROTOCOL_VERSION_HEADER,
        MCP_METHOD_HEADER,
        MCP_NAME_HEADER,
    )
}
# What a client says of itself in every request; longer ones are read anew each time.
MOST_REMEMBERED_BYTES = 4096


@dataclass
class Channel:
    """The way back to the client while its request is served: notifications only, and only into a stream."""

    transport: TransportContext
    request_id: str | int
    message_metadata: ServerMessageMetadata
    answer: Answer | None
    progress_token: str | int | None
    can_send_request: bool = False

    @cached_property
    def cancel_requested(self) -> anyio.Event:
        """Never set: a request is cancelled by hanging up."""
        return anyio.Event()

    async def send_raw_request(
        self,
        method: str,
        params: Mapping[str, Any] | None,  # noqa: ARG002
        opts: Any = None,  # noqa: ARG002
    ) -> Any:
        """Refuse: an answer to a request of the server's would need a session to arrive in."""
        raise NoBackChannelError(method)

    async def notify(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        opts: Any = None,  # noqa: ARG002
    ) -> None:
        """Send a notification ahead of the result, or drop it where the client takes JSON alone."""
        if self.answer is not None:
            await self.answer.notify(method, params)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Report progress to a client that asked for it."""
        if self.progress_token is not None:
            params = {"progressToken": self.progress_token, "progress": progress}
            optional = {"total": total, "message": message}
            given = {name: value for name, value in optional.items() if value is not None}
            await self.notify("notifications/progress", {**params, **given})


class Exchange(NamedTuple):
    """A request that can be served as it is, and the connection it makes for itself alone."""

    id: str | int
    method: str
    params: dict[str, Any] | None
    connection: Connection
    is_modern: bool


def open_exchange(server: Server[Any], request: Request, body: bytes) -> Exchange | None:
    """Return the exchange that a POST begins, or None for anything but a request to be served."""
    lines = request.scope["headers"]
    # Of several lines with one name the first counts, as it does to Starlette.
    sent = dict(reversed(lines))
    headers = {name: sent[line].decode("latin-1") for line, name in READ.items() if line in sent}
    if headers.get("content-type", "").split(";")[0].strip() != CONTENT_TYPE_JSON:
        return None
    if media_types(headers.get("accept", "")).isdisjoint(JSON_TYPES):
        return None
    try:
        message = pydantic_core.from_json(body)
    except ValueError:
        return None
    if not _is_request(message):
        return None
    request_id, method, params = message["id"], message["method"], message.get("params")
    version = headers.get(MCP_PROTOCOL_VERSION_HEADER)
    if version is None or version in HANDSHAKE_PROTOCOL_VERSIONS:
        connection = _connection(version or DEFAULT_NEGOTIATED_VERSION, None, None)
        return Exchange(request_id, method, params, connection, is_modern=False)
    if method == LISTEN or (
        len(sent) < len(lines) and find_duplicated_routing_header(request.headers.items()) is not None
    ):
        return None
    route = classify_inbound_request(message, headers=headers)
    if not isinstance(route, InboundModernRoute) or not _parameters_match(server, request, method, params):
        return None
    connection = _connection(route.protocol_version, route.client_info, route.client_capabilities)
    return Exchange(request_id, method, params, connection, is_modern=True)


def _is_request(message: Any) -> bool:
    """Tell whether a message is what `JSONRPCRequest` takes, in a tenth of the time."""
    return (
        type(message) is dict
        and message.get("jsonrpc") == "2.0"
        and type(message.get("id")) in (int, str)
        and type(message.get("method")) is str
        and type(message.get("params")) in (dict, NoneType)
    )


def _connection(version: str, client_info: Any, capabilities: Any) -> Connection:
    """Return what `Connection.from_envelope` does; all that a client says of itself is read once."""
    said = pydantic_core.to_json((version, client_info, capabilities))
    if len(said) > MOST_REMEMBERED_BYTES:
        return Connection.from_envelope(version, client_info, capabilities)
    connection = Connection.__new__(Connection)
    # What one request may leave for the next isn't shared.
    vars(connection).update(vars(_introduced(said)), state={}, exit_stack=AsyncExitStack())
    return connection


@lru_cache(maxsize=256)
def _introduced(said: bytes) -> Connection:
    return Connection.from_envelope(*pydantic_core.from_json(said))


def _parameters_match(
    server: Server[Any], request: Request, method: str, params: dict[str, Any] | None
) -> bool:
    """Tell whether the arguments of a call repeated in `Mcp-Param-*` headers are certain to be the same."""
    if method != "tools/call":
        return True
    params = params or {}
    name, arguments = params.get("name"), params.get("arguments") or {}
    if (
        server.get_tool_input_schema is None
        or not isinstance(name, str)
        or not isinstance(arguments, Mapping)
    ):
        return False
    schema = server.get_tool_input_schema(name)
    if schema is None or not declares_headers(schema):
        return True
    return validate_mcp_param_headers(schema, arguments, request.headers) is None


async def serve(
    server: Server[Any], lifespan_state: Any, request: Request, exchange: Exchange, send: Send
) -> None:
    """Send the JSON answer."""
    channel = Channel(
        transport=TransportContext(kind="streamable-http", can_send_request=False, headers=request.headers),
        request_id=exchange.id,
        message_metadata=ServerMessageMetadata(request_context=request, can_send_request=False),
        answer=request.scope.get(ANSWER_KEY),
        progress_token=progress_token_from_params(exchange.params),
    )
    runner = Runner(server, exchange.connection, lifespan_state)
    status = 200
    try:
        # Not `on_request`, which makes the runner refer to itself, and work for the garbage collector.
        result = await runner._on_request(channel, exchange.method, exchange.params)
        body = _json({"jsonrpc": "2.0", "id": exchange.id, "result": result})
    except Exception as error:
        data = modern_error_data(error)
        told = data.model_dump(by_alias=True, exclude_unset=True)
        body = _json({"jsonrpc": "2.0", "id": exchange.id, "error": told})
        if exchange.is_modern:
            status = ERROR_CODE_HTTP_STATUS.get(data.code, status)
    finally:
        # As `serve_one` does, but nearly always there is nothing to clean up, which takes a while too.
        if exchange.connection.exit_stack._exit_callbacks:  # type: ignore[attr-defined]
            await aclose_shielded(exchange.connection)
    headers = [
        (b"content-type", CONTENT_TYPE_JSON.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


_json = partial(pydantic_core.to_json, inf_nan_mode="null")


async def read_body(receive: Receive) -> bytes:
    """Return the whole body of a request; raises `ClientDisconnect` where it ends early."""
    chunks = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that starts over with a body that was read already."""
    read = False

    async def again() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
