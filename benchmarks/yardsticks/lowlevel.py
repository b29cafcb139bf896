"""The official SDK's low-level server: stateless, JSON answers, uvloop and httptools, no log lines."""

import os
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
TOOL = types.Tool(name="simpleadd", description="Add two numbers.", input_schema=SCHEMA)


async def list_tools(
    _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    """Return the one tool."""
    return types.ListToolsResult(tools=[TOOL])


async def call_tool(
    _context: ServerRequestContext[Any], params: types.CallToolRequestParams
) -> types.CallToolResult:
    """Return the sum; the arguments are taken as they come."""
    arguments = params.arguments or {}
    total = arguments["a"] + arguments["b"]
    return types.CallToolResult(
        content=[types.TextContent(text=str(total))], structured_content={"result": total}
    )


server = Server(
    "yardstick",
    # Without it the library lists the tools before every call of revision 2026-07-28.
    get_tool_input_schema={"simpleadd": SCHEMA}.get,
    on_list_tools=list_tools,
    on_call_tool=call_tool,
)
app = server.streamable_http_app(stateless_http=True, json_response=True)

if __name__ == "__main__":
    uvicorn.run(
        app, port=int(os.environ["PORT"]), loop="uvloop", http="httptools", ws="none", log_level="warning"
    )
