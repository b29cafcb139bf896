"""Resource types that the emulator's CloudFormation lacks or gets wrong, one module per service."""

from __future__ import annotations

from ...context import CloudContext


def install(context: CloudContext) -> None:
    """Register every type."""
    from . import application_auto_scaling, cloudwatch, ec2, iam, lambda_functions, logs, secretsmanager, waf

    for module in (
        application_auto_scaling,
        cloudwatch,
        ec2,
        iam,
        lambda_functions,
        logs,
        secretsmanager,
        waf,
    ):
        module.install(context)
