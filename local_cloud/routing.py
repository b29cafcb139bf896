"""Sends each request to a routed host, to our handler of an API, or to the emulator."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import parse_qs

from .context import AsgiApp, CloudContext, Receive, Scope, Send

_SCOPE = r"[^/]+/\d{8}/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/aws4_request"
_AUTHORIZATION = re.compile(rf"AWS4-[A-Z0-9-]+ Credential={_SCOPE}")
_CREDENTIAL = re.compile(_SCOPE)


def credential_scope(scope: Scope) -> tuple[str, str] | None:
    """Return the ``(region, signing name)`` of a signed or presigned request; None if it is unsigned."""
    authorization = _header(scope["headers"], b"authorization")
    match = _AUTHORIZATION.match(authorization)
    if match is None:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        credential = query.get("X-Amz-Credential", [""])[0]
        match = _CREDENTIAL.fullmatch(credential)
    return (match["region"], match["service"]) if match else None


def request_host(scope: Scope) -> str:
    """Return the request's ``Host``: lower case, without port."""
    return _header(scope["headers"], b"host").lower().rsplit(":", 1)[0]


class Router:
    """The cloud's ASGI application: host routes first, then API handlers by signing name, then the emulator.

    ``pin_region`` is called with the credential scope's region before a service route runs, so that a
    handler sees the emulator's state of the region the request was signed for.
    """

    def __init__(self, context: CloudContext, emulator: AsgiApp, pin_region: Callable[[str], None]) -> None:
        self._context = context
        self._emulator = emulator
        self._pin_region = pin_region

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or lifespan."""
        await self._choose(scope)(scope, receive, send)

    def _choose(self, scope: Scope) -> AsgiApp:
        if scope["type"] not in {"http", "websocket"}:
            return self._emulator
        host = request_host(scope)
        for matches, app in self._context.host_routes:
            if matches(host):
                return app
        if self._context.service_routes and (signed := credential_scope(scope)):
            region, service = signed
            app_for_service = self._context.service_routes.get(service)
            if app_for_service is not None:
                self._pin_region(region)
                return app_for_service
        return self._emulator


def _header(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in headers if name.lower() == wanted), "")
