"""A tool's input schema by its name, without listing every tool.

A 2026-07-28 client repeats some arguments in `Mcp-Param-*` headers, and the library checks them against the
called tool's schema before each call. Unless it is told where to find one schema it runs `tools/list`, with
all middleware, for every `tools/call`: fifty tools make a call eight times slower.
"""

from collections.abc import Mapping
from typing import Any

from fastmcp import FastMCP
from fastmcp.server.providers import LocalProvider


def quick_lookup_is_exact(server: FastMCP[Any]) -> bool:
    """Tell whether the server's tools are all its own, under their own names.

    Mounted servers, proxies and transforms decide for each caller what a name means: there the listing stays.
    """
    return not server.transforms and all(isinstance(provider, LocalProvider) for provider in server.providers)


class ToolSchemas:
    """Finds schemas in the server's own tools, including those added while it runs."""

    def __init__(self, server: FastMCP[Any]) -> None:
        self._server = server

    def __call__(self, name: str) -> Mapping[str, Any] | None:
        """Return the input schema of the tool, or None if there is no such tool."""
        for provider in self._server.providers:
            lookup = provider.get_tool(name)
            try:
                lookup.send(None)  # Own tools are found without waiting for anything.
            except StopIteration as found:
                if found.value is not None:
                    schema: Mapping[str, Any] = found.value.parameters
                    return schema
            else:
                lookup.close()
                raise TypeError(f"{provider!r} has to wait for its tools")
        return None
