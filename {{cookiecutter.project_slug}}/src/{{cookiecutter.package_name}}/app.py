"""The MCP server and the ASGI application that serves it."""

from collections.abc import Callable

import fastmcp
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from . import sessions, tools
from ._distribution import this_distribution
from .auth_settings import MCP_PATH
from .guards import add_guards
from .health import HEALTH_PATH, health
from .middleware import AcceptAnything, ServeInPlace, TrimHeaders
from .request_ids import KeepRequestIds
from .request_log import LogRequests
from .server import DereferenceListings, Server
from .settings import Settings


def build_server(settings: Settings) -> Server:
    """Return the MCP server with every tool of `tools.TOOLS`."""
    distribution = this_distribution()
    server = Server(
        name=distribution.name,
        version=distribution.version,
        # An unexpected exception may hold what a caller must not see; the text of a ToolError still goes out.
        mask_error_details=True,
        dereference_schemas=False,
        middleware=[DereferenceListings()],
    )
    tools.register(server, settings)
    return server


def build_app(settings: Settings) -> Starlette:
    """Return the ASGI application: `/mcp` (streamable HTTP) and `/health`."""
    server = build_server(settings)
    if settings.auth_mode != "none":
        # Imported late: a server without it starts without an HTTP client and the rest.
        from .auth import build_auth

        server.auth = build_auth(settings)
    server.custom_route(HEALTH_PATH, methods=["GET"])(health)
    app = server.http_app(
        path=MCP_PATH,
        stateless_http=not settings.stateful,
        middleware=[Middleware(ServeInPlace), Middleware(AcceptAnything)],
    )
    sessions.install(app, server, settings)
    app.router.redirect_slashes = False
    add_guards(app, settings)
    keep_ids: Callable[[ASGIApp], ASGIApp] = KeepRequestIds
    if settings.traces_endpoint is not None:
        # Imported late: a server that sends no traces loads nothing of them.
        from .traces import add_traces

        keep_ids = add_traces(app, server, settings.traces_endpoint, settings.traces_sample_ratio)
    elif "telemetry_mode" not in fastmcp.settings.model_fields_set:
        # Spans that nobody receives take a tenth of the time of a call.
        fastmcp.settings.telemetry_mode = "propagation_only"
    app.add_middleware(LogRequests, every_request=settings.log_level == "DEBUG")
    app.add_middleware(keep_ids)
    app.add_middleware(TrimHeaders)
    return app
