"""A span for each call of an AWS API, as a child of the span of the tool that makes it."""

from functools import wraps
from typing import Any

import botocore.client
from botocore.exceptions import ClientError
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

_MARK = "_traced"


def trace_aws_calls() -> None:
    """Make every botocore client of the process, made before or after, trace its calls.

    Parameters and results stay out of the spans. Outside a sampled span a call costs one look-up more.
    """
    # Not part of the type stubs; what every generated method of every client calls.
    base: Any = botocore.client.BaseClient
    plain: Any = base._make_api_call
    if getattr(plain, _MARK, False):
        return

    @wraps(plain)
    def traced(self: Any, operation_name: str, api_params: Any) -> Any:
        if not trace.get_current_span().is_recording():
            return plain(self, operation_name, api_params)
        return _in_span(plain, self, operation_name, api_params)

    setattr(traced, _MARK, True)
    base._make_api_call = traced


def _in_span(plain: Any, client: Any, operation: str, parameters: Any) -> Any:
    service = str(client.meta.service_model.service_id)
    # Names as in OpenTelemetry's conventions for AWS SDK calls.
    attributes = {
        "rpc.system": "aws-api",
        "rpc.service": service,
        "rpc.method": operation,
        "cloud.region": str(client.meta.region_name),
    }
    with trace.get_tracer(__name__).start_as_current_span(
        f"{service}.{operation}",
        kind=SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        answer: Any = {}
        try:
            answer = plain(client, operation, parameters)
        except Exception as error:
            code = type(error).__name__
            if isinstance(error, ClientError):
                answer = error.response
                code = str(answer.get("Error", {}).get("Code", code))
            span.set_attribute("error.type", code)
            span.set_status(Status(StatusCode.ERROR, code))
            raise
        finally:
            told = answer.get("ResponseMetadata", {}) if isinstance(answer, dict) else {}
            if "RequestId" in told:
                span.set_attribute("aws.request_id", str(told["RequestId"]))
            if "HTTPStatusCode" in told:
                span.set_attribute("http.response.status_code", int(told["HTTPStatusCode"]))
        return answer
