"""Spans as they arrive: a real server process, a real botocore call, and a loopback OTLP endpoint."""

import asyncio
import gzip
import json
import math
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

import fastmcp
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from fastmcp.telemetry import telemetry_mode
from opentelemetry import context
from opentelemetry.propagate import inject
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

Start = Callable[..., AbstractContextManager[Any]]

ROOT = "1-67891233-abcdef012345678912345678"
ROOT_HEX = "67891233abcdef012345678912345678"
PARENT = "53995c3f42cd8ad8"
AWS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
CALL = {"name": "simpleadd", "arguments": {"a": 10, "b": 20}}
SEARCH = {"name": "search_knowledge_base", "arguments": {"query": "hunter2-hunter2"}}
INTERNAL_SERVER, CLIENT, ERROR = 2, 3, 2  # SPAN_KIND_SERVER, SPAN_KIND_CLIENT, STATUS_CODE_ERROR


@dataclass
class Sink:
    """A loopback HTTP server that takes OTLP on /v1/traces and Bedrock's Retrieve on any other path."""

    url: str = ""
    status: int = 200
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def spans(self) -> list[dict[str, Any]]:
        found = []
        for path, headers, body in list(self.requests):
            if path != "/v1/traces":
                continue
            assert headers["content-type"] == "application/json"
            assert headers["content-encoding"] == "gzip"
            for resource in json.loads(gzip.decompress(body))["resourceSpans"]:
                shared = attributes(resource["resource"])
                assert shared["telemetry.sdk.language"] == "python"
                for scope in resource["scopeSpans"]:
                    found += [
                        {**span, "service": shared["service.name"], "scope": scope["scope"]["name"]}
                        for span in scope["spans"]
                    ]
        return found


@pytest.fixture
def fastmcp_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have FastMCP make spans, as in a process that never built the application without traces."""
    monkeypatch.setattr(fastmcp.settings, "telemetry_mode", "native")


def attributes(holder: dict[str, Any]) -> dict[str, Any]:
    return {item["key"]: next(iter(item["value"].values())) for item in holder["attributes"]}


@pytest.fixture
def sink() -> Iterator[Sink]:
    with run_sink() as found:
        yield found


@contextmanager
def run_sink() -> Iterator[Sink]:
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sink.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            traces = self.path == "/v1/traces"
            answer = b"{}" if traces else b'{"retrievalResults": []}'
            self.send_response(sink.status if traces else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("x-amzn-RequestId", "request-1")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the overridden method's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sink.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_call_is_a_span_of_the_load_balancers_trace_with_aws_calls_below(start: Start, sink: Sink) -> None:
    settings = {"TRACES_ENDPOINT": sink.url, "TRACES_SAMPLE_RATIO": "1", "KNOWLEDGE_BASE_ID": "ABCDEFGHIJ"}
    with start(**settings, **AWS, AWS_ENDPOINT_URL=sink.url, OTEL_SERVICE_NAME="named") as server:
        answer = server.rpc("tools/call", SEARCH, X_Amzn_Trace_Id=f"Self=1-2-3;Root={ROOT}")
        assert answer.json()["result"]["structuredContent"] == {"passages": []}
        lines = [json.loads(line) for line in server.stop()]
    spans = {span["name"]: span for span in sink.spans()}
    tool = spans["tools/call search_knowledge_base"]
    call = spans["Bedrock Agent Runtime.Retrieve"]
    assert tool["traceId"] == call["traceId"] == ROOT_HEX
    # The load balancer sends no span of its own, so there is none to be the parent.
    assert "parentSpanId" not in tool
    assert call["parentSpanId"] == tool["spanId"]
    assert (tool["kind"], call["kind"]) == (INTERNAL_SERVER, CLIENT)
    assert tool["service"] == "named"
    assert attributes(tool)["gen_ai.tool.name"] == "search_knowledge_base"
    found = attributes(call)
    assert found["rpc.service"] == "Bedrock Agent Runtime"
    assert found["rpc.method"] == "Retrieve"
    assert found["cloud.region"] == "eu-west-1"
    assert found["http.response.status_code"] == "200"
    assert int(tool["startTimeUnixNano"]) <= int(call["startTimeUnixNano"])
    assert int(call["endTimeUnixNano"]) <= int(tool["endTimeUnixNano"])
    line = next(line for line in lines if line["event"] == "tool.succeeded")
    assert line["trace_id"] == ROOT
    assert "hunter2" not in json.dumps(sink.spans())


@pytest.mark.parametrize("stateful", ["false", "true"])
def test_a_traced_callers_span_is_the_parent_and_its_decision_is_kept(
    start: Start, sink: Sink, stateful: str
) -> None:
    with start(TRACES_ENDPOINT=sink.url, TRACES_SAMPLE_RATIO="0", MCP_STATEFUL=stateful) as server:
        modern = {"MCP_Protocol_Version": "2026-07-28", "Mcp_Method": "tools/call", "Mcp_Name": "simpleadd"}
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        for header in (
            f"Root={ROOT};Parent={PARENT};Sampled=1",
            f"Root=1-67891233-000000000000000000000bad;Parent={PARENT};Sampled=0",
            "Root=1-67891233-000000000000000000000bad",
        ):
            called = server.rpc("tools/call", {**CALL, "_meta": meta}, **modern, X_Amzn_Trace_Id=header)
            assert called.status == 200
        plain = f"00-{ROOT_HEX[::-1]}-{PARENT}-01"
        assert server.rpc("tools/call", {**CALL, "_meta": meta}, **modern, traceparent=plain).status == 200
        server.stop()
    calls = [span for span in sink.spans() if span["name"] == "tools/call simpleadd"]
    assert [(span["traceId"], span["parentSpanId"]) for span in calls] == [
        (ROOT_HEX, PARENT),
        (ROOT_HEX[::-1], PARENT),
    ]
    assert {span["traceId"] for span in sink.spans()} == {ROOT_HEX, ROOT_HEX[::-1]}


def test_a_failed_call_is_a_span_with_an_error_and_without_arguments(start: Start, sink: Sink) -> None:
    with start(TRACES_ENDPOINT=f"{sink.url}/v1/traces", TRACES_SAMPLE_RATIO="1") as server:
        server.rpc("tools/call", {"name": "simpleadd", "arguments": {"a": "hunter2-hunter2", "b": 1}})
        server.rpc("tools/call", {"name": "simpleadd", "arguments": {"a": 1e308, "b": 1e308}})
        server.stop()
    bad, large = (span for span in sink.spans() if span["name"] == "tools/call simpleadd")
    assert bad["status"] == {"code": ERROR}
    assert large["status"]["code"] == ERROR
    assert "too large" in large["status"]["message"]
    assert "hunter2" not in json.dumps(sink.spans())


def test_the_ratio_decides_for_traces_that_begin_here(start: Start, sink: Sink) -> None:
    with start(TRACES_ENDPOINT=sink.url, TRACES_SAMPLE_RATIO="0.5") as server:
        # The ratio is compared with the last 64 bits of the trace id.
        for low in ("0000000000000001", "7fffffffffffff00", "8000000000000001", "ffffffffffffffff"):
            server.rpc("tools/call", CALL, X_Amzn_Trace_Id=f"Root=1-67891233-00000001{low}")
        server.stop()
    assert {span["traceId"][16:] for span in sink.spans()} == {"0000000000000001", "7fffffffffffff00"}


def test_a_trace_that_is_not_kept_is_in_the_log_but_nothing_of_it_is_sent(start: Start, sink: Sink) -> None:
    settings = {"TRACES_ENDPOINT": sink.url, "TRACES_SAMPLE_RATIO": "0", "KNOWLEDGE_BASE_ID": "ABCDEFGHIJ"}
    with start(**settings, **AWS, AWS_ENDPOINT_URL=sink.url) as server:
        server.rpc("tools/call", SEARCH, X_Amzn_Trace_Id=f"Root={ROOT}")
        server.rpc("tools/call", SEARCH)
        server.rpc("tools/call", SEARCH, traceparent=f"00-{ROOT_HEX}-{PARENT}-00")
        lines = [json.loads(line) for line in server.stop()]
    first, second, third = (line["trace_id"] for line in lines if line["event"] == "tool.succeeded")
    assert first == third == ROOT
    assert second not in {None, ROOT}
    # The AWS calls below were made, and began no trace of their own.
    assert sum(path != "/v1/traces" for path, _, _ in sink.requests) == 3
    assert sink.spans() == []


def test_a_caller_named_in_the_envelope_alone_is_the_parent(start: Start, sink: Sink) -> None:
    with start(TRACES_ENDPOINT=sink.url, TRACES_SAMPLE_RATIO="0") as server:
        meta = {"traceparent": f"00-{ROOT_HEX}-{PARENT}-01"}
        server.rpc(
            "tools/call", {**CALL, "_meta": meta}, X_Amzn_Trace_Id="Root=1-67891233-00000000000000000000beef"
        )
        server.stop()
    (span,) = sink.spans()
    assert (span["traceId"], span["parentSpanId"]) == (ROOT_HEX, PARENT)


def test_each_request_of_a_session_is_decided_on_by_itself(start: Start, sink: Sink) -> None:
    kept, dropped = (f"Root=1-67891233-00000001{low}" for low in ("0000000000000001", "ffffffffffffffff"))
    client = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    with start(TRACES_ENDPOINT=sink.url, TRACES_SAMPLE_RATIO="0.5", MCP_STATEFUL="true") as server:
        for opening in (dropped, kept):
            begun = server.rpc("initialize", client, X_Amzn_Trace_Id=opening)
            session = {
                "MCP_Session_Id": begun.headers["mcp-session-id"],
                "MCP_Protocol_Version": "2025-06-18",
            }
            for header in (kept, dropped, kept):
                answer = server.rpc("tools/call", CALL, X_Amzn_Trace_Id=header, **session)
                assert answer.status == 200
        lines = [json.loads(line) for line in server.stop()]
    assert [span["name"] for span in sink.spans()].count("tools/call simpleadd") == 4
    assert {span["traceId"][16:] for span in sink.spans()} == {"0000000000000001"}
    named = [line["trace_id"][-16:] for line in lines if line["event"] == "tool.succeeded"]
    assert named == ["0000000000000001", "f" * 16, "0000000000000001"] * 2


@pytest.mark.usefixtures("fastmcp_traces")
def test_one_decision_is_made_and_the_sampler_makes_the_same(package: Any) -> None:
    traces, request_ids = package("traces"), package("request_ids")
    seen = []

    async def application(*_arguments: object) -> None:
        trace_id = request_ids.current_trace.get()
        assert request_ids.current_trace_id() == request_ids.xray_trace_id(trace_id)
        # FastMCP's own question, and the sampler's answer to anybody who begins a span here.
        sampled = sampler.should_sample(None, trace_id, "any").decision
        seen.append((telemetry_mode(), sampled))
        assert traces.BegunTraceIds().generate_trace_id() == trace_id

    sampler = TraceIdRatioBased(0.5)
    decide = traces.DecideOnTrace(application, sampler)
    for _ in range(200):
        asyncio.run(decide({"type": "http", "headers": []}, None, None))
    kept, dropped = ("native", Decision.RECORD_AND_SAMPLE), ("propagation_only", Decision.DROP)
    assert set(seen) == {kept, dropped}
    assert 60 < seen.count(kept) < 140
    # Nothing of a request is left behind.
    assert context.get_current() == {}
    assert request_ids.current_trace.get() is None


@pytest.mark.usefixtures("fastmcp_traces")
@pytest.mark.parametrize(
    ("headers", "mode", "trace_id"),
    [
        ([(b"x-amzn-trace-id", f"Root={ROOT};Parent={PARENT};Sampled=1".encode())], "native", ROOT),
        ([(b"x-amzn-trace-id", f"Root={ROOT};Parent={PARENT}".encode())], "propagation_only", ROOT),
        ([(b"traceparent", f"00-{ROOT_HEX}-{PARENT}-01".encode())], "native", ROOT),
        ([(b"traceparent", f"00-{ROOT_HEX}-{PARENT}-00".encode())], "propagation_only", ROOT),
        # Whatever can't be read is nobody's decision.
        ([(b"traceparent", b"00-nonsense-01")], "propagation_only", None),
    ],
)
def test_a_callers_decision_goes_on_to_whom_the_tool_calls(
    package: Any, headers: list[tuple[bytes, bytes]], mode: str, trace_id: str | None
) -> None:
    traces, request_ids = package("traces"), package("request_ids")
    told: list[tuple[str, dict[str, str], str]] = []

    async def application(*_arguments: object) -> None:
        carrier: dict[str, str] = {}
        inject(carrier)
        told.append((telemetry_mode(), carrier, request_ids.current_trace_id()))

    decide = traces.DecideOnTrace(application, TraceIdRatioBased(0.0))
    asyncio.run(decide({"type": "http", "headers": headers}, None, None))
    ((found, carrier, named),) = told
    assert found == mode
    if trace_id is None:
        assert carrier == {}
        assert named not in {None, ROOT}
    else:
        assert carrier == {"traceparent": f"00-{ROOT_HEX}-{PARENT}-0{int(mode == 'native')}"}
        assert named == trace_id


@pytest.mark.usefixtures("fastmcp_traces")
def test_a_tracer_outside_of_the_application_is_followed(package: Any) -> None:
    traces = package("traces")
    modes = []

    async def application(*_arguments: object) -> None:
        assert context.get_value("baggage") == "kept"
        modes.append(telemetry_mode())

    decide = traces.DecideOnTrace(application, TraceIdRatioBased(0.0))
    for flags in (None, TraceFlags.DEFAULT, TraceFlags.SAMPLED):
        outside = context.set_value("baggage", "kept")
        if flags is not None:
            span = NonRecordingSpan(SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(flags)))
            outside = set_span_in_context(span, outside)
        token = context.attach(outside)
        asyncio.run(decide({"type": "http", "headers": []}, None, None))
        context.detach(token)
    assert modes == ["propagation_only", "propagation_only", "native"]


def test_attributes_are_copied_in_one_go_and_names_need_not_be_text(package: Any, sink: Sink) -> None:
    otlp = package("otlp")
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(otlp.SpanSender(sink.url)))
    with provider.get_tracer("test").start_as_current_span("half \ud800", attributes={"a": "b"}) as span:
        pass
    provider.shutdown()
    # As otlp.py counts on, to walk a dictionary in place of a mapping written in Python.
    assert isinstance(span, ReadableSpan)
    assert isinstance(span.attributes, MappingProxyType)
    assert type(span.attributes.copy()) is dict
    (sent,) = sink.spans()
    assert sent["name"] == "half \ud800"
    assert attributes(sent) == {"a": "b"}


@pytest.mark.parametrize("reachable", [True, False])
def test_an_endpoint_that_fails_costs_one_log_line_and_no_call(
    start: Start, sink: Sink, reachable: bool
) -> None:
    sink.status = 503
    endpoint = sink.url if reachable else "http://127.0.0.1:9"
    with start(TRACES_ENDPOINT=endpoint, TRACES_SAMPLE_RATIO="1") as server:
        for _ in range(3):
            assert server.rpc("tools/call", CALL).status == 200
        begun = time.monotonic()
        lines = [json.loads(line) for line in server.stop()]
        assert time.monotonic() - begun < 10
    told = [line for line in lines if line["event"] == "traces.not_sent"]
    assert len(told) == 1
    assert ("HTTP 503" in told[0]["error"]) is reachable


def test_nothing_of_tracing_is_loaded_when_it_is_off(command: Any, package: Callable[[str], Any]) -> None:
    process = command()
    name = package("settings").__package__
    code = (
        f"import sys; from {name}.app import build_app; from {name}.settings import load_settings;"
        "build_app(load_settings());"
        "print([m for m in sys.modules if m.startswith(('opentelemetry.sdk', 'botocore'))"
        f" or m in ('{name}.traces', '{name}.otlp', '{name}.aws_spans')])"
    )
    process["args"] = [process["args"][0], "-c", code]
    assert subprocess.check_output(**process, text=True, timeout=30) == "[]\n"


@pytest.mark.parametrize(
    ("endpoint", "url", "region"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces", None),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces", None),
        ("http://collector:4318/own/path", "http://collector:4318/own/path", None),
        (
            "https://xray.us-east-1.amazonaws.com",
            "https://xray.us-east-1.amazonaws.com/v1/traces",
            "us-east-1",
        ),
        (
            "https://xray.cn-north-1.amazonaws.com.cn/v1/traces",
            "https://xray.cn-north-1.amazonaws.com.cn/v1/traces",
            "cn-north-1",
        ),
        ("https://xray.us-east-1.amazonaws.com.evil.example", None, None),
    ],
)
def test_only_xray_is_sent_a_signature(
    package: Any, endpoint: str, url: str | None, region: str | None
) -> None:
    sender = package("otlp").SpanSender(endpoint)
    assert sender.url == (url or f"{endpoint}/v1/traces")
    assert getattr(sender.signer, "region", None) == region


def test_a_batch_for_xray_carries_a_valid_signature(
    package: Any, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**AWS, "AWS_SESSION_TOKEN": "session-token"}.items():
        monkeypatch.setenv(name, value)
    otlp = package("otlp")
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(otlp.SpanSender(sink.url, otlp.Signer("eu-west-1"))))
    with provider.get_tracer("test").start_as_current_span("signed"):
        pass
    provider.shutdown()
    ((path, headers, body),) = sink.requests
    assert headers["x-amz-security-token"] == "session-token"
    given = headers["authorization"]
    assert "/eu-west-1/xray/aws4_request" in given
    # The same request signed anew, with the time the first one was signed at.
    again = AWSRequest(
        "POST",
        sink.url + path,
        {name: headers[name] for name in ("content-type", "content-encoding")},
        body,
    )
    again.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(
        Credentials(AWS["AWS_ACCESS_KEY_ID"], AWS["AWS_SECRET_ACCESS_KEY"], "session-token"),
        "xray",
        "eu-west-1",
    )
    again.headers["X-Amz-Date"] = headers["x-amz-date"]
    again.headers["X-Amz-Security-Token"] = "session-token"
    expected = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    assert given.endswith(f"Signature={expected}")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("text", {"stringValue": "text"}),
        ("half \ud800", {"stringValue": "half \ud800"}),
        ("long " * 100, {"stringValue": "long " * 100}),
        (True, {"boolValue": True}),
        (False, {"boolValue": False}),
        (1, {"intValue": "1"}),
        (2**63 - 1, {"intValue": "9223372036854775807"}),
        (1.0, {"doubleValue": 1.0}),
        (math.nan, {"doubleValue": "NaN"}),
        (-math.inf, {"doubleValue": "-Infinity"}),
        (math.inf, {"doubleValue": "Infinity"}),
        (b"\x00\xff", {"bytesValue": "AP8="}),
        ([1, 2], {"arrayValue": {"values": [{"intValue": "1"}, {"intValue": "2"}]}}),
        (["a", True], {"arrayValue": {"values": [{"stringValue": "a"}, {"boolValue": True}]}}),
        ({"a": 1}, {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}]}}),
    ],
)
def test_attributes_are_written_as_protobufs_json_mapping_has_them(
    package: Any, value: Any, written: dict[str, Any]
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # Twice, since what was written once is remembered; and next to what compares equal.
    for key in ("a", "b", "a"):
        with provider.get_tracer("test").start_as_current_span("a call", attributes={key: value, "one": 1}):
            pass
    (scope,) = json.loads(package("otlp").encode(exporter.get_finished_spans()))["resourceSpans"][0][
        "scopeSpans"
    ]
    found = [{item["key"]: item["value"] for item in span["attributes"]} for span in scope["spans"]]
    assert found == [{key: written, "one": {"intValue": "1"}} for key in ("a", "b", "a")]
