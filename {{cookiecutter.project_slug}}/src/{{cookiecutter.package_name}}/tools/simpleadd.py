"""`simpleadd`: the smallest tool, which shows that a call gets through."""

import math
from typing import Annotated

from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from ..settings import Settings

# JSON has no infinity and no NaN (RFC 8259, section 6).
Number = int | Annotated[float, Field(allow_inf_nan=False)]


def simpleadd(
    a: Annotated[Number, Field(description="First number")],
    b: Annotated[Number, Field(description="Second number")],
) -> int | float:
    """Add two numbers and return their sum."""
    try:
        total = a + b
        finite = math.isfinite(total)
    except OverflowError:
        finite = False
    if not finite:
        raise ToolError(f"{a} + {b} is too large for a number. Use smaller numbers.")
    return total


def register(server: FastMCP[None], _settings: Settings) -> None:
    """Add the tool to the server."""
    hints = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    server.tool(annotations=hints, run_in_thread=False)(simpleadd)
