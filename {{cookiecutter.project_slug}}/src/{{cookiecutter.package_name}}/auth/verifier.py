"""Judge a bearer token: signature, issuer and audience are FastMCP's to check, the rest is checked here."""

import base64
import hashlib
import json
import logging
import math
import re
import time
from collections.abc import Mapping
from typing import Any

import structlog
from fastmcp.server.auth import AccessToken, TokenVerifier
from fastmcp.server.auth.providers.jwt import JWTVerifier

from ..settings import Settings
from .keys import KeySet, KeysUnavailableError, keys_of

TOKEN_CHARACTERS = 16 * 1024
COMPACT = re.compile(r"([\w-]+)\.[\w-]+\.[\w-]+", re.ASCII)
# RFC 8725, section 3.11: a token of another type, such as a logout token, is no access token.
TOKEN_TYPES = ("jwt", "at+jwt", "application/at+jwt")
# How far the issuer's clock may be ahead of this one's.
CLOCK_SKEW_SECONDS = 60
# For each key of the issuer; a token's contents take about two kilobytes.
REMEMBERED_TOKENS = 1024
# Only ID tokens (OpenID Connect Core, 3.3.2.11) and security events such as logout (RFC 8417) have these.
FOREIGN_CLAIMS = ("at_hash", "c_hash", "s_hash", "events")
# Keycloak's claim for what a token is for.
FOREIGN_TYPES = ("id", "refresh", "offline", "logout")

logger = structlog.get_logger(__name__)


class RefusedError(Exception):
    """A token is no good; the message says why in words of this module alone and may be logged."""


class KeyVerifier:
    """What one key has signed, with the tokens found good remembered until they expire.

    Agents send the same token with every call, and to judge one takes as long as half a call. A key that the
    issuer withdraws takes what it has signed with it.
    """

    def __init__(self, verifier: JWTVerifier) -> None:
        self.verifier = verifier
        self._good: dict[bytes, AccessToken] = {}

    def known(self, token: str) -> AccessToken | None:
        """Return the contents of a token found good before, or None."""
        digest = _digest(token)
        access = self._good.get(digest)
        # JWTVerifier's own rule for `exp`, in whole or broken seconds.
        if access is not None and access.claims["exp"] < time.time():
            del self._good[digest]
            return None
        return access

    def remember(self, token: str, access: AccessToken) -> None:
        """Keep what a good token holds; the oldest one makes room."""
        if len(self._good) >= REMEMBERED_TOKENS:
            del self._good[next(iter(self._good))]
        self._good[_digest(token)] = access


class BearerVerifier(TokenVerifier):
    """Accept access tokens of one issuer that were made for this server.

    FastMCP's `JWTVerifier` checks signature, algorithm, issuer and audience. Its key comes from `KeySet`,
    because its own store answers an outage of the issuer as if the token were bad; the scopes are left to the
    endpoint, so that a missing one is 403. Tokens without an expiry or from the future, which it lets pass,
    end here.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(required_scopes=list(settings.auth_required_scopes))
        if not settings.auth_issuer:
            raise ValueError("tokens can't be judged without an issuer")
        self._settings = settings
        jwks_url = settings.auth_jwks_url
        if settings.auth_mode == "cognito":
            # "Verifying JSON web tokens" in the developer guide of Amazon Cognito user pools.
            jwks_url = jwks_url or f"{settings.auth_issuer.rstrip('/')}/.well-known/jwks.json"
        self.keys = KeySet(
            keys_of(settings.auth_issuer, jwks_url, settings.auth_algorithm),
            self._with_key,
            max_age=settings.auth_jwks_max_age,
            grace=settings.auth_jwks_grace,
        )

    def _with_key(self, pem: str) -> KeyVerifier:
        return KeyVerifier(
            JWTVerifier(
                public_key=pem,
                issuer=self._settings.auth_issuer,
                audience=list(self._settings.auth_audience) or None,
                algorithm=self._settings.auth_algorithm,
            )
        )

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return the token's contents, or None if it is no good.

        Raises `KeysUnavailableError` if that can't be told.
        """
        try:
            return await self._verified(token)
        except KeysUnavailableError:
            raise
        except RefusedError as refusal:
            logger.info("bearer token refused", reason=str(refusal))
        except Exception as error:  # a token that breaks a parser is a bad token, not a fault of the server
            logger.warning("bearer token refused", reason="it can't be read", error=type(error).__name__)
        return None

    async def _verified(self, token: str) -> AccessToken:
        header = _header(token)
        if header.get("alg") != self._settings.auth_algorithm:
            raise RefusedError("another algorithm")
        key = await self.keys.find(header.get("kid"))
        if key is None:
            raise RefusedError("the issuer has no such key")
        known = key.known(token)
        if known is not None:
            return known
        access = await key.verifier.load_access_token(token)
        if access is None:
            raise RefusedError("signature, issuer, audience or expiry")
        claims = access.claims
        _check_times(claims)
        if self._settings.auth_mode == "cognito":
            self._check_cognito(claims)
        else:
            self._check_jwt(claims)
        access = access.model_copy(update={"scopes": _scopes(claims)})
        key.remember(token, access)
        return access

    def _check_jwt(self, claims: Mapping[str, Any]) -> None:
        if not self._settings.auth_audience:
            raise RefusedError("no audience is configured")
        if claims.get("token_use", "access") != "access" or any(name in claims for name in FOREIGN_CLAIMS):
            raise RefusedError("no access token")
        if str(claims.get("typ", "")).lower() in FOREIGN_TYPES:
            raise RefusedError("no access token")

    def _check_cognito(self, claims: Mapping[str, Any]) -> None:
        # FastMCP's AWSCognitoTokenVerifier checks client_id alone, and drops the claims that the rest needs.
        if claims.get("token_use") != "access":
            raise RefusedError("no access token")
        client = claims.get("client_id")
        if not isinstance(client, str) or client not in self._settings.auth_client_ids:
            raise RefusedError("another client")
        if not isinstance(claims.get("scope", ""), str):
            raise RefusedError("a scope that Cognito doesn't write")
        # Tokens asked for with a resource have an audience, which then counts: RFC 7519, section 4.1.3.
        if "aud" in claims and not self._settings.auth_audience:
            audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
            if self._settings.auth_resource_url not in audience:
                raise RefusedError("another audience")


def _digest(token: str) -> bytes:
    # A dump of the memory shall hold no more tokens than it has to.
    return hashlib.sha256(token.encode()).digest()


def _header(token: str) -> dict[str, Any]:
    if len(token) > TOKEN_CHARACTERS:
        raise RefusedError("too long")
    parts = COMPACT.fullmatch(token)
    if not parts:
        raise RefusedError("not a signed JSON web token")
    first = parts[1]
    header = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    if not isinstance(header, dict) or not isinstance(header.get("kid", ""), str):
        raise RefusedError("a malformed header")
    if "crit" in header:
        # RFC 7515, section 4.1.11: none of its extensions is understood here.
        raise RefusedError("a critical header")
    if str(header.get("typ", "jwt")).lower() not in TOKEN_TYPES:
        raise RefusedError("another type of token")
    return header


def _check_times(claims: Mapping[str, Any]) -> None:
    latest = time.time() + CLOCK_SKEW_SECONDS
    for name in ("exp", "nbf", "iat"):
        value = claims.get(name, 0 if name != "exp" else None)
        # JSON as Python reads it has NaN, which is neither before nor after anything.
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise RefusedError(f"{name} is missing or no time")
        if name != "exp" and value > latest:
            raise RefusedError("not yet valid")


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    """Return the scopes: words between spaces (RFC 8693, section 4.2), or a list, as some issuers have it."""
    found = claims.get("scope", claims.get("scp", ""))
    if isinstance(found, str):
        return [scope for scope in found.split(" ") if scope]
    if isinstance(found, list) and all(isinstance(scope, str) for scope in found):
        return found
    raise RefusedError("scopes are neither text nor a list of texts")


def _without_values(record: logging.LogRecord) -> bool:
    # FastMCP writes claims of refused tokens into its log: who, from which issuer, with which scopes.
    record.msg, record.args = re.sub(r"%[rsd]", "…", str(record.msg)), ()
    record.exc_info = None
    return True


logging.getLogger(JWTVerifier.__module__).addFilter(_without_values)
