"""Replaces functions of the emulator by wrappers, and fails loudly when one isn't there any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_INSTALLED = "__local_cloud_original__"


def wrap(module: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace ``module.name`` by ``make(original)``; a second call is a no-op.

    Raises AttributeError when the pinned emulator has no such function: then the hook needs another look.
    """
    original = getattr(module, name)
    if hasattr(original, _INSTALLED):
        return
    replacement = make(original)
    setattr(replacement, _INSTALLED, original)
    setattr(module, name, replacement)
