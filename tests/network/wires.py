"""A tool call as clients of two eras send it: with a handshake (2025-06-18) and without (2026-07-28)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEGACY = "2025-06-18"
MODERN = "2026-07-28"
WIRES = (LEGACY, MODERN)
JSON_ALONE = "application/json"
JSON_OR_STREAM = "application/json, text/event-stream"


def tool_call(wire: str, accept: str, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return `{"headers": ..., "body": ...}` of a POST that asks for progress, too."""
    headers = {"Content-Type": JSON_ALONE, "Accept": accept, "MCP-Protocol-Version": wire}
    meta: dict[str, Any] = {"progressToken": 1}
    if wire == MODERN:
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": tool}
        meta |= {
            "io.modelcontextprotocol/protocolVersion": wire,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return {"headers": headers, "body": body}
