"""What a guarded server says to those it doesn't let in, while its issuer comes and goes."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

SIMPLEADD = {"name": "simpleadd", "arguments": {"a": 10, "b": 20}}
INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}
Start = Callable[..., AbstractContextManager[Any]]


def call(server: Any, token: str | None = None) -> Any:
    return server.rpc(
        "tools/call", SIMPLEADD, **({} if token is None else {"Authorization": f"Bearer {token}"})
    )


def eventually(ask: Callable[[], Any], status: int) -> Any:
    deadline = time.monotonic() + 15
    while (answer := ask()).status != status:
        assert time.monotonic() < deadline, f"{answer.status} instead of {status}: {answer.body!r}"
        time.sleep(0.2)
    return answer


@pytest.mark.parametrize("mode", ["jwt", "cognito"])
def test_who_asks_is_told_where_to_get_a_token(issuer: Any, start: Start, mode: str) -> None:
    with start(**issuer.environment(mode)) as server:
        answer = call(server)
        assert answer.status == 401
        metadata = "https://server.example/.well-known/oauth-protected-resource/mcp"
        assert answer.headers["www-authenticate"] == (
            f'Bearer scope="resource/read", resource_metadata="{metadata}"'
        )
        bad = call(server, "x.y.z")
        assert bad.status == 401
        assert 'error="invalid_token"' in bad.headers["www-authenticate"]
        assert f'resource_metadata="{metadata}"' in bad.headers["www-authenticate"]
        published = server.request("GET", "/.well-known/oauth-protected-resource/mcp")
        assert published.status == 200
        assert published.json() == {
            "resource": "https://server.example/mcp",
            "authorization_servers": [issuer.url],
            "scopes_supported": ["resource/read"],
            "bearer_methods_supported": ["header"],
        }
        # Tokens that no key can make good need no key.
        for header in ({"alg": "none"}, {"alg": "HS256"}, {"kid": ["key-1"]}, {"crit": ["exp"]}):
            assert call(server, issuer.sign(issuer.claims(mode), **header)).status == 401
        assert issuer.requests == []


def test_a_server_that_does_not_know_its_address_is_guarded_too(issuer: Any, start: Start) -> None:
    with start(**issuer.environment("jwt", AUTH_RESOURCE_URL="", AUTH_REQUIRED_SCOPES="")) as server:
        answer = call(server)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert server.request("GET", "/.well-known/oauth-protected-resource/mcp").status == 404
        assert call(server, issuer.sign(issuer.claims("jwt", aud="x"))).status == 401
        assert call(server, issuer.sign(issuer.claims("jwt", scope=...))).status == 200


@pytest.mark.parametrize("mode", ["jwt", "cognito"])
def test_an_issuer_out_of_reach_is_503_after_the_grace_period_and_never_an_open_door(
    issuer: Any, start: Start, mode: str
) -> None:
    good = issuer.sign(issuer.claims(mode))
    bad = issuer.sign(issuer.claims(mode), issuer.attacker)
    with start(**issuer.environment(mode, AUTH_JWKS_MAX_AGE="1", AUTH_JWKS_GRACE="3")) as server:
        issuer.down = True
        never = call(server, good)
        assert never.status == 503
        assert 1 <= int(never.headers["retry-after"]) <= 10
        assert never.json()["error"] == "temporarily_unavailable"
        assert call(server).status == 401
        assert call(server, "x.y.z").status == 401
        assert server.request("GET", "/health", headers={"Authorization": f"Bearer {good}"}).status == 200
        issuer.down = False
        eventually(lambda: call(server, good), 200)
        issuer.down = True
        reached = time.monotonic()
        # With keys of at most a second and three seconds of grace.
        while time.monotonic() < reached + 2:
            assert call(server, good).status == 200
            assert call(server, bad).status == 401
            time.sleep(0.2)
        eventually(lambda: call(server, good), 503)
        assert time.monotonic() < reached + 6
        assert call(server, bad).status == 503
        assert server.request("GET", "/health").status == 200
        issuer.down = False
        eventually(lambda: call(server, good), 200)
        assert call(server, bad).status == 401


def test_keys_that_change_hands(issuer: Any, start: Start) -> None:
    with start(**issuer.environment("jwt", AUTH_JWKS_MAX_AGE="2")) as server:
        old = issuer.sign(issuer.claims("jwt"))
        assert call(server, old).status == 200
        new = issuer.Key("key-3")
        issuer.keys = [new.jwk()]
        fresh = issuer.sign(issuer.claims("jwt"), new)
        eventually(lambda: call(server, fresh), 200)
        eventually(lambda: call(server, old), 401)


def test_a_token_found_good_before_ends_with_its_time_and_with_its_key(issuer: Any, start: Start) -> None:
    with start(**issuer.environment("jwt", AUTH_JWKS_MAX_AGE="1", AUTH_JWKS_GRACE="60")) as server:
        brief = issuer.sign(issuer.claims("jwt", exp=int(time.time()) + 2))
        lasting = issuer.sign(issuer.claims("jwt"))
        assert [call(server, token).status for token in (brief, lasting, brief, lasting)] == [200] * 4
        eventually(lambda: call(server, brief), 401)
        assert call(server, lasting).status == 200
        issuer.keys = [issuer.spare.jwk()]
        eventually(lambda: call(server, lasting), 401)


def test_only_so_many_tokens_are_remembered(package: Callable[[str], Any]) -> None:
    verifier = package("auth.verifier")
    key = verifier.KeyVerifier(None)
    access = {"client_id": "c", "scopes": [], "claims": {"exp": time.time() + 60}}
    for number in range(verifier.REMEMBERED_TOKENS + 1):
        key.remember(f"token-{number}", verifier.AccessToken(token=f"token-{number}", **access))
    assert key.known("token-0") is None
    assert key.known("token-1").token == "token-1"
    assert key.known(f"token-{verifier.REMEMBERED_TOKENS}") is not None
    access["claims"] = {"exp": time.time() - 0.001}
    key.remember("over", verifier.AccessToken(token="over", **access))
    assert key.known("over") is None


def test_another_algorithm(issuer: Any, start: Start) -> None:
    key = issuer.EcKey("curve")
    issuer.keys.append(key.jwk())
    with start(**issuer.environment("jwt", AUTH_ALGORITHM="ES256")) as server:
        claims = issuer.claims("jwt")
        assert call(server, issuer.compact({"alg": "ES256", "kid": "curve"}, claims, key.sign)).status == 200
        assert call(server, issuer.sign(claims)).status == 401
        assert (
            call(server, issuer.compact({"alg": "ES256", "kid": "curve"}, claims, b"\0" * 64)).status == 401
        )


def test_edwards_curves(issuer: Any, start: Start) -> None:
    key = issuer.EdKey("edwards")
    issuer.keys.append(key.jwk())
    with start(**issuer.environment("jwt", AUTH_ALGORITHM="EdDSA")) as server:
        token = issuer.compact({"alg": "EdDSA", "kid": "edwards"}, issuer.claims("jwt"), key.sign)
        assert call(server, token).status == 200
        assert call(server, token[:-8] + "AAAAAAAA").status == 401


def test_keys_from_a_configured_address(issuer: Any, start: Start) -> None:
    issuer.documents = {"/elsewhere": {"keys": [issuer.spare.jwk()]}}
    with start(**issuer.environment("jwt", AUTH_JWKS_URL=f"{issuer.origin}/elsewhere")) as server:
        assert call(server, issuer.sign(issuer.claims("jwt"), issuer.spare)).status == 200
        # The only key there is needs no id.
        assert call(server, issuer.sign(issuer.claims("jwt"), issuer.spare, kid=...)).status == 200
        assert call(server, issuer.sign(issuer.claims("jwt"))).status == 401
    assert set(issuer.requests) == {"/elsewhere"}


@pytest.mark.parametrize("mode", ["jwt", "cognito"])
def test_neither_tokens_nor_claims_are_logged(issuer: Any, start: Start, mode: str) -> None:
    private = {"sub": "private-subject", "email": "private-mail", "username": "private-name"}
    ending = {"iss": "private-issuer", "aud": "private-audience", "scope": "private-scope"}
    claims = [
        issuer.claims(mode, **private),
        *(issuer.claims(mode, **private, **{name: value}) for name, value in ending.items()),
        issuer.claims(mode, **private, client_id="private-client", exp=int(time.time()) - 5),
        issuer.claims(mode, **private, client_id="private-client", token_use="private-use"),
        issuer.claims(mode, **private, exp="private-time"),
    ]
    tokens = [issuer.sign(each) for each in claims]
    tokens += [issuer.sign(claims[0], kid="private-key"), issuer.sign(claims[0], typ="private-type")]
    with start(**issuer.environment(mode, LOG_LEVEL="DEBUG")) as server:
        statuses = [call(server, token).status for token in tokens]
        server.request("POST", f"/mcp?access_token={tokens[0]}", b"{}")
        lines = server.stop()
    assert statuses[0] == 200
    assert set(statuses[1:]) == {401, 403}
    output = "\n".join(lines)
    assert "private-" not in output
    assert not any(part in output for token in tokens for part in token.split("."))
    reasons = {json.loads(line).get("reason") for line in lines}
    assert {"signature, issuer, audience or expiry", "the issuer has no such key"} <= reasons


def test_a_session_belongs_to_who_began_it(issuer: Any, start: Start) -> None:
    def headers(**claims: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {issuer.sign(issuer.claims('jwt', **claims))}"}

    with start(**issuer.environment("jwt", MCP_STATEFUL="true")) as server:
        begun = server.rpc("initialize", INITIALIZE, **headers())
        assert begun.status == 200
        session = {"mcp_session_id": begun.headers["mcp-session-id"], "MCP_Protocol_Version": "2025-06-18"}
        assert server.rpc("tools/call", SIMPLEADD, **session, **headers()).status == 200
        assert server.rpc("tools/call", SIMPLEADD, **session, **headers(sub="another")).status == 404
        assert server.rpc("tools/call", SIMPLEADD, **session).status == 401
        assert server.request("GET", "/mcp", headers={"Accept": "text/event-stream"}).status == 401
        server.stop()


def test_a_server_without_a_guard_imports_none(command: Any) -> None:

    process = command()
    name = process["args"][2]
    code = (
        f"import sys, {name}.app as app, {name}.settings as settings\n"
        "app.build_app(settings.load_settings())\n"
        f"print([each for each in sys.modules if each.startswith('{name}.auth.')])"
    )
    process["args"] = [sys.executable, "-c", code]
    assert subprocess.check_output(**process, text=True, timeout=30) == "[]\n"


def test_stdio_knows_no_tokens(issuer: Any, command: Any) -> None:

    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}
    answer = subprocess.run(
        **command("--stdio", **issuer.environment("jwt")),
        input=json.dumps(message) + "\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert json.loads(answer.stdout.splitlines()[0])["result"]["protocolVersion"] == "2025-06-18"
    assert issuer.requests == []
