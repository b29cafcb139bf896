"""Bearer tokens over HTTP: where they are read, and what is answered when they can't be judged."""

import structlog
from fastmcp.server.auth import AuthProvider, RemoteAuthProvider
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, BearerAuthBackend
from pydantic import AnyHttpUrl
from starlette.authentication import AuthCredentials, AuthenticationError
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response

from ..auth_settings import MCP_PATH
from ..settings import Settings
from .keys import KeysUnavailableError
from .verifier import BearerVerifier

logger = structlog.get_logger(__name__)


class Guarded(AuthProvider):
    """A provider of FastMCP's with its reader of tokens replaced by the one below."""

    def get_middleware(self) -> list[Middleware]:
        """Return what reads tokens, before anything is asked of them."""
        return [
            Middleware(AuthenticationMiddleware, backend=BearerBackend(self), on_error=answer),
            Middleware(AuthContextMiddleware),
        ]


class ResourceServer(Guarded, RemoteAuthProvider):
    """Ask for tokens, and publish where they come from (RFC 9728)."""


class UnpublishedResourceServer(Guarded, BearerVerifier):
    """Ask for tokens; a server that doesn't know its own address can't publish anything about it."""


class AmbiguousError(AuthenticationError):
    """A request with two Authorization headers: which one counts would depend on who reads it."""


class BearerBackend(BearerAuthBackend):
    """Read the token of requests to the MCP endpoint, and of no others: /health needs no issuer."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, AuthenticatedUser] | None:
        """Return who calls, or None for nobody, which the MCP endpoint answers with 401."""
        if conn.scope["path"].rstrip("/") != MCP_PATH:
            return None
        if len(conn.headers.getlist("authorization")) > 1:
            raise AmbiguousError("more than one Authorization header")
        caller: tuple[AuthCredentials, AuthenticatedUser] | None = await super().authenticate(conn)
        return caller


def answer(_conn: HTTPConnection, error: AuthenticationError) -> Response:
    """Answer what is neither a good token nor a bad one."""
    if isinstance(error, KeysUnavailableError):
        content = {"error": "temporarily_unavailable", "error_description": f"{error}; try again later"}
        return JSONResponse(content, 503, {"Retry-After": str(error.retry_after)})
    # RFC 6750, section 3.1.
    content = {"error": "invalid_request", "error_description": str(error)}
    challenge = f'Bearer error="invalid_request", error_description="{error}"'
    return JSONResponse(content, 400, {"WWW-Authenticate": challenge})


def build_auth(settings: Settings) -> AuthProvider:
    """Return what guards the MCP endpoint, with any `AUTH_MODE` but `none`."""
    url = settings.auth_resource_url
    logger.info(
        "bearer tokens are required", mode=settings.auth_mode, issuer=settings.auth_issuer, resource=url
    )
    if url is None:
        logger.warning("AUTH_RESOURCE_URL isn't set, so clients aren't told where to get a token")
        return UnpublishedResourceServer(settings)
    return ResourceServer(
        token_verifier=BearerVerifier(settings),
        authorization_servers=[AnyHttpUrl(str(settings.auth_issuer))],
        base_url=url.removesuffix(MCP_PATH),
    )
