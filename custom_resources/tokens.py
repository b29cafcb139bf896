"""Access tokens by OAuth 2.0's client credentials grant (RFC 6749, section 4.4), for functions that show one.

The client's id and secret are read from Secrets Manager when they are needed, and neither they nor a token is
logged or part of an error.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlencode

from custom_resources.issuers import ID_KEY, SECRET_KEY, IssuerError, exchange
from custom_resources.lifecycle import Runtime

# RFC 6750, section 2.1. An HTTP library would quote what it can't send, in an error.
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


@dataclass(frozen=True)
class TokenSource:
    """Where tokens come from.

    `discovery_url` ends in `/.well-known/openid-configuration`; the secret is JSON with `client_id` and
    `client_secret`; `parameters` are further ones of the request, such as `audience`.
    """

    discovery_url: str
    secret_arn: str
    scopes: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)


def bearer_token(runtime: Runtime, source: TokenSource, timeout: float) -> str:
    """Return an access token; each HTTP exchange may take `timeout` seconds. Raises IssuerError."""
    endpoint = exchange(source.discovery_url, timeout, {}).get("token_endpoint")
    if not isinstance(endpoint, str) or not endpoint.startswith("https://"):
        raise IssuerError(f"{source.discovery_url} names no https token_endpoint")
    client_id, secret = _credentials(runtime, source.secret_arn)
    form = {"grant_type": "client_credentials", **source.parameters}
    if source.scopes:
        form["scope"] = " ".join(source.scopes)
    # RFC 6749, section 2.3.1: both are form-encoded first.
    basic = base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
    token = exchange(endpoint, timeout, headers, urlencode(form).encode()).get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise IssuerError(f"{endpoint} answered without an access_token that a header can carry")
    return token


def _credentials(runtime: Runtime, secret_arn: str) -> tuple[str, str]:
    answer = runtime.call(lambda: runtime.clients.secrets_manager().get_secret_value(SecretId=secret_arn))
    try:
        content = json.loads(answer.get("SecretString", ""))
        return str(content[ID_KEY]), str(content[SECRET_KEY])
    except (ValueError, LookupError, TypeError):
        # Without the cause, which would quote the secret.
        raise IssuerError(f"{secret_arn} must be JSON with {ID_KEY} and {SECRET_KEY}") from None
