"""CloudFormation: nested stacks by the full engine, checked properties, and missing resource types."""

from __future__ import annotations

from ..context import CloudContext


def install(context: CloudContext) -> None:
    """Mend and extend the emulator's CloudFormation engine."""
    from . import aws_clients, change_sets, custom_resources, nested_stacks, provisioning, templates, types

    aws_clients.configure(context)
    templates.install()
    provisioning.install()
    nested_stacks.install()
    custom_resources.install()
    change_sets.install()
    types.install(context)
