"""FastMCP's spans are made another way than the SDK makes them; what is sent must be the same."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastmcp.telemetry import INSTRUMENTATION_NAME
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

Live = Callable[[Span], None]


def _plain(span: Span) -> None:
    span.update_name("tools/call simpleadd")
    span.set_attributes({"gen_ai.tool.name": "simpleadd", "mcp.method.name": "tools/call"})
    span.set_attribute("more", "text")


def _with_events(span: Span) -> None:
    span.add_event("noted", {"count": 2, "flags": [True, False]})
    span.add_event("noted again")
    span.add_link(SpanContext(5, 6, is_remote=True), {"why": "because"})


def _failing(span: Span) -> None:
    span.set_attribute("error.type", "tool_error")
    raise ValueError("half \ud800 of it")


def _ended_early(span: Span) -> None:
    span.end(end_time=7)
    span.set_attribute("late", "yes")
    span.set_attributes({"later": "yes"})
    span.update_name("late")
    span.end()


def _hung_up(_span: Span) -> None:
    raise KeyboardInterrupt


def _said_to_be_well(span: Span) -> None:
    span.set_status(StatusCode.OK)
    raise LookupError("after all")


def _caller(flags: int) -> Context:
    state = TraceState([("vendor", "value")])
    caller = SpanContext(3 << 64 | 1, 4, is_remote=True, trace_flags=TraceFlags(flags), trace_state=state)
    return set_span_in_context(NonRecordingSpan(caller), Context())


CALLERS = {"none": Context(), "sampled": _caller(1), "sampled at random": _caller(3), "dropped": _caller(0)}


class Providers:
    """Two providers, the second with a quickened tracer, and what they send."""

    def __init__(self, package: Any, ratio: float, limits: SpanLimits | None = None) -> None:
        self.sent: list[InMemorySpanExporter] = []
        self.tracers: list[Tracer] = []
        for quick in (False, True):
            exporter, sampler = InMemorySpanExporter(), TraceIdRatioBased(ratio)
            provider = TracerProvider(
                ParentBased(sampler), span_limits=limits, id_generator=package("traces").BegunTraceIds()
            )
            provider.add_span_processor(SimpleSpanProcessor(exporter))
            tracer = provider.get_tracer(INSTRUMENTATION_NAME, "1")
            assert isinstance(tracer, Tracer)
            self.tracers.append(package("call_spans").quickened(tracer, sampler) if quick else tracer)
            self.sent.append(exporter)

    def spans(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        theirs, ours = ([_told(span) for span in exporter.get_finished_spans()] for exporter in self.sent)
        return theirs, ours


def _told(span: ReadableSpan) -> dict[str, Any]:
    """Return all a span says but for what is drawn by lot or depends on the moment and on who called."""
    assert span.context is not None
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.start_time <= span.end_time or span.end_time == 7
    told: dict[str, Any] = json.loads(span.to_json())
    for moment in ("start_time", "end_time"):
        del told[moment]
    del told["context"]["span_id"]
    for event in told["events"]:
        del event["timestamp"]
        if "exception.stacktrace" in event["attributes"]:
            assert event["attributes"].pop("exception.stacktrace").startswith("Traceback")
    scope, parent = span.instrumentation_scope, span.parent
    assert scope is not None
    told |= {"flags": span.context.trace_flags, "scope": (scope.name, scope.version)}
    told["dropped"] = (span.dropped_attributes, span.dropped_events, span.dropped_links)
    if parent is not None and not parent.is_remote:
        told["parent_id"] = "drawn by lot"
    return told


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("live", [_plain, _with_events, _failing, _ended_early, _hung_up, _said_to_be_well])
@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_what_is_sent_is_what_the_sdk_would_send(package: Any, caller: str, live: Live, ratio: float) -> None:
    providers = Providers(package, ratio)
    request_ids = package("request_ids")
    attributes = {"mcp.method.name": "tools/call", "fastmcp.span.seam": True}
    token = request_ids.current_trace.set(9)
    for tracer in providers.tracers:
        before = context.get_current()
        raised = None
        try:
            with tracer.start_as_current_span(
                "tools/call", context=CALLERS[caller], kind=SpanKind.SERVER, attributes=attributes
            ) as span:
                assert trace.get_current_span() is span
                recording = span.is_recording()
                live(span)
        except BaseException as error:
            raised = type(error)
        assert raised == {
            _failing: ValueError,
            _hung_up: KeyboardInterrupt,
            _said_to_be_well: LookupError,
        }.get(live)
        assert recording is (caller.startswith("sampled") or (caller == "none" and ratio == 1))
        assert context.get_current() == before
        assert not span.is_recording()
        assert attributes == {"mcp.method.name": "tools/call", "fastmcp.span.seam": True}
    request_ids.current_trace.reset(token)
    theirs, ours = providers.spans()
    assert ours == theirs
    assert len(ours) == recording


def test_spans_below_one_another_and_what_few_ask_for_are_the_sdks_too(package: Any) -> None:
    providers = Providers(package, 1.0)
    request_ids = package("request_ids")
    token = request_ids.current_trace.set(9)
    for tracer in providers.tracers:
        with (
            tracer.start_as_current_span("outer"),
            tracer.start_as_current_span("inner", links=[Link(SpanContext(5, 6, is_remote=False))]) as inner,
        ):
            inner.add_event("noted")
        tracer.start_span("by itself", attributes={"a": "b"}).end()
    request_ids.current_trace.reset(token)
    theirs, ours = providers.spans()
    assert ours == theirs
    assert len(ours) == 3
    for exporter in providers.sent:
        inner, outer, _ = exporter.get_finished_spans()
        assert inner.parent == outer.context


@pytest.mark.parametrize("limits", [SpanLimits(max_attribute_length=3), SpanLimits(max_span_attributes=1)])
def test_who_sets_limits_gets_the_sdks_spans(package: Any, limits: SpanLimits) -> None:
    providers = Providers(package, 1.0, limits)
    theirs, ours = providers.tracers
    assert type(ours) is type(theirs)
    with ours.start_as_current_span("call", attributes={"first": "long text", "second": "long text"}):
        pass
    (span,) = providers.sent[1].get_finished_spans()
    assert json.loads(span.to_json())["attributes"] in (
        {"first": "lon", "second": "lon"},
        {"second": "long text"},
    )


def test_every_processor_is_told_of_the_beginning_and_the_end(package: Any) -> None:
    sampler = TraceIdRatioBased(1.0)
    provider = package("traces").Tracers(sampler)
    told = []

    class Telling(SimpleSpanProcessor):
        def on_start(self, span: Any, parent_context: Context | None = None) -> None:
            told.append(("start", dict(span.attributes), parent_context))

        def on_end(self, span: ReadableSpan) -> None:
            told.append(("end", dict(span.attributes or {}), None))

    for _ in range(2):
        provider.add_span_processor(Telling(InMemorySpanExporter()))
    tracer = provider.get_tracer(INSTRUMENTATION_NAME)
    assert isinstance(tracer, package("call_spans").CallTracer)
    assert provider.get_tracer(INSTRUMENTATION_NAME) is tracer
    assert not isinstance(provider.get_tracer("another"), package("call_spans").CallTracer)
    with tracer.start_as_current_span("call", context=Context(), attributes={"a": "b"}) as span:
        span.set_attribute("c", "d")
    assert told == [("start", {"a": "b"}, Context())] * 2 + [("end", {"a": "b", "c": "d"}, None)] * 2
