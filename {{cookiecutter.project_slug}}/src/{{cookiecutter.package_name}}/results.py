"""The wire form of a tool's result, written in one pass.

The library dumps a result, validates the dump against the revision's schema, and dumps that. Text and
structured content look the same in every revision that has both, and most results are nothing else.
"""

from functools import lru_cache
from typing import Any

from mcp.server.context import HandlerResult
from mcp.server.lowlevel.server import Server
from mcp.server.runner import ServerRunner
from mcp_types import SERVER_INFO_META_KEY, CallToolResult, TextContent
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

PLAIN_IN = ("2025-06-18", "2025-11-25", "2026-07-28")


class Runner(ServerRunner[Any]):
    """The library's runner, which here writes plain results itself; it overrides a private method.

    tests/server/test_results.py compares the two.
    """

    def _serialize(self, method: str, version: str, result: HandlerResult) -> dict[str, Any]:
        if type(result) is CallToolResult and method == "tools/call" and version in PLAIN_IN:
            wire = plain(result)
            if wire is not None and method not in self.server.cache_hints:
                if version in MODERN_PROTOCOL_VERSIONS:
                    wire["resultType"] = result.result_type
                    wire["_meta"] = {SERVER_INFO_META_KEY: _stamp(self.server), **wire.get("_meta", {})}
                return wire
        return super()._serialize(method, version, result)


def plain(result: CallToolResult) -> dict[str, Any] | None:
    """Return a result of text and an object, as JSON has it; None for any other."""
    structured, meta = result.structured_content, result.meta
    if result.result_type != "complete" or not (structured is None or type(structured) is dict):
        return None
    if meta is not None and SERVER_INFO_META_KEY in meta:
        return None
    content = []
    for block in result.content:
        if type(block) is not TextContent or block.annotations is not None or block.meta is not None:
            return None
        content.append({"type": "text", "text": block.text})
    wire: dict[str, Any] = {"content": content, "isError": result.is_error}
    if structured is not None:
        wire["structuredContent"] = structured
    if meta is not None:
        wire["_meta"] = meta
    return wire


@lru_cache(maxsize=8)
def _stamp(server: Server[Any]) -> dict[str, Any]:
    return server.server_info_stamp
