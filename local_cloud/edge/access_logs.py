"""The parts of a log delivery as CloudWatch Logs shows them: without tags, though its model has them.

Who wants the tags asks ListTagsForResource. Noted in
https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/logs/delivery_source.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.services import cloudwatch_logs  # type: ignore[import-untyped]

from ..cloudformation import patching


def install() -> None:
    """Wrap what the emulator shows of sources, destinations and deliveries."""
    for name in ("_format_delivery_source", "_format_delivery_destination", "_format_delivery"):
        patching.wrap(cloudwatch_logs, name, _without_tags)


def _without_tags(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def shown(part: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in original(part).items() if key != "tags"}

    return shown
