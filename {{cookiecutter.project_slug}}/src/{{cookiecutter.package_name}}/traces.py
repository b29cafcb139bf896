"""Traces: FastMCP's own spans below the caller's, AWS calls below them. Loaded only when on."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from fastmcp import FastMCP
from fastmcp.telemetry import suppress_fastmcp_telemetry
from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from ._distribution import this_distribution
from .aws_spans import trace_aws_calls
from .otlp import SpanSender
from .request_ids import RequestIds, TraceHeader, current_ids

# A process that is told to end sends what it has, but not for longer than this.
FLUSH_SECONDS = 5

_NOT_KEPT = context.create_key("not-kept")
# The trace a load balancer began; it sends no span to be a child of.
_begun_trace_id: ContextVar[int] = ContextVar("begun_trace_id", default=0)


class Tracers(TracerProvider):
    """A provider that keeps the tracers it makes; FastMCP asks for one with every span."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
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
            self._made[asked] = super().get_tracer(*asked)
        return self._made[asked]


class BegunTraceIds(RandomIdGenerator):
    """A root span joins the trace the load balancer began; without one it begins its own."""

    def generate_trace_id(self) -> int:
        """Return a 128-bit id."""
        return _begun_trace_id.get() or super().generate_trace_id()


def add_traces(app: Starlette, server: FastMCP[Any], endpoint: str, sample_ratio: float) -> None:
    """Send the spans of this process to `endpoint` until the application's lifespan ends.

    `sample_ratio`, 0 to 1, is the share kept of the traces that begin here; a traced caller decides itself.
    """
    distribution = this_distribution()
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, where set, win.
    resource = Resource.create({"service.name": distribution.name, "service.version": distribution.version})
    sampler = KeptTraces(sample_ratio)
    provider = Tracers(
        sampler=ParentBased(sampler),
        resource=resource.merge(OTELResourceDetector().detect()),
        id_generator=BegunTraceIds(),
        # The lifespan's end is the place: uvicorn raises SIGINT again, which skips exit handlers.
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(SpanSender(endpoint)))
    trace.set_tracer_provider(provider)
    trace_aws_calls()
    server._mcp_server.middleware.insert(0, SampleAhead(sampler))
    app.add_middleware(ContinueTrace)
    _flush_at_the_end(app, provider)


class KeptTraces(TraceIdRatioBased):
    """Samples a share of the traces, and nothing below a call that was decided on and isn't kept."""

    def should_sample(self, parent_context: Context | None, *rest: Any, **options: Any) -> SamplingResult:
        """Decide on a span without a parent."""
        if context.get_value(_NOT_KEPT, parent_context):
            return SamplingResult(Decision.DROP)
        return super().should_sample(parent_context, *rest, **options)


class SampleAhead:
    """Decides on a trace before FastMCP gathers what its span would say, which calls without one are spared.

    FastMCP's spans, where a request gets one, are as they were: the sampler decides the same again.
    """

    def __init__(self, sampler: TraceIdRatioBased) -> None:
        self._sampler = sampler
        self._ids = RandomIdGenerator()
        with suppress_fastmcp_telemetry():
            self._not_kept = context.set_value(_NOT_KEPT, True)

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Serve a request, without FastMCP's spans if its trace isn't kept."""
        current = context.get_current()
        if current:
            caller = trace.get_current_span(current).get_span_context()
            if caller.is_valid:
                if caller.trace_flags.sampled:
                    return await call_next(ctx)
                with suppress_fastmcp_telemetry():
                    return await call_next(ctx)
        if ctx.meta and "traceparent" in ctx.meta:
            # FastMCP reads it, and its span follows the caller's decision.
            return await call_next(ctx)
        trace_id = _begun_trace_id.get() or self._ids.generate_trace_id()
        if trace_id & self._sampler.TRACE_ID_LIMIT < self._sampler.bound:
            begun = _begun_trace_id.set(trace_id)
            try:
                return await call_next(ctx)
            finally:
                _begun_trace_id.reset(begun)
        # Log lines have its id all the same.
        _, session_id, traceparent = current_ids.get()
        ids = current_ids.set(RequestIds(TraceHeader(trace_id, None, False), session_id, traceparent))
        token = context.attach(Context({**current, **self._not_kept}) if current else self._not_kept)
        try:
            return await call_next(ctx)
        finally:
            context.detach(token)
            current_ids.reset(ids)


class ContinueTrace:
    """Make the request's spans part of the trace its `X-Amzn-Trace-Id`, or else `traceparent`, names."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Attach the caller's context while the request is served."""
        ids = current_ids.get()
        if scope["type"] != "http" or (ids.trace is None and ids.traceparent is None):
            await self.app(scope, receive, send)
            return
        begun = _begun_trace_id.set(self._begun())
        caller = self._caller()
        token = None if caller is None else context.attach(caller)
        try:
            await self.app(scope, receive, send)
        finally:
            if token is not None:
                context.detach(token)
            _begun_trace_id.reset(begun)

    def _caller(self) -> Context | None:
        ids = current_ids.get()
        if ids.trace is None:
            if ids.traceparent is None:
                return None
            return TraceContextTextMapPropagator().extract({"traceparent": ids.traceparent}, Context())
        if ids.trace.parent_id is None:
            return None
        flags = TraceFlags(TraceFlags.SAMPLED if ids.trace.sampled else TraceFlags.DEFAULT)
        parent = SpanContext(ids.trace.trace_id, ids.trace.parent_id, is_remote=True, trace_flags=flags)
        return trace.set_span_in_context(NonRecordingSpan(parent), Context())

    def _begun(self) -> int:
        header = current_ids.get().trace
        return header.trace_id if header is not None and header.parent_id is None else 0


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
