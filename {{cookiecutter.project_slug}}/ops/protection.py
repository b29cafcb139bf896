"""Termination protection: CloudFormation then refuses to delete a stack until somebody lifts it."""

from __future__ import annotations

from ops import stacks
from ops.aws import Aws
from ops.console import Screen
from ops.project import Stage


def protect(aws: Aws, screen: Screen, stack_name: str) -> None:
    """Switch a stack's termination protection on; its nested stacks follow the root."""
    aws.cloudformation.update_termination_protection(EnableTerminationProtection=True, StackName=stack_name)
    screen.result(f"{stack_name}: termination protection is on", "green")


def advise(aws: Aws, screen: Screen, stage: Stage, stack_name: str) -> None:
    """Say so where a stack of production can be deleted by one command."""
    if stage.parameters.get("Stage") != "prod":
        return
    stack = stacks.describe(aws.cloudformation, stack_name)
    if stack and not stack.get("EnableTerminationProtection"):
        screen.note(
            f"{stack_name} has no termination protection. Switch it on with\n"
            f"  python -m ops deploy --protect --stage {stage.name} --stack-name {stack_name} "
            f"--region {aws.region}",
            "yellow",
        )
