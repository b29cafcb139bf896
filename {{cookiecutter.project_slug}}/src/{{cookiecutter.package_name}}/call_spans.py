"""FastMCP's spans, made in less time than the SDK makes them.

The SDK looks through every attribute, copies and locks it, since it can't know who sets them; FastMCP sets a
dozen short texts, twice for each call. In all else these spans are the SDK's own, whose private names they
fill in. tests/server/test_call_spans.py compares the two.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from threading import Lock
from time import time_ns
from types import TracebackType
from typing import Any

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, Tracer
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import Attributes, AttributeValue

UNSET = Status()
# The SDK's own limit; FastMCP sets a dozen.
MOST_ATTRIBUTES = 128


class CallSpan(Span):
    """A span whose attributes are taken as they are."""

    def __init__(
        self,
        shared: Mapping[str, Any],
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Mapping[str, Any],
    ) -> None:
        vars(self).update(
            shared,
            _name=name,
            _context=context,
            _parent=parent,
            _kind=kind,
            _attributes=dict(attributes),
            _lock=Lock(),
            _start_time=time_ns(),
        )

    # Few spans have any.
    @cached_property
    def _events(self) -> Any:  # type: ignore[override]
        return self._new_events()  # type: ignore[no-untyped-call]

    @cached_property
    def _links(self) -> Any:  # type: ignore[override]
        return self._new_links(())

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set some attributes."""
        if self._end_time is None:
            self._attributes.update(attributes)  # type: ignore[union-attr]

    def end(self, end_time: int | None = None) -> None:
        """End the span and hand it on to be sent."""
        if self._end_time is None:
            self._end_time = time_ns() if end_time is None else end_time
            self._span_processor.on_end(self)


class Current:
    """A span made current while its block runs, and ended with it."""

    def __init__(self, span: CallSpan) -> None:
        self._span = span

    def __enter__(self) -> CallSpan:
        """Return the span."""
        self._token = context.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Note an error on the span, as `trace.use_span` does."""
        context.detach(self._token)
        span = self._span
        if isinstance(error, Exception) and span.is_recording():
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        span.end()


class CallTracer(Tracer):
    """Makes a `CallSpan` for what is kept, and asks the SDK for all else."""

    def __init__(self, made: Tracer, sampler: TraceIdRatioBased) -> None:
        vars(self).update(vars(made))
        self._mask, self._bound = sampler.TRACE_ID_LIMIT, sampler.bound
        self._flags = TraceFlags(
            TraceFlags.SAMPLED | (TraceFlags.RANDOM_TRACE_ID if made.id_generator.is_trace_id_random() else 0)
        )
        self._shared = {
            "_resource": made.resource,
            "_instrumentation_info": made.instrumentation_info,
            "_instrumentation_scope": made._instrumentation_scope,
            "_span_processor": made.span_processor,
            "_limits": made._span_limits,
            "_status": UNSET,
            "_end_time": None,
            "_record_exception": True,
            "_set_status_on_exception": True,
        }

    def start_as_current_span(  # type: ignore[override]
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        **options: Any,
    ) -> AbstractContextManager[trace.Span]:
        """Begin a span, current until its block ends."""
        caller = trace.get_current_span(context).get_span_context()
        parent: SpanContext | None = None
        if caller.is_valid:
            parent, kept = caller, caller.trace_flags.sampled
            trace_id, flags, state = caller.trace_id, caller.trace_flags, caller.trace_state
        else:
            trace_id, flags, state = self.id_generator.generate_trace_id(), self._flags, None
            kept = trace_id & self._mask < self._bound
        if options or not kept:
            return super().start_as_current_span(name, context, kind, attributes, **options)
        own = SpanContext(trace_id, self.id_generator.generate_span_id(), False, flags, state)
        span = CallSpan(self._shared, name, own, parent, kind, attributes or {})
        self.span_processor.on_start(span, parent_context=context)
        return Current(span)


def quickened(made: Tracer, sampler: TraceIdRatioBased) -> Tracer:
    """Return a tracer that does what `made` does, sooner, unless its spans' attributes have to be limited."""
    limits = made._span_limits
    if limits.max_span_attribute_length is not None or (limits.max_span_attributes or 0) < MOST_ATTRIBUTES:
        return made
    return CallTracer(made, sampler)
