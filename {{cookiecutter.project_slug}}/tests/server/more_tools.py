"""The server with tools that only its tests need: `python more_tools.py <package>`."""

import asyncio
import importlib
import os
import sys
import time
from typing import Annotated, Any

from fastmcp import Context, FastMCP
from fastmcp.server.middleware import Middleware
from fastmcp.tools import Tool
from pydantic import Field

STEPS = 3


class Recorder(Middleware):
    """Keeps the method of every message that reaches the server's middleware."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    async def on_message(self, context: Any, call_next: Any) -> Any:
        self.methods.append(context.method)
        return await call_next(context)


def register(server: FastMCP[None], _settings: Any) -> None:
    recorder = Recorder()
    server.add_middleware(recorder)
    finished: list[str] = []

    @server.tool
    async def wait(seconds: float, name: str = "wait") -> str:
        """Return after so many seconds."""
        await asyncio.sleep(seconds)
        finished.append(name)
        return "waited"

    @server.tool
    def work(seconds: float) -> str:
        """Keep a thread busy for so many seconds."""
        time.sleep(seconds)
        return "worked"

    @server.tool
    async def block(seconds: float) -> str:
        """Keep the whole event loop busy for so many seconds."""
        time.sleep(seconds)
        return "blocked"

    @server.tool
    async def report(seconds: float, context: Context) -> str:
        """Report progress in three steps."""
        for step in range(1, STEPS + 1):
            await context.report_progress(step, STEPS, f"step {step}")
            await asyncio.sleep(seconds / STEPS)
        return "reported"

    @server.tool
    def seen() -> dict[str, list[str]]:
        """Return the methods and the finished calls seen so far."""
        return {"methods": list(recorder.methods), "finished": list(finished)}

    @server.tool
    async def grow(name: str) -> str:
        """Add a tool whose argument is repeated in a header."""

        async def added(
            region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
        ) -> str:
            return f"in {region}"

        server.add_tool(Tool.from_function(added, name=name, description="A tool that came later."))
        return name


if __name__ == "__main__":
    package = sys.argv[1]
    if "PING_SECONDS" in os.environ:
        answers = importlib.import_module(f"{package}.answers")
        answers.PING_SECONDS = float(os.environ["PING_SECONDS"])
        answers.UNWATCHED_SECONDS = answers.PING_SECONDS / 2
    tools = importlib.import_module(f"{package}.tools")
    tools.TOOLS = (*tools.TOOLS, sys.modules[__name__])
    sys.exit(importlib.import_module(f"{package}.__main__").main([]))
