"""The answer to one POST: a JSON body, which becomes an event stream when a tool reports or takes long.

CloudFront gives up on an origin that is silent for 30 seconds, and a notification such as a tool's progress
has no place in a JSON body; but a stream for every call costs a third of the speed. So the decision waits
until something decides it.
"""

import asyncio
from functools import lru_cache
from typing import Any

import pydantic_core
from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.streamable_http import CONTENT_TYPE_SSE
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Half of what CloudFront's origin read timeout is by default.
PING_SECONDS = 15.0
# Calls quicker than this are never watched for a client that hangs up, which saves them a task.
UNWATCHED_SECONDS = 1.0
ANSWER_KEY = "mcp.answer"
STREAM_TYPES = (CONTENT_TYPE_SSE, "text/*")
STREAM_HEADERS = [
    (b"content-type", CONTENT_TYPE_SSE.encode()),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
PING = b": ping\r\n\r\n"


def event(message: bytes) -> bytes:
    """Return a JSON-RPC message, on one line, as a server-sent event."""
    return b"event: message\r\ndata: " + message + b"\r\n\r\n"


@lru_cache(maxsize=64)
def media_types(accept: str) -> frozenset[str]:
    """Return the media types of an `Accept` header; a client sends the same one with every request."""
    return frozenset(part.split(";")[0].strip() for part in accept.lower().split(","))


def accepts_a_stream(scope: Scope) -> bool:
    """Tell whether `Accept` names event streams; `*/*` comes from clients that expect JSON."""
    return any(
        name == b"accept" and not media_types(value.decode("latin-1")).isdisjoint(STREAM_TYPES)
        for name, value in scope["headers"]
    )


class Answer:
    """Runs an application that answers with JSON, for a client that accepts event streams too."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._lock = asyncio.Lock()
        self._start: Message | None = None
        self._body = b""
        self._streams = False
        self._ended = False
        self._task: asyncio.Task[None] | None = None
        self._gone = False
        self._timer: asyncio.TimerHandle | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def serve(self, app: ASGIApp, scope: Scope) -> None:
        """Answer the request; a client that hangs up cancels what runs for it."""
        self._task = asyncio.current_task()
        try:
            await app({**scope, ANSWER_KEY: self}, self._receive_body, self._send_json)
        except asyncio.CancelledError:
            # As asyncio.timeout does: a cancellation of our own ends here, another goes on.
            if not self._gone or self._task is None or self._task.uncancel() > 0:
                raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._keeper is not None:
                self._keeper.cancel()

    async def send(self, item: bytes) -> None:
        """Send an event ahead of the result: the answer is a stream from now on."""
        async with self._lock:
            if self._ended:
                return
            if not self._streams:
                self._streams = True
                await self._send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
            await self._send({"type": "http.response.body", "body": item, "more_body": True})

    async def notify(self, method: str, params: Any) -> None:
        """Send a JSON-RPC notification ahead of the result."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = params
        await self.send(event(pydantic_core.to_json(message, inf_nan_mode="null")))

    async def _receive_body(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body") and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(UNWATCHED_SECONDS, self._watch)
        return message

    async def _send_json(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if not self._streams and not self._lock.locked():
            # What comes ahead of the result comes too late from here on.
            self._ended = True
            start, self._start = self._start, None
            if start is not None:
                await self._send(start)
            await self._send(message)
            return
        async with self._lock:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                self._ended = True
                last = event(self._body) if self._body else b""
                await self._send({"type": "http.response.body", "body": last, "more_body": False})

    def _watch(self) -> None:
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    def _hang_up(self) -> None:
        if self._task is not None:
            self._gone = True
            self._task.cancel()

    async def _keep(self) -> None:
        seconds = max(PING_SECONDS - UNWATCHED_SECONDS, 0)
        received = asyncio.ensure_future(self._receive())
        try:
            while True:
                done, _ = await asyncio.wait({received}, timeout=seconds)
                if not done:
                    await self.send(PING)
                    seconds = PING_SECONDS
                elif received.result()["type"] == "http.disconnect":
                    self._hang_up()
                    return
                else:
                    received = asyncio.ensure_future(self._receive())
        finally:
            received.cancel()


async def notify_ahead(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Send what a 2026-07-28 request notifies its client of ahead of the result, where that can be a stream.

    In JSON mode the library leaves the request's channel without a sink and drops notifications.
    """
    answer = None if ctx.request is None else ctx.request.scope.get(ANSWER_KEY)
    if answer is not None:
        channel: Any = getattr(ctx.session, "_request_outbound", None)
        if getattr(channel, "sink", answer) is None:
            channel.sink = answer
    return await call_next(ctx)
