"""Send spans by OTLP/HTTP in its JSON encoding, signed for AWS where the endpoint is X-Ray's."""

import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import pydantic_core
import structlog
import urllib3
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

logger = structlog.get_logger(__name__)

DEFAULT_PATH = "/v1/traces"  # OTLP specification 1.x, "OTLP/HTTP Request"
XRAY_HOST = re.compile(r"xray(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)\Z")
CONNECT_SECONDS = 2
READ_SECONDS = 5
# opentelemetry/proto/trace/v1/trace.proto: enum SpanKind counts from 1, with 0 for "unspecified".
KINDS = {kind: number for number, kind in enumerate(SpanKind, start=1)}
HAS_REMOTE_PARENT, IS_REMOTE = 0x100, 0x200  # SpanFlags, same file
# An exception's text is kept, but for those that quote what the caller sent.
QUOTING = ("ValidationError",)

Headers = dict[str, str]


class Signer:
    """Signs requests for X-Ray with the process's AWS credentials, found the usual way."""

    def __init__(self, region: str) -> None:
        self.region = region
        self._credentials: Any = None

    def sign(self, url: str, body: bytes, headers: Headers) -> Headers:
        """Return the headers with a Signature Version 4. Raises botocore's errors."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import NoCredentialsError
        from botocore.session import Session

        if self._credentials is None:
            # They renew themselves, so one set is enough.
            self._credentials = Session().get_credentials()
        if self._credentials is None:
            raise NoCredentialsError
        request = AWSRequest("POST", url, headers, body)
        SigV4Auth(self._credentials.get_frozen_credentials(), "xray", self.region).add_auth(request)
        return dict(request.headers.items())


class SpanSender(SpanExporter):
    """Posts batches of spans; a batch that can't be delivered is dropped, and the log says so once."""

    def __init__(self, endpoint: str, signer: Signer | None = None) -> None:
        parts = urlsplit(endpoint)
        self.url = endpoint if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}{DEFAULT_PATH}"
        xray = XRAY_HOST.match(parts.hostname or "")
        self.signer = signer or (Signer(xray[1]) if xray else None)
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        self._pool = urllib3.PoolManager(timeout=timeout, retries=False)
        self._failing = False
        self._stopped = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Post one batch."""
        if self._stopped:
            return SpanExportResult.FAILURE
        body = gzip.compress(_as_json(encode(spans)), compresslevel=1)
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        try:
            if self.signer is not None:
                headers = self.signer.sign(self.url, body, headers)
            answer = self._pool.request("POST", self.url, body=body, headers=headers, redirect=False)
        except Exception as error:
            # Nothing that goes wrong here may end the thread that sends.
            return self._failed(len(spans), f"{type(error).__name__}: {error}")
        if answer.status >= 300:
            return self._failed(len(spans), f"HTTP {answer.status}: {answer.data[:500]!r}")
        if self._failing:
            self._failing = False
            logger.info("traces.sent_again", endpoint=self.url)
        return SpanExportResult.SUCCESS

    def _failed(self, count: int, reason: str) -> SpanExportResult:
        if not self._failing:
            self._failing = True
            logger.warning("traces.not_sent", endpoint=self.url, spans=count, error=reason)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Send nothing more."""
        self._stopped = True
        self._pool.clear()


def encode(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """Return an ExportTraceServiceRequest; all spans come from one provider, so they share its resource."""
    by_scope = sorted(spans, key=_scope_name)
    scopes = [
        {"scope": {"name": name}, "spans": [_span(span) for span in group]}
        for name, group in groupby(by_scope, key=_scope_name)
    ]
    resource = {"attributes": _attributes(spans[0].resource.attributes)} if spans else {}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}


def _scope_name(span: ReadableSpan) -> str:
    return span.instrumentation_scope.name if span.instrumentation_scope else ""


def _span(span: ReadableSpan) -> dict[str, Any]:
    context = span.get_span_context()
    assert context is not None  # noqa: S101 - every span the SDK exports has one
    events, status = span.events, span.status
    # A JSON number can't hold 64 bits, so OTLP writes them as text; ids are hexadecimal.
    encoded: dict[str, Any] = {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "flags": int(context.trace_flags) | HAS_REMOTE_PARENT,
        "name": span.name,
        "kind": KINDS[span.kind],
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": _attributes(span.attributes),
        "events": [_event(event) for event in events],
        "status": {"code": status.status_code.value},
    }
    if span.parent is not None:
        encoded["parentSpanId"] = f"{span.parent.span_id:016x}"
        encoded["flags"] |= IS_REMOTE if span.parent.is_remote else 0
    if status.description and not any(_quotes(event.attributes) for event in events):
        encoded["status"]["message"] = status.description
    return encoded


def _quotes(attributes: Mapping[str, Any] | None) -> bool:
    return str((attributes or {}).get("exception.type", "")).endswith(QUOTING)


def _event(event: Any) -> dict[str, Any]:
    attributes = event.attributes or {}
    if _quotes(attributes):
        attributes = {"exception.type": attributes["exception.type"]}
    return {"timeUnixNano": str(event.timestamp), "name": event.name, "attributes": _attributes(attributes)}


def _attributes(attributes: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    # A span's attributes are a view of a mapping in Python, slow to walk; its copy is a dictionary.
    plain = attributes.copy() if isinstance(attributes, MappingProxyType) else attributes
    return [
        # Nearly all are text; asking for that alone first halves what it takes to encode a span.
        {"key": key, "value": {"stringValue": value} if type(value) is str else _value(value)}
        for key, value in (plain or {}).items()
    ]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": str(value)}


def _as_json(message: dict[str, Any]) -> bytes:
    try:
        return pydantic_core.to_json(message)
    except ValueError:
        # Half of a surrogate pair, in a tool's name say, which JSON can escape and UTF-8 can't hold.
        return json.dumps(message, separators=(",", ":")).encode()
