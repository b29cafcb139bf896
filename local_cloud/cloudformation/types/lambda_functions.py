"""Lambda functions: refused when their code is missing; no worker outlives its function."""

from __future__ import annotations

from collections.abc import Callable

from ministack.core import lambda_runtime  # type: ignore[import-untyped]
from ministack.core.responses import get_region  # type: ignore[import-untyped]
from ministack.services import s3  # type: ignore[import-untyped]

from ...context import CloudContext
from .. import registry
from ..registry import Properties, Result

_TYPE = "AWS::Lambda::Function"


def install(_context: CloudContext) -> None:
    """Check the code before the emulator's own handlers act; stop idle workers after a delete."""
    handler = registry.handler_of(_TYPE)
    handler["create"] = _checking(handler["create"], properties_at=1)
    handler["update"] = _checking(handler["update"], properties_at=2)
    handler["delete"] = _stopping_workers(handler["delete"])


def _checking(function: Callable[..., Result], *, properties_at: int) -> Callable[..., Result]:
    def checked(*arguments: object) -> Result:
        _require_code(arguments[properties_at])  # type: ignore[arg-type]
        return function(*arguments)

    return checked


def _stopping_workers(delete: Callable[[str, Properties], None]) -> Callable[[str, Properties], None]:
    def delete_function(name: str, props: Properties) -> None:
        delete(name, props)
        lambda_runtime.invalidate_worker(name, region=get_region())

    return delete_function


def _require_code(props: Properties) -> None:
    code = props.get("Code", {})
    bucket, key = code.get("S3Bucket"), code.get("S3Key")
    if bucket and bucket not in s3._buckets:
        raise ValueError(_message("NoSuchBucket", f"The specified bucket {bucket} does not exist"))
    if bucket and s3._get_object_data(bucket, key) is None:
        raise ValueError(_message("NoSuchKey", f"The specified key {key} does not exist in {bucket}"))


def _message(code: str, text: str) -> str:
    return (
        'Resource handler returned message: "Error occurred while GetObject. '
        f'S3 Error Code: {code}. S3 Error Message: {text}."'
    )
