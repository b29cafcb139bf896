"""A request outside of any session, served where it arrives.

For a 2025 client the library starts a transport, a dispatcher and four tasks for each such request, which is
half of what the request costs; for a 2026-07-28 client it looks at everything three times. One message comes
in, one goes out: none of that is needed. What is unusual or has to be refused is left to the library.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import anyio
import pydantic_core
from mcp.server.connection import Connection
from mcp.server.lowlevel.server import Server
from mcp.server.runner import ServerRunner, aclose_shielded, modern_error_data
from mcp.server.streamable_http import CONTENT_TYPE_JSON, check_accept_headers
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    MCP_PROTOCOL_VERSION_HEADER,
    InboundModernRoute,
    classify_inbound_request,
    find_duplicated_routing_header,
    validate_mcp_param_headers,
)
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import DEFAULT_NEGOTIATED_VERSION, JSONRPCRequest
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import ValidationError
from starlette.requests import Request
from starlette.types import Message, Receive, Send

from .answers import ANSWER_KEY, Answer
from .own_tools import declares_headers

# Its answer is a stream in any case.
LISTEN = "subscriptions/listen"


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

    message: JSONRPCRequest
    connection: Connection
    is_modern: bool


def open_exchange(server: Server[Any], request: Request, body: bytes) -> Exchange | None:
    """Return the exchange that a POST begins, or None for anything but a request to be served."""
    headers = request.headers
    if headers.get("content-type", "").split(";")[0].strip() != CONTENT_TYPE_JSON:
        return None
    if not check_accept_headers(request)[0]:
        return None
    try:
        decoded = pydantic_core.from_json(body)
        message = JSONRPCRequest.model_validate(decoded)
    except (ValueError, ValidationError):
        return None
    version = headers.get(MCP_PROTOCOL_VERSION_HEADER)
    if version is None or version in HANDSHAKE_PROTOCOL_VERSIONS:
        connection = Connection.from_envelope(version or DEFAULT_NEGOTIATED_VERSION, None, None)
        return Exchange(message, connection, is_modern=False)
    if message.method == LISTEN or find_duplicated_routing_header(headers.items()) is not None:
        return None
    route = classify_inbound_request(decoded, headers=headers)
    if not isinstance(route, InboundModernRoute) or not _parameters_match(server, request, message):
        return None
    connection = Connection.from_envelope(
        route.protocol_version, route.client_info, route.client_capabilities
    )
    return Exchange(message, connection, is_modern=True)


def _parameters_match(server: Server[Any], request: Request, message: JSONRPCRequest) -> bool:
    """Tell whether the arguments of a call repeated in `Mcp-Param-*` headers are certain to be the same."""
    if message.method != "tools/call":
        return True
    params = message.params or {}
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
    message = exchange.message
    channel = Channel(
        transport=TransportContext(kind="streamable-http", can_send_request=False, headers=request.headers),
        request_id=message.id,
        message_metadata=ServerMessageMetadata(request_context=request, can_send_request=False),
        answer=request.scope.get(ANSWER_KEY),
        progress_token=progress_token_from_params(message.params),
    )
    runner = ServerRunner(server, exchange.connection, lifespan_state)
    reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message.id}
    status = 200
    try:
        reply["result"] = await runner.on_request(channel, message.method, message.params)
    except Exception as error:
        data = modern_error_data(error)
        reply["error"] = data.model_dump(by_alias=True, exclude_unset=True)
        if exchange.is_modern:
            status = ERROR_CODE_HTTP_STATUS.get(data.code, status)
    finally:
        # As `serve_one` does, but nearly always there is nothing to clean up, which takes a while too.
        if exchange.connection.exit_stack._exit_callbacks:  # type: ignore[attr-defined]
            await aclose_shielded(exchange.connection)
    body = pydantic_core.to_json(reply, inf_nan_mode="null")
    headers = [
        (b"content-type", CONTENT_TYPE_JSON.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


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
