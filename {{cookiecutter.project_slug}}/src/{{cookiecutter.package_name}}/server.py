"""The MCP server: FastMCP's, with a log line for each call and a short way to its own tools."""

from typing import Any

from fastmcp.server.middleware import CallNext, MiddlewareContext
from fastmcp.server.middleware.dereference import DereferenceRefsMiddleware
from fastmcp.server.transforms.visibility import is_enabled
from fastmcp.tools import Tool, ToolResult
from fastmcp.utilities.versions import VersionSpec

from .call_log import logged
from .own_tools import names_are_plain, own_tool
from .session_state import StateOnDemand


class DereferenceListings(DereferenceRefsMiddleware):
    """FastMCP's middleware that inlines `$ref` for clients that can't follow it, out of the way of calls."""

    async def __call__(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Look at listings alone."""
        listing = context.method is not None and context.method.endswith("/list")
        return await (super().__call__(context, call_next) if listing else call_next(context))


class Server(StateOnDemand):
    """Behaves as FastMCP does; what is different is told in `call_log`, `own_tools` and `session_state`."""

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        *,
        version: VersionSpec | None = None,
        run_middleware: bool = True,
    ) -> ToolResult:
        """Call a tool; a call that a middleware refuses is logged too."""
        if not run_middleware:
            # FastMCP comes here a second time, from inside the middleware.
            return await super().call_tool(name, arguments, version=version, run_middleware=False)
        watched = bool(self._extensions) or any(
            not isinstance(middleware, DereferenceListings) for middleware in self.middleware
        )
        whole = super().call_tool if watched else self._call_unwatched
        return await logged(name, whole(name, arguments, version=version))

    async def _call_unwatched(
        self, name: str, arguments: dict[str, Any] | None, *, version: VersionSpec | None
    ) -> ToolResult:
        """Call a tool without the stage in which middleware and extensions, if there were any, look on."""
        result = await super().call_tool(name, arguments, version=version, run_middleware=False)
        # What FastMCP does with every answer on its way out.
        return await self._rebind_prefab_tool_names(result)  # type: ignore[no-any-return]

    async def get_tool(self, name: str, version: VersionSpec | None = None) -> Tool | None:
        """Find the tool a caller may call by this name."""
        if version is None and not self.keeps_state and names_are_plain(self):
            tool = own_tool(self, name)
            if tool is not None and tool.auth is None and is_enabled(tool):
                return tool
        # Rules of a session or of a tool's own, an older version, or no such tool.
        return await super().get_tool(name, version)
