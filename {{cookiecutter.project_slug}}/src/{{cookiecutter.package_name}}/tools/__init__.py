"""What the server offers. A new tool is a module with `register(server, settings)` and a line in `TOOLS`."""

from typing import Protocol

from fastmcp import FastMCP

from ..settings import Settings
from . import knowledge_base, simpleadd


class ToolModule(Protocol):
    """The shape of a tool's module."""

    def register(self, server: FastMCP[None], settings: Settings, /) -> None:
        """Add the module's tools to the server."""


TOOLS: tuple[ToolModule, ...] = (
    simpleadd,
    knowledge_base,
)


def register(server: FastMCP[None], settings: Settings) -> None:
    """Add every tool to the server."""
    for tool in TOOLS:
        tool.register(server, settings)
