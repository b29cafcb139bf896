"""Traces: FastMCP's own spans below the caller's, AWS calls below them. Loaded only when on."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from random import getrandbits
from typing import Any

from fastmcp import FastMCP
from fastmcp.telemetry import INSTRUMENTATION_NAME, suppress_fastmcp_telemetry
from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from ._distribution import this_distribution
from .aws_spans import trace_aws_calls
from .call_spans import quickened
from .otlp import SpanSender
from .request_ids import RequestIds, current_session_id, current_trace, read_ids

# A process that is told to end sends what it has, but not for longer than this.
FLUSH_SECONDS = 5


def _without_spans() -> Context:
    token = context.attach(Context())
    try:
        with suppress_fastmcp_telemetry():
            return context.get_current()
    finally:
        context.detach(token)


# Attached, FastMCP makes no span. Entering `suppress_fastmcp_telemetry` with each call takes longer.
_WITHOUT_SPANS = _without_spans()


class Tracers(TracerProvider):
    """A provider that keeps the tracers it makes; FastMCP asks for one with every span."""

    def __init__(self, ratio: TraceIdRatioBased, **options: Any) -> None:
        super().__init__(sampler=ParentBased(ratio), **options)
        self._ratio = ratio
        self._made: dict[tuple[str, str | None, str | None], trace.Tracer] = {}

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace.Tracer:
        """Return the tracer of a module."""
        asked = (instrumenting_module_name, instrumenting_library_version, schema_url)
        if attributes:
            return super().get_tracer(*asked, attributes)
        if asked not in self._made:
            made = super().get_tracer(*asked)
            if instrumenting_module_name == INSTRUMENTATION_NAME and isinstance(made, Tracer):
                made = quickened(made, self._ratio)
            self._made[asked] = made
        return self._made[asked]


class BegunTraceIds(RandomIdGenerator):
    """A root span joins the trace that the load balancer or `DecideOnTrace` began."""

    def generate_trace_id(self) -> int:
        """Return a 128-bit id."""
        trace_id = current_trace.get()
        if trace_id is not None:
            return trace_id
        return super().generate_trace_id()


def add_traces(
    app: Starlette, server: FastMCP[Any], endpoint: str, sample_ratio: float
) -> Callable[[ASGIApp], ASGIApp]:
    """Send the spans of this process to `endpoint` until the application's lifespan ends.

    `sample_ratio`, 0 to 1, is the share kept of the traces that begin here; a traced caller decides itself.
    Returns the middleware to add in place of `KeepRequestIds`.
    """
    distribution = this_distribution()
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, where set, win.
    resource = Resource.create({"service.name": distribution.name, "service.version": distribution.version})
    sampler = TraceIdRatioBased(sample_ratio)
    provider = Tracers(
        sampler,
        resource=resource.merge(OTELResourceDetector().detect()),
        id_generator=BegunTraceIds(),
        # The lifespan's end is the place: uvicorn raises SIGINT again, which skips exit handlers.
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(SpanSender(endpoint)))
    trace.set_tracer_provider(provider)
    trace_aws_calls()
    middleware = server._mcp_server.middleware
    # The runner awaits what it returns, whether that is a coroutine or another awaitable.
    middleware[0] = HeedEnvelope(middleware[0])  # type: ignore[call-overload]
    _flush_at_the_end(app, provider)
    return partial(DecideOnTrace, sampler=sampler)


class DecideOnTrace:
    """Decides on a request's trace, once, and does what `KeepRequestIds` does.

    Most requests begin a trace that isn't kept. Theirs is the short way: one context is attached, in which
    FastMCP makes no span. On spans of others the sampler decides the same again, since they get the same id.
    """

    def __init__(self, app: ASGIApp, sampler: TraceIdRatioBased) -> None:
        self.app = app
        self._mask, self._bound = sampler.TRACE_ID_LIMIT, sampler.bound
        self._new_trace_id = partial(getrandbits, 128)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Attach the trace while the request is served."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        ids = read_ids(scope["headers"])
        current = context.get_current()
        serving = None
        if ids.trace is not None or ids.traceparent is not None:
            serving = self._of_caller(ids)
        if serving is None and current and trace.get_current_span(current).get_span_context().is_valid:
            # Something outside of this application traces it.
            serving = self._following(current)
        trace_id = None
        if serving is None:
            # Log lines have its id, kept or not. A load balancer begins a trace and sends no span to follow.
            trace_id = self._new_trace_id() if ids.trace is None else ids.trace.trace_id
            if trace_id & self._mask < self._bound:
                serving = current
            else:
                serving = Context({**current, **_WITHOUT_SPANS}) if current else _WITHOUT_SPANS
        trace_token = current_trace.set(trace_id)
        session_token = current_session_id.set(ids.session_id)
        token = context.attach(serving)
        try:
            await self.app(scope, receive, send)
        finally:
            context.detach(token)
            current_session_id.reset(session_token)
            current_trace.reset(trace_token)

    def _of_caller(self, ids: RequestIds) -> Context | None:
        """Return the context of the span that `X-Amzn-Trace-Id`, or else `traceparent`, names."""
        if ids.trace is None:
            found = TraceContextTextMapPropagator().extract({"traceparent": ids.traceparent or ""}, Context())
            return self._following(found) if found else None
        if ids.trace.parent_id is None:
            return None
        flags = TraceFlags(TraceFlags.SAMPLED if ids.trace.sampled else TraceFlags.DEFAULT)
        parent = SpanContext(ids.trace.trace_id, ids.trace.parent_id, is_remote=True, trace_flags=flags)
        return self._following(trace.set_span_in_context(NonRecordingSpan(parent), Context()))

    def _following(self, caller: Context) -> Context:
        """Return the context of a traced caller, without FastMCP's spans where the caller's isn't kept."""
        if trace.get_current_span(caller).get_span_context().trace_flags.sampled:
            return caller
        return Context({**caller, **_WITHOUT_SPANS})


class HeedEnvelope:
    """Lets FastMCP follow the caller that a request's `_meta` names, whatever was decided without it.

    It calls the middleware that it stands in for itself, since each one of the runner's chain takes its time.
    """

    def __init__(self, inner: ServerMiddleware[Any]) -> None:
        self._inner = inner

    def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> Awaitable[HandlerResult]:
        """Serve a request; a plain function, since there is nearly never anything to do."""
        if ctx.meta and "traceparent" in ctx.meta:
            return self._heeding(ctx, call_next)
        return self._inner(ctx, call_next)

    async def _heeding(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        current = context.get_current()
        if trace.get_current_span(current).get_span_context().is_valid:
            # FastMCP too prefers the caller that the headers name.
            return await self._inner(ctx, call_next)
        undecided = Context({key: value for key, value in current.items() if key not in _WITHOUT_SPANS})
        token = context.attach(undecided)
        try:
            return await self._inner(ctx, call_next)
        finally:
            context.detach(token)


def _flush_at_the_end(app: Starlette, provider: TracerProvider) -> None:
    serving = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[object]:
        async with serving(app) as state:
            yield state
        # A thread of our own: one of the event loop's would be waited for, however long it takes.
        flush = threading.Thread(target=provider.shutdown, name="flush-traces", daemon=True)
        flush.start()
        await asyncio.to_thread(flush.join, FLUSH_SECONDS)

    app.router.lifespan_context = lifespan  # type: ignore[assignment]
