"""A request of a 2025 client without a session, served where it arrives.

The library starts a transport, a dispatcher and four tasks for each such request, which is half of what the
request costs. Without a session none of it is needed: one message comes in, one goes out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import pydantic_core
from mcp.server.connection import Connection
from mcp.server.lowlevel.server import Server
from mcp.server.runner import modern_error_data, serve_one
from mcp.server.streamable_http import CONTENT_TYPE_JSON, check_accept_headers
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import DEFAULT_NEGOTIATED_VERSION, JSONRPCRequest, jsonrpc_message_adapter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive

from .answers import ANSWER_KEY, Answer


@dataclass
class Channel:
    """The way back to the client while its request is served: notifications only, and only into a stream."""

    transport: TransportContext
    request_id: str | int
    message_metadata: ServerMessageMetadata
    answer: Answer | None
    progress_token: str | int | None
    can_send_request: bool = False
    cancel_requested: anyio.Event = field(default_factory=anyio.Event)

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


def plain_request(request: Request, body: bytes) -> JSONRPCRequest | None:
    """Return the JSON-RPC request of a POST, or None for anything that needs more than `serve`."""
    if request.headers.get("content-type", "").split(";")[0].strip() != CONTENT_TYPE_JSON:
        return None
    if not check_accept_headers(request)[0]:
        return None
    try:
        message = jsonrpc_message_adapter.validate_python(pydantic_core.from_json(body), by_name=False)
    except (ValueError, ValidationError):
        return None
    return message if isinstance(message, JSONRPCRequest) else None


async def serve(
    server: Server[Any], lifespan_state: Any, request: Request, message: JSONRPCRequest, version: str | None
) -> Response:
    """Return the JSON answer; `version` is the protocol revision the client names in its header."""
    channel = Channel(
        transport=TransportContext(kind="streamable-http", can_send_request=False, headers=request.headers),
        request_id=message.id,
        message_metadata=ServerMessageMetadata(request_context=request, can_send_request=False),
        answer=request.scope.get(ANSWER_KEY),
        progress_token=progress_token_from_params(message.params),
    )
    connection = Connection.from_envelope(version or DEFAULT_NEGOTIATED_VERSION, None, None)
    reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message.id}
    try:
        reply["result"] = await serve_one(
            server,
            channel,
            message.method,
            message.params,
            connection=connection,
            lifespan_state=lifespan_state,
        )
    except Exception as error:
        reply["error"] = modern_error_data(error).model_dump(by_alias=True, exclude_unset=True)
    return Response(pydantic_core.to_json(reply, inf_nan_mode="null"), media_type=CONTENT_TYPE_JSON)


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
