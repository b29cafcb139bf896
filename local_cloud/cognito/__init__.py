"""User pools' own hosts: the token endpoint of each domain, and discovery documents that name it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from ..context import CloudContext, Receive, Scope, Send
from ..data_plane.http_message import Request, Response, exchange, unreachable

HOST = re.compile(r"(?P<prefix>[a-z0-9-]+)\.auth\.(?P<region>[a-z0-9-]+)\.amazoncognito\.com")
TOKEN_PATH = "/oauth2/token"  # noqa: S105
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "end_session_endpoint")


def install(context: CloudContext) -> None:
    """Serve the domains of user pools; the emulator has one token endpoint for all, at its own address."""
    from ministack.services import cognito  # type: ignore[import-untyped]

    from ..cloudformation import patching, registry

    registry.amend_attributes(
        "AWS::Cognito::UserPool", lambda pool_id, _props: {"ProviderURL": _issuer(pool_id)}
    )
    patching.wrap(cognito, "well_known_openid_configuration", _naming_the_domain)
    context.route_host(lambda host: HOST.fullmatch(host) is not None, serve)


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """A domain over HTTP."""
    await exchange(scope, receive, send, _respond)


async def _respond(request: Request) -> Response:
    from ministack.services import cognito

    host = request.header("host").lower().partition(":")[0]
    match = HOST.fullmatch(host)
    pool_id = _pool_of(match["prefix"], match["region"]) if match else None
    if pool_id is None:
        return unreachable(f"no user pool has the domain {host}", 404)
    if request.target != TOKEN_PATH:
        return unreachable(f"the local cloud has no {request.target} at a user pool's domain", 404)
    if request.method != "POST":
        return Response.of(405, [("allow", "POST")])
    form = {name: values[0] for name, values in parse_qs(request.body.decode("utf-8", "replace")).items()}
    if form.get("grant_type") != "client_credentials":
        return _error("unsupported_grant_type")
    headers = request.header_map()
    client_id, _secret = cognito._authenticate_client(headers, form)
    # A client is its own pool's; the emulator looks through all of them.
    if cognito._find_pool_by_client_id(client_id)[0] != pool_id:
        return _error("invalid_client")
    status, answered, body = await cognito.handle_oauth2_token("POST", TOKEN_PATH, headers, request.body, {})
    return Response.of(status, [(name.lower(), value) for name, value in answered.items()], body)


def _issuer(pool_id: str) -> str:
    return f"https://cognito-idp.{pool_id.partition('_')[0]}.amazonaws.com/{pool_id}"


def _pool_of(prefix: str, region: str) -> str | None:
    from ministack.services import cognito

    for (_account, place, domain), pool_id in cognito._pool_domain_map.all_items():
        if (place, domain) == (region, prefix):
            return str(pool_id)
    return None


def _error(code: str) -> Response:
    return Response.of(400, [("content-type", "application/json")], json.dumps({"error": code}).encode())


def _naming_the_domain(original: Callable[..., Any]) -> Callable[..., Any]:
    """As on AWS, endpoints are those of the pool's domain, and a pool without one has none."""
    from ministack.services import cognito

    def document(pool_id: str, *arguments: Any, **keywords: Any) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = original(pool_id, *arguments, **keywords)
        content = json.loads(body)
        region = cognito._pool_region(pool_id)
        for name in _ENDPOINTS:
            path = content.pop(name).partition("://")[2].partition("/")[2]
            for (_account, place, domain), owner in cognito._pool_domain_map.all_items():
                if (place, owner) == (region, pool_id):
                    content[name] = f"https://{domain}.auth.{region}.amazoncognito.com/{path}"
        content["jwks_uri"] = f"{content['issuer']}/.well-known/jwks.json"
        return status, headers, json.dumps(content).encode()

    return document
