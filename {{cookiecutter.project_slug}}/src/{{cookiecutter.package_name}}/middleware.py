"""ASGI middleware for what clients and proxies send that the MCP endpoint would answer with an error."""

from starlette.types import ASGIApp, Receive, Scope, Send


class ServeInPlace:
    """Serve `/mcp/` as `/mcp`.

    A redirect would name `http://` and, behind CloudFront, the load balancer's own host.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Drop slashes at the end of the path."""
        if scope["type"] == "http" and len(scope["path"]) > 1 and scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        await self.app(scope, receive, send)


class AcceptAnything:
    """Read a missing `Accept` header as `*/*`, as RFC 9110, section 12.5.1, has it.

    The MCP library would answer 406.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the header where it is missing."""
        if scope["type"] == "http" and not any(name == b"accept" for name, _ in scope["headers"]):
            scope = {**scope, "headers": [*scope["headers"], (b"accept", b"*/*")]}
        await self.app(scope, receive, send)


class TrimHeaders:
    """Drop white space at the end of header values, which is no part of them: RFC 9110, section 5.5.

    httptools leaves it, so `Mcp-Name: simpleadd ` would name another tool than the body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Trim them where there is something to trim."""
        if scope["type"] == "http" and any(value.endswith((b" ", b"\t")) for _, value in scope["headers"]):
            scope = {**scope, "headers": [(name, value.rstrip(b" \t")) for name, value in scope["headers"]]}
        await self.app(scope, receive, send)
