"""Lambda functions: refused when their code is missing, kept with their network, and without late workers."""

from __future__ import annotations

from collections.abc import Callable

from ministack.core import lambda_runtime  # type: ignore[import-untyped]
from ministack.core.responses import get_region  # type: ignore[import-untyped]
from ministack.services import ec2, lambda_svc, s3  # type: ignore[import-untyped]

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
        props: Properties = arguments[properties_at]  # type: ignore[assignment]
        _require_code(props)
        _require_network(props.get("VpcConfig") or {})
        name, attributes = function(*arguments)
        config = lambda_svc._functions[name]["config"]
        config["VpcConfig"] = lambda_svc._vpc_config_with_id(props.get("VpcConfig"))
        return name, attributes

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


def _require_network(network: Properties) -> None:
    for kind, known, names in (
        ("subnet", ec2._subnets, network.get("SubnetIds")),
        ("security group", ec2._security_groups, network.get("SecurityGroupIds")),
    ):
        missing = [name for name in names or [] if name not in known]
        if missing:
            raise ValueError(
                f"Error occurred while DescribeNetworkInterfaces: the {kind} {missing[0]} does not exist."
            )


def _message(code: str, text: str) -> str:
    return (
        'Resource handler returned message: "Error occurred while GetObject. '
        f'S3 Error Code: {code}. S3 Error Message: {text}."'
    )
