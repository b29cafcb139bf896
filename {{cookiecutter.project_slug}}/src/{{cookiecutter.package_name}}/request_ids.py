"""What logs and traces say of the request being served: AWS's trace id, the MCP session id, the tool."""

import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import NamedTuple

from opentelemetry import trace
from starlette.types import ASGIApp, Receive, Scope, Send

# AWS X-Ray developer guide, "Tracing header". A load balancer adds Root alone; Parent and Sampled come from a
# traced caller.
_FIELD = re.compile(r"(Root|Parent|Sampled)=([0-9a-fA-F-]{1,35})\Z")
_ROOT = re.compile(r"1-([0-9a-fA-F]{8})-([0-9a-fA-F]{24})\Z")
_PARENT = re.compile(r"[0-9a-fA-F]{16}\Z")
_SESSION_ID = re.compile(r"[!-~]{1,128}\Z")


class TraceHeader(NamedTuple):
    """What `X-Amzn-Trace-Id` says; numbers are those of OpenTelemetry."""

    trace_id: int
    parent_id: int | None
    sampled: bool


class RequestIds(NamedTuple):
    """Ids of one HTTP request; None where it carried none, or one that can't be read."""

    trace: TraceHeader | None = None
    session_id: str | None = None
    traceparent: str | None = None


NO_IDS = RequestIds()
# The trace that a request names or begins; a span without a parent joins it.
current_trace: ContextVar[int | None] = ContextVar("trace", default=None)
current_session_id: ContextVar[str | None] = ContextVar("session_id", default=None)
# Log lines that a tool writes carry its name.
current_tool: ContextVar[str | None] = ContextVar("tool", default=None)


def parse_trace_header(value: str) -> TraceHeader | None:
    """Read an `X-Amzn-Trace-Id`; None where it names no trace."""
    found = (_FIELD.match(part.strip()) for part in value.split(";"))
    fields: dict[str, str] = {match[1]: match[2] for match in found if match}
    root = _ROOT.match(fields.get("Root", ""))
    trace_id = int(root[1] + root[2], 16) if root else 0
    if not trace_id:
        return None
    parent = fields.get("Parent", "")
    parent_id = int(parent, 16) if _PARENT.match(parent) else 0
    return TraceHeader(trace_id, parent_id or None, fields.get("Sampled") == "1")


def xray_trace_id(trace_id: int) -> str:
    """Write a trace id as X-Ray and load balancers do: `1-67891233-abcdef012345678912345678`."""
    digits = trace_id.to_bytes(16).hex()
    return f"1-{digits[:8]}-{digits[8:]}"


def current_trace_id() -> str | None:
    """Return the trace the running code belongs to: its span's, else the one the request came with."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        return xray_trace_id(context.trace_id)
    trace_id = current_trace.get()
    return None if trace_id is None else xray_trace_id(trace_id)


def read_ids(headers: Iterable[tuple[bytes, bytes]]) -> RequestIds:
    """Read the ids in the headers of a request, whose names are in lower case."""
    header = session_id = traceparent = None
    for name, value in headers:
        if name == b"x-amzn-trace-id":
            header = parse_trace_header(value.decode("latin-1"))
        elif name == b"mcp-session-id":
            text = value.decode("latin-1")
            session_id = text if _SESSION_ID.match(text) else None
        elif name == b"traceparent":
            traceparent = value.decode("latin-1")
    if header is None and session_id is None and traceparent is None:
        return NO_IDS
    return RequestIds(header, session_id, traceparent)


class KeepRequestIds:
    """Set `current_trace` and `current_session_id` while a request is served."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the headers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        ids = read_ids(scope["headers"])
        trace_token = current_trace.set(None if ids.trace is None else ids.trace.trace_id)
        session_token = current_session_id.set(ids.session_id)
        try:
            await self.app(scope, receive, send)
        finally:
            current_session_id.reset(session_token)
            current_trace.reset(trace_token)
