"""Send spans by OTLP/HTTP in its JSON encoding, signed for AWS where the endpoint is X-Ray's."""

import base64
import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from math import inf, isfinite
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

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
# Protobuf's JSON mapping has names for these, and NaN.
NOT_NUMBERS = {inf: "Infinity", -inf: "-Infinity"}
# Longer texts, which hardly come twice, are written anew each time.
MOST_REMEMBERED = 128

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
        body = gzip.compress(encode(spans), compresslevel=1)
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


def encode(spans: Sequence[ReadableSpan]) -> bytes:
    """Return an ExportTraceServiceRequest; all spans come from one provider, so they share its resource.

    Written as text: a call's span is half a dozen names and as many values, nearly all of which came before.
    """
    by_scope = sorted(spans, key=_scope_name)
    scopes = [
        f'{{"scope":{{"name":{_text(name)}}},"spans":{_list(map(_span, group))}}}'
        for name, group in groupby(by_scope, key=_scope_name)
    ]
    resource = f'{{"attributes":{_attributes(spans[0].resource.attributes)}}}' if spans else "{}"
    return f'{{"resourceSpans":[{{"resource":{resource},"scopeSpans":{_list(scopes)}}}]}}'.encode()


# What can't be written as UTF-8, half of a surrogate pair in a tool's name say, is escaped like the rest.
_text = json.JSONEncoder().encode


def _list(items: Iterable[str]) -> str:
    return f"[{','.join(items)}]"


def _scope_name(span: ReadableSpan) -> str:
    return span.instrumentation_scope.name if span.instrumentation_scope else ""


def _span(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None  # noqa: S101 - every span the SDK exports has one
    parent, events, status = span.parent, span.events, span.status
    flags = int(context.trace_flags) | HAS_REMOTE_PARENT
    below = ""
    if parent is not None:
        below = f'"parentSpanId":"{parent.span_id:016x}",'
        flags |= IS_REMOTE if parent.is_remote else 0
    said = ""
    if status.description and not any(_quotes(event.attributes) for event in events):
        said = f',"message":{_text(status.description)}'
    # A JSON number can't hold 64 bits, so OTLP writes them as text; ids are hexadecimal.
    return (
        f'{{"traceId":"{context.trace_id:032x}","spanId":"{context.span_id:016x}",{below}"flags":{flags},'
        f'"name":{_text(span.name)},"kind":{KINDS[span.kind]},'
        f'"startTimeUnixNano":"{span.start_time}","endTimeUnixNano":"{span.end_time}",'
        f'"attributes":{_attributes(span.attributes)},"events":{_list(map(_event, events))},'
        f'"status":{{"code":{status.status_code.value}{said}}}}}'
    )


def _quotes(attributes: Mapping[str, Any] | None) -> bool:
    return str((attributes or {}).get("exception.type", "")).endswith(QUOTING)


def _event(event: Any) -> str:
    attributes = event.attributes or {}
    if _quotes(attributes):
        attributes = {"exception.type": attributes["exception.type"]}
    attributes = _attributes(attributes)
    return f'{{"timeUnixNano":"{event.timestamp}","name":{_text(event.name)},"attributes":{attributes}}}'


def _attributes(attributes: Mapping[str, Any] | None) -> str:
    # A span's attributes are a view of a mapping in Python, slow to walk; its copy is a dictionary.
    plain = attributes.copy() if isinstance(attributes, MappingProxyType) else attributes
    return _list(
        [
            _text_attribute(key, value)
            if type(value) is str and len(value) <= MOST_REMEMBERED
            else _attribute(key, value)
            for key, value in (plain or {}).items()
        ]
    )


@lru_cache(maxsize=1024)
def _text_attribute(key: str, value: str) -> str:
    return f'{{"key":{_text(key)},"value":{{"stringValue":{_text(value)}}}}}'


def _attribute(key: str, value: Any) -> str:
    if type(value) is bool:
        return f'{{"key":{_text(key)},"value":{{"boolValue":{"true" if value else "false"}}}}}'
    return f'{{"key":{_text(key)},"value":{_text(_value(value))}}}'


def _value(value: Any) -> dict[str, Any]:
    """Return an AnyValue of opentelemetry/proto/common/v1/common.proto, in protobuf's JSON."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value if isfinite(value) else NOT_NUMBERS.get(value, "NaN")}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        pairs = [{"key": key, "value": _value(item)} for key, item in value.items()]
        return {"kvlistValue": {"values": pairs}}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": str(value)}
