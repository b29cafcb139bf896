"""The machine, as far as figures depend on it. No names."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def line() -> str:
    """Return processor, cores, memory, kernel, Python and the versions of what is measured."""
    model = next(
        (
            text.partition(":")[2].strip()
            for text in Path("/proc/cpuinfo").read_text().splitlines()
            if text.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in ("fastmcp", "mcp", "starlette", "uvicorn"))
    kernel = ".".join(platform.release().split(".")[:2])
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {kernel}; "
        f"Python {platform.python_version()}, {packages}"
    )
