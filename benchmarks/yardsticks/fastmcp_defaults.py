"""The script of most tutorials: a FastMCP server run with its defaults."""

import os

from fastmcp import FastMCP
from starlette.requests import Request
from starlette.responses import JSONResponse

mcp = FastMCP("yardstick")


@mcp.tool
def simpleadd(a: int, b: int) -> int:
    """Add two numbers and return their sum."""
    return a + b


@mcp.custom_route("/health", methods=["GET"])
async def health(_request: Request) -> JSONResponse:
    """Answer 200, so that a start is timed as the generated server's is."""
    return JSONResponse({"status": "healthy"})


if __name__ == "__main__":
    mcp.run(transport="http", host="127.0.0.1", port=int(os.environ["PORT"]))
