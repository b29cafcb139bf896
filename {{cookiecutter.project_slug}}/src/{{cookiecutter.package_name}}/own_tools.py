"""The server's own tools by their names, without asking every provider.

FastMCP starts a task group for each look-up, since a provider may have to wait for its tools. And a
2026-07-28 client repeats some arguments in `Mcp-Param-*` headers, which are checked against the called tool's
schema: unless the library is told where to find one schema it runs `tools/list`, with all middleware, before
every call, and fifty tools make a call eight times slower.
"""

import json
from collections.abc import Mapping
from typing import Any

from fastmcp import FastMCP
from fastmcp.server.middleware.tool_injection import ToolInjectionMiddleware
from fastmcp.server.providers import LocalProvider
from fastmcp.tools import Tool
from mcp.shared.inbound import X_MCP_HEADER_KEY

_declaring: dict[int, tuple[Mapping[str, Any], bool]] = {}


def names_are_plain(server: FastMCP[Any]) -> bool:
    """Tell whether a tool's name means the same to every caller: the tool registered under it.

    Mounted servers, proxies, transforms and injected tools decide for each caller what a name means.
    """
    return (
        not server.transforms
        and all(isinstance(provider, LocalProvider) for provider in server.providers)
        and not any(isinstance(middleware, ToolInjectionMiddleware) for middleware in server.middleware)
    )


def own_tool(server: FastMCP[Any], name: str) -> Tool | None:
    """Return the newest version of a tool of a server with plain names, or None if there is no such tool."""
    for provider in server.providers:
        lookup = provider.get_tool(name)
        try:
            lookup.send(None)  # Own tools are found without waiting for anything.
        except StopIteration as found:
            if found.value is not None:
                tool: Tool = found.value
                return tool
        else:
            lookup.close()
            raise TypeError(f"{provider!r} has to wait for its tools")
    return None


def own_schema(server: FastMCP[Any], name: str) -> Mapping[str, Any] | None:
    """Return a tool's input schema, or None if there is no such tool."""
    tool = own_tool(server, name)
    return None if tool is None else tool.parameters


def declares_headers(schema: Mapping[str, Any]) -> bool:
    """Tell whether a tool's schema has any argument repeated in a header; looked through once a schema."""
    known = _declaring.get(id(schema))
    # The schema is kept with what is known of it, so that its id isn't given to another.
    if known is None or known[0] is not schema:
        known = (schema, X_MCP_HEADER_KEY in json.dumps(schema, default=str))
        _declaring[id(schema)] = known
    return known[1]
