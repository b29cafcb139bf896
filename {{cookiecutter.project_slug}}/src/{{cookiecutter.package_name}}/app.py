"""The MCP server and the ASGI application that serves it."""

from fastmcp import FastMCP
from starlette.applications import Starlette
from starlette.middleware import Middleware

from . import tools
from ._distribution import this_distribution
from .health import HEALTH_PATH, health
from .middleware import AcceptAnything, ServeInPlace
from .settings import Settings

MCP_PATH = "/mcp"
# Only a server for this machine alone is open to DNS rebinding: a web page that makes its own name resolve to
# loopback. Any other server is reached under names it can't know, by way of a proxy.
LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")


def build_server(settings: Settings) -> FastMCP[None]:
    """Return the MCP server with every tool of `tools.TOOLS`."""
    distribution = this_distribution()
    server: FastMCP[None] = FastMCP(
        name=distribution.name,
        version=distribution.version,
        # An unexpected exception may hold what a caller must not see; the text of a ToolError still goes out.
        mask_error_details=True,
    )
    tools.register(server, settings)
    return server


def build_app(settings: Settings) -> Starlette:
    """Return the ASGI application: `/mcp` (streamable HTTP) and `/health`."""
    server = build_server(settings)
    server.custom_route(HEALTH_PATH, methods=["GET"])(health)
    app = server.http_app(
        path=MCP_PATH,
        stateless_http=not settings.stateful,
        json_response=not settings.stateful,
        host_origin_protection=settings.host in LOCAL_HOSTS,
        middleware=[Middleware(ServeInPlace), Middleware(AcceptAnything)],
    )
    app.router.redirect_slashes = False
    return app
