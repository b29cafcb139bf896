"""The issuer's signing keys: fetched, kept, renewed, and missed when the issuer can't be reached for long."""

import asyncio
import json
import math
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import httpx2
import structlog
from joserfc import jwk
from starlette.authentication import AuthenticationError

from ..auth_settings import is_trustworthy

# Between two fetches, whatever asks for them: invented key ids must not become a flood of requests.
COOLDOWN_SECONDS = 10
FETCH_SECONDS = 10
DOCUMENT_BYTES = 1024 * 1024
RSA_BITS = 2048  # RFC 7518, section 3.3
# RFC 7518, section 3.1, and RFC 8037: what a key must be, by the beginning of the algorithm's name.
KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
CURVES = {"ES256": ("P-256",), "ES384": ("P-384",), "ES512": ("P-521",), "EdDSA": ("Ed25519", "Ed448")}
KEY_CLASSES: dict[str, type[jwk.RSAKey | jwk.ECKey | jwk.OKPKey]] = {
    "RSA": jwk.RSAKey,
    "EC": jwk.ECKey,
    "OKP": jwk.OKPKey,
}
PUBLIC_MEMBERS = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")}

logger = structlog.get_logger(__name__)
Key = TypeVar("Key")


class KeysUnavailableError(AuthenticationError):
    """No key can be had to judge a token by; `retry_after` is when to ask again, in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("the issuer's signing keys can't be fetched")
        self.retry_after = retry_after


class KeySet(Generic[Key]):
    """Keys by their ids, each made by `build` from a public key in PEM.

    They are fetched at the first need, again after `max_age` seconds (in the background, while the old ones
    serve) and when a token names an unknown one, but never twice within `COOLDOWN_SECONDS`. Keys that could
    not be renewed serve for `grace` seconds more.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[dict[str | None, str]]],
        build: Callable[[str], Key],
        *,
        max_age: float,
        grace: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._build = build
        self._max_age = max_age
        self._limit = max_age + grace
        self._cooldown = min(COOLDOWN_SECONDS, max_age)
        self._clock = clock
        self._keys: dict[str | None, Key] = {}
        self._fetched_at = -math.inf
        self._attempted_at = -math.inf
        self._failed = False
        self._refreshing: asyncio.Task[None] | None = None

    async def find(self, key_id: str | None) -> Key | None:
        """Return the key, or None if the issuer has no such key.

        A token without a key id gets the issuer's only key, or none. Raises `KeysUnavailableError` when it
        isn't known whether the issuer has it.
        """
        key = self._kept(key_id)
        if key is None or self._age() >= self._max_age:
            refresh = self._refresh()
            if key is None and refresh is not None:
                # Shielded: a caller who hangs up must not end the fetch that others wait for.
                await asyncio.shield(refresh)
                key = self._kept(key_id)
        if key is None and (self._failed or self._age() >= self._limit):
            wait = self._attempted_at + self._cooldown - self._clock()
            raise KeysUnavailableError(max(1, math.ceil(wait)))
        return key

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _kept(self, key_id: str | None) -> Key | None:
        if self._age() >= self._limit:
            return None
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return None if key_id is None else self._keys.get(key_id)

    def _refresh(self) -> asyncio.Task[None] | None:
        if self._refreshing is None or self._refreshing.done():
            if self._clock() - self._attempted_at < self._cooldown:
                return None
            self._refreshing = asyncio.create_task(self._replace())
        return self._refreshing

    async def _replace(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                found = await self._fetch()
            self._keys = {key_id: self._build(pem) for key_id, pem in found.items()}
            self._fetched_at = self._clock()
            self._failed = False
        except Exception as error:
            self._failed = True
            left = max(0, self._limit - self._age())
            logger.warning(
                "the issuer's signing keys can't be fetched",
                error=f"{type(error).__name__}: {error}",
                kept_keys_serve_seconds=math.floor(left),
            )
        finally:
            self._attempted_at = self._clock()


def keys_of(
    issuer: str, jwks_url: str | None, algorithm: str
) -> Callable[[], Awaitable[dict[str | None, str]]]:
    """Return the function that fetches an issuer's keys for an algorithm, as PEM by key id.

    Without `jwks_url` they are where the issuer's OpenID Connect discovery document says.
    """

    async def fetch() -> dict[str | None, str]:
        async with httpx2.AsyncClient(timeout=FETCH_SECONDS) as client:
            url = jwks_url or await _discovered(client, issuer)
            return usable_keys(await _document(client, url), algorithm)

    return fetch


async def _discovered(client: httpx2.AsyncClient, issuer: str) -> str:
    found = await _document(client, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    # OpenID Connect Discovery 1.0, section 4.3.
    if found.get("issuer") != issuer:
        raise ValueError(f"the discovery document of {issuer} names another issuer")
    url = found.get("jwks_uri")
    if not isinstance(url, str) or not is_trustworthy(url):
        raise ValueError(f"the discovery document of {issuer} has no usable jwks_uri")
    return url


async def _document(client: httpx2.AsyncClient, url: str) -> dict[str, Any]:
    body = bytearray()
    async with client.stream("GET", url, headers={"Accept": "application/json"}) as response:
        response.raise_for_status()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > DOCUMENT_BYTES:
                raise ValueError(f"{url} answers more than {DOCUMENT_BYTES} bytes")
    found = json.loads(body)
    if not isinstance(found, dict):
        raise TypeError(f"{url} answers no JSON object")
    return found


def usable_keys(document: dict[str, Any], algorithm: str) -> dict[str | None, str]:
    """Return the public keys of a JWK set (RFC 7517) that verify signatures of `algorithm`, as PEM by key id.

    Raises `ValueError` if there is none: that is an outage at the issuer, and no reason to forget keys.
    """
    found: dict[str | None, str] = {}
    entries = document.get("keys")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and (pem := _public_key(entry, algorithm)):
            key_id = entry.get("kid")
            found.setdefault(key_id if isinstance(key_id, str) else None, pem)
    if not found:
        raise ValueError(f"the issuer publishes no key for {algorithm}")
    return found


def _public_key(entry: dict[str, Any], algorithm: str) -> str | None:
    key_type = KEY_TYPES[algorithm[:2]]
    if entry.get("kty") != key_type or entry.get("use", "sig") != "sig":
        return None
    if entry.get("alg", algorithm) != algorithm or entry.get("crv") not in CURVES.get(algorithm, (None,)):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the keys that are too small: see below
            key = KEY_CLASSES[key_type].import_key({name: entry[name] for name in PUBLIC_MEMBERS[key_type]})
        if isinstance(key, jwk.RSAKey) and key.raw_value.key_size < RSA_BITS:
            return None
        return key.as_pem(private=False).decode()
    except (
        Exception
    ) as error:  # whatever a foreign document makes a parser raise, the other keys are still good
        logger.warning("a signing key of the issuer can't be read", error=type(error).__name__)
        return None
