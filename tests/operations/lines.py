"""The generated server with tools that misbehave: `python -m tests.operations.lines <package>`.

Everything else is what the package's own command line starts.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

from fastmcp import FastMCP


def register(server: FastMCP[None], _settings: Any) -> None:
    """Add tools that raise, crash a thread, and don't stop."""

    @server.tool
    def breaks() -> None:
        """Raise what no caller can help."""
        raise RuntimeError("the tool's own fault")

    @server.tool
    def crashes() -> None:
        """End a thread by an exception."""
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()

    @server.tool
    async def hangs() -> None:
        """Keep the event loop, so that the process has to be ended by force."""
        time.sleep(60)


if __name__ == "__main__":
    package = sys.argv[1]
    tools: Any = importlib.import_module(f"{package}.tools")
    tools.TOOLS = (*tools.TOOLS, SimpleNamespace(register=register))
    sys.exit(importlib.import_module(f"{package}.__main__").main([]))
