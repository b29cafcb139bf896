"""A token to call the gateway with, by OAuth 2.0's client credentials grant, where it takes tokens."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_plus, urlencode

import urllib3

from ops.aws import Aws
from ops.errors import OpsError
from ops.http import HttpClient
from ops.mcp_client import Signer

_MAX_BYTES = 1024 * 1024


def bearer(token: str) -> Signer:
    """Return a function that adds a bearer token to requests."""

    def sign(_method: str, _url: str, headers: dict[str, str], _body: bytes) -> dict[str, str]:
        return {**headers, "Authorization": f"Bearer {token}"}

    return sign


def agent_token(aws: Aws, http: HttpClient, outputs: dict[str, str]) -> str:
    """Return an access token of the client that the stack has for agents.

    Args:
        aws: whose credentials read the client's secret.
        http: the HTTP client.
        outputs: of the stack: TokenDiscoveryUrl, AgentSecretArn, AgentScopes.

    Raises:
        OpsError: the secret or the issuer gave none.
        urllib3.exceptions.HTTPError: the issuer wasn't reached.

    """
    answer = aws.client("secretsmanager").get_secret_value(SecretId=outputs["AgentSecretArn"])
    try:
        client = json.loads(answer["SecretString"])
        client_id, secret = str(client["client_id"]), str(client["client_secret"])
    except (ValueError, LookupError, TypeError):
        raise OpsError(
            f"{outputs['AgentSecretArn']} must be JSON with client_id and client_secret."
        ) from None
    endpoint = str(_json(http, "GET", outputs["TokenDiscoveryUrl"], {}, None).get("token_endpoint"))
    form = {"grant_type": "client_credentials"}
    if outputs.get("AgentScopes"):
        form["scope"] = outputs["AgentScopes"].replace(",", " ")
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        # RFC 6749, section 2.3.1: both are form-encoded first.
        **urllib3.make_headers(basic_auth=f"{quote_plus(client_id)}:{quote_plus(secret)}"),
    }
    token = _json(http, "POST", endpoint, headers, urlencode(form).encode()).get("access_token")
    if not isinstance(token, str):
        raise OpsError(f"{endpoint} gave no access token.")
    return token


def _json(
    http: HttpClient, method: str, url: str, headers: dict[str, str], body: bytes | None
) -> dict[str, Any]:
    with http.send(method, url, {"Accept": "application/json", **headers}, body) as answer:
        content = answer.read(_MAX_BYTES)
        status = answer.status
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if status != 200 or not isinstance(found, dict):
        reason = f": {found.get('error')}" if isinstance(found, dict) else ""
        raise OpsError(f"{url} answered HTTP {status}{reason}.")
    return found
