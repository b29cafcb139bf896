"""Inbound authorization ``CUSTOM_JWT``: a bearer token of the issuer that a gateway's authorizer names.

https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/inbound-jwt-authorizer.html
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import aiohttp
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from ..data_plane.http_message import Request
from .outbound_http import OutboundHttp, check_endpoint
from .state import Gateway

METADATA_PATH = "/.well-known/oauth-protected-resource"
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
_TIMEOUT = aiohttp.ClientTimeout(total=10)


class MissingTokenError(Exception):
    """The request has no bearer token."""


class WrongTokenError(Exception):
    """The token is no good for this gateway; ``insufficient`` where it is genuine but lacks a scope."""

    def __init__(self, message: str, *, insufficient: bool = False) -> None:
        super().__init__(message)
        self.insufficient = insufficient


def authorizer(gateway: Gateway) -> dict[str, Any]:
    """``authorizerConfiguration.customJWTAuthorizer``."""
    found: dict[str, Any] = gateway.settings["authorizerConfiguration"]["customJWTAuthorizer"]
    return found


async def check_token(gateway: Gateway, request: Request, http: OutboundHttp) -> None:
    """Raise MissingTokenError or WrongTokenError unless the request's token is one that ``gateway`` takes."""
    kind, _, token = request.header("authorization").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise MissingTokenError("Missing Bearer token")
    wanted = authorizer(gateway)
    try:
        document = await _document(http, wanted["discoveryUrl"])
        keys = KeySet.import_key_set(await _document(http, document["jwks_uri"]))  # type: ignore[arg-type]
        claims = jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims
    except (OSError, aiohttp.ClientError, JoseError, ValueError, LookupError, TypeError) as error:
        raise WrongTokenError(f"Invalid Bearer token ({type(error).__name__})") from error
    if claims.get("iss") != document.get("issuer"):
        raise WrongTokenError("Claim 'iss' value mismatch with configuration.")
    if not isinstance(claims.get("exp"), int | float) or claims["exp"] < time.time():
        raise WrongTokenError("Token has expired")
    _check_claims(wanted, claims)


def _check_claims(wanted: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
    """Every list that is configured must match."""
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if wanted.get("allowedAudience") and not set(wanted["allowedAudience"]) & set(audiences):
        raise WrongTokenError("Claim 'aud' value mismatch with configuration.")
    if wanted.get("allowedClients") and claims.get("client_id") not in wanted["allowedClients"]:
        raise WrongTokenError("Claim 'client_id' value mismatch with configuration.")
    scopes = str(claims.get("scope", "")).split()
    if wanted.get("allowedScopes") and not set(wanted["allowedScopes"]) & set(scopes):
        raise WrongTokenError("Insufficient scope", insufficient=True)


async def _document(http: OutboundHttp, url: str) -> dict[str, Any]:
    check_endpoint(url)
    async with http.session().get(url, timeout=_TIMEOUT, allow_redirects=False) as answer:
        answer.raise_for_status()
        content = await answer.json(content_type=None)
    if not isinstance(content, dict):
        raise TypeError(f"{url} answered no JSON object")
    return content
