"""What checking a token costs a call."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from joserfc import jwk, jwt

from ..context import Context, Findings
from ..figures import judge, speed
from ..loopback import answering
from ..project import HEALTH
from ..throughput import Variant, measure
from ..wire import Wire
from .calls import CONNECTIONS, OURS, generated

GUARDED = "AUTH_MODE=jwt"
ISSUER = "https://issuer.example"
AUDIENCE = "https://mcp.example/mcp"
TOKEN_SECONDS = 3600


@dataclass(frozen=True)
class Issuer:
    """A signing key of 2,048 bits, as issuers have it."""

    key: jwk.RSAKey

    def keys(self) -> dict[str, Any]:
        """Return the document at the issuer's `jwks_uri`."""
        return {"keys": [{**self.key.as_dict(private=False), "use": "sig", "alg": "RS256"}]}

    def token(self) -> str:
        """Return an access token for the server."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "benchmark", "iat": now, "exp": now + TOKEN_SECONDS}
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)


def run(context: Context) -> Findings:
    """Measure the server as generated, and guarded with a token in every call."""
    issuer = Issuer(jwk.RSAKey.generate_key(2048, {"kid": "benchmark"}))
    with answering(issuer.keys()) as keys:
        command = context.project.command(
            AUTH_MODE="jwt", AUTH_ISSUER=ISSUER, AUTH_AUDIENCE=AUDIENCE, AUTH_JWKS_URL=f"{keys.url}/jwks"
        )
        guarded = Variant(GUARDED, command, HEALTH, token=issuer.token())
        found = measure(context, [generated(context.project), guarded])
    verdicts = [
        judge(
            f"{wire}: speed with tokens, of that without",
            speed(found.of(GUARDED, wire, CONNECTIONS), found.of(OURS, wire, CONNECTIONS)),
            0.8,
        )
        for wire in Wire
    ]
    return Findings(found.table(), verdicts, found.raw())
