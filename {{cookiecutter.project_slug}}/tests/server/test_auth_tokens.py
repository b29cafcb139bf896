"""Real servers, one for each way of authorizing, and every token they must refuse."""

import base64
import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

CALL = {"jsonrpc": "2.0", "id": "1", "method": "tools/call"}
BODY = json.dumps({**CALL, "params": {"name": "simpleadd", "arguments": {"a": 10, "b": 20}}}).encode()
Headers = list[tuple[str, str]]


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def send(server: Any, headers: Headers, path: str = "/mcp", method: str = "POST") -> Answer:
    """Send exactly these headers, equal names included."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=15)
    with contextlib.closing(connection):
        connection.putrequest(method, path)
        for name, value in [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(BODY))),
            *headers,
        ]:
            connection.putheader(name, value.encode("latin-1", "replace") if not value.isascii() else value)
        connection.endheaders(BODY)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())


def bearer(token: str, scheme: str = "Bearer") -> Headers:
    return [("Authorization", f"{scheme} {token}")]


@dataclass
class Kit:
    """What a case makes its request from: an issuer, and what a good token for the mode holds."""

    issuer: Any
    mode: str

    def claims(self, **changes: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.issuer.claims(self.mode, **changes)
        return found

    def token(self, **changes: Any) -> str:
        found: str = self.issuer.sign(self.claims(**changes))
        return found

    def headed(self, key: Any = None, **header: Any) -> str:
        found: str = self.issuer.sign(self.claims(), key, **header)
        return found

    def compact(self, header: object, payload: object, signature: Any) -> str:
        found: str = self.issuer.compact(header, payload, signature)
        return found

    def signed(self, payload: object) -> str:
        header = {"alg": "RS256", "kid": self.issuer.key.key_id}
        return self.compact(header, payload, self.issuer.key.sign)


def now() -> int:
    return int(time.time())


def with_part(token: str, part: int, change: Callable[[str], str]) -> str:
    parts = token.split(".")
    parts[part] = change(parts[part])
    return ".".join(parts)


def other_subject(payload: str) -> str:
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return base64.urlsafe_b64encode(json.dumps({**claims, "sub": "admin"}).encode()).rstrip(b"=").decode()


RS256 = {"alg": "RS256", "kid": "key-1"}
Case = Callable[[Kit], str]
# Every token here is refused with 401 in both modes.
TOKENS: dict[str, Case] = {
    "empty": lambda kit: "",
    "garbage": lambda kit: "garbage",
    "one part missing": lambda kit: kit.token().rpartition(".")[0],
    "signature missing": lambda kit: kit.token().rpartition(".")[0] + ".",
    "five parts": lambda kit: f"{kit.token()}.e30.e30",
    "padded": lambda kit: kit.token() + "==",
    "a space inside": lambda kit: kit.token().replace(".", ". ", 1),
    "two tokens with a comma": lambda kit: f"{kit.token()}, {kit.token()}",
    "not ascii": lambda kit: kit.token() + "\xe9",
    "alg none": lambda kit: kit.compact({"alg": "none", "kid": "key-1"}, kit.claims(), b""),
    "alg none with signature": lambda kit: kit.headed(alg="none"),
    "alg NoNe": lambda kit: kit.headed(alg="NoNe"),
    "alg missing": lambda kit: kit.headed(alg=...),
    "alg null": lambda kit: kit.headed(alg=None),
    "alg a list": lambda kit: kit.headed(alg=["RS256"]),
    "alg in small letters": lambda kit: kit.headed(alg="rs256"),
    "HS256 with the public key as PEM": lambda kit: kit.compact(
        {**RS256, "alg": "HS256"}, kit.claims(), kit.issuer.hs256(kit.issuer.key.pem())
    ),
    "HS256 with the public key as JWK": lambda kit: kit.compact(
        {**RS256, "alg": "HS256"}, kit.claims(), kit.issuer.hs256(json.dumps(kit.issuer.key.jwk()).encode())
    ),
    "HS256 with the modulus": lambda kit: kit.compact(
        {**RS256, "alg": "HS256"}, kit.claims(), kit.issuer.hs256(kit.issuer.key.jwk()["n"].encode())
    ),
    "HS256 with nothing": lambda kit: kit.compact(
        {**RS256, "alg": "HS256"}, kit.claims(), kit.issuer.hs256(b"")
    ),
    "RS256 said, HS256 done": lambda kit: kit.compact(
        RS256, kit.claims(), kit.issuer.hs256(kit.issuer.key.pem())
    ),
    "RS512 by the right key": lambda kit: kit.compact(
        {**RS256, "alg": "RS512"}, kit.claims(), lambda data: kit.issuer.key.sign(data, "RS512")
    ),
    "PS256 by the right key": lambda kit: kit.compact(
        {**RS256, "alg": "PS256"}, kit.claims(), lambda data: kit.issuer.key.sign(data, "PS256")
    ),
    "another key under the same id": lambda kit: kit.headed(kit.issuer.attacker),
    "another key of the issuer": lambda kit: kit.headed(kit.issuer.spare, kid="key-1"),
    "unknown key id": lambda kit: kit.headed(kid="key-9"),
    "unknown key id and key": lambda kit: kit.headed(kit.issuer.attacker, kid="key-9"),
    "no key id among several keys": lambda kit: kit.headed(kid=...),
    "key id null": lambda kit: kit.headed(kid=None),
    "key id empty": lambda kit: kit.headed(kid=""),
    "key id a number": lambda kit: kit.headed(kid=1),
    "key id a list": lambda kit: kit.headed(kid=["key-1"]),
    "key id an object": lambda kit: kit.headed(kid={"key-1": 1}),
    "key id a path": lambda kit: kit.headed(kid="../../../../../../dev/null"),
    "key id an address": lambda kit: kit.headed(kit.issuer.attacker, kid="http://127.0.0.1:9/key"),
    "key id a query": lambda kit: kit.headed(kit.issuer.attacker, kid="x' UNION SELECT 'key' --"),
    "key id with a null": lambda kit: kit.headed(kid="key-1\0"),
    "key id that looks alike": lambda kit: kit.headed(kid="k\u0435y-1"),
    "key id of emoji": lambda kit: kit.headed(kid="\U0001f511\ud800"),
    "key for encryption": lambda kit: kit.headed(kid="for-secrets"),
    "jwk in the header": lambda kit: kit.headed(kit.issuer.attacker, jwk=kit.issuer.attacker.jwk()),
    "jwk in the header, id unknown": lambda kit: kit.headed(
        kit.issuer.attacker, kid="own", jwk=kit.issuer.attacker.jwk(kid="own")
    ),
    "jku in the header": lambda kit: kit.headed(
        kit.issuer.attacker, kid="own", jku=f"{kit.issuer.origin}/attacker/keys"
    ),
    "x5u in the header": lambda kit: kit.headed(
        kit.issuer.attacker, x5u=f"{kit.issuer.origin}/attacker/keys"
    ),
    "x5c in the header": lambda kit: kit.headed(
        kit.issuer.attacker, x5c=[base64.b64encode(kit.issuer.attacker.pem()).decode()]
    ),
    "payload changed": lambda kit: with_part(kit.token(), 1, other_subject),
    "signature changed": lambda kit: with_part(
        kit.token(), 2, lambda s: ("B" if s[0] == "A" else "A") + s[1:]
    ),
    "signature cut": lambda kit: with_part(kit.token(), 2, lambda s: s[:-8]),
    "signature of another token": lambda kit: with_part(
        kit.token(), 2, lambda _: kit.token(sub="x").split(".")[2]
    ),
    "signature of zeros": lambda kit: kit.compact(RS256, kit.claims(), b"\0" * 256),
    "critical header": lambda kit: kit.headed(crit=["exp"], exp=1),
    "critical header, registered": lambda kit: kit.headed(crit=["kid"]),
    "critical header, empty": lambda kit: kit.headed(crit=[]),
    "critical header, null": lambda kit: kit.headed(crit=None),
    "critical header, b64": lambda kit: kit.headed(crit=["b64"], b64=False),
    "type of a logout token": lambda kit: kit.headed(typ="logout+jwt"),
    "type of a DPoP proof": lambda kit: kit.headed(typ="dpop+jwt"),
    "type a list": lambda kit: kit.headed(typ=["JWT"]),
    "header no object": lambda kit: kit.compact([], kit.claims(), kit.issuer.key.sign),
    "header no JSON": lambda kit: kit.compact(b"{", kit.claims(), kit.issuer.key.sign),
    "header no text": lambda kit: kit.compact(b"\xff\xfe", kit.claims(), kit.issuer.key.sign),
    "header nested": lambda kit: kit.compact(b'{"a":' + b"[" * 5000, kit.claims(), kit.issuer.key.sign),
    "payload no object": lambda kit: kit.signed([]),
    "payload no JSON": lambda kit: kit.signed(b"{"),
    "payload nested": lambda kit: kit.signed(b'{"a":' + b"[" * 8000),
    "huge": lambda kit: kit.token(extra="x" * 16_000),
    "huge garbage": lambda kit: "x" * 40_000,
    "other issuer": lambda kit: kit.token(iss="https://issuer.example"),
    "issuer missing": lambda kit: kit.token(iss=...),
    "issuer null": lambda kit: kit.token(iss=None),
    "issuer a list": lambda kit: kit.token(iss=[kit.issuer.url]),
    "issuer with a slash": lambda kit: kit.token(iss=f"{kit.issuer.url}/"),
    "issuer with more": lambda kit: kit.token(iss=f"{kit.issuer.url}2"),
    "issuer cut": lambda kit: kit.token(iss=kit.issuer.url[:-1]),
    "issuer in capitals": lambda kit: kit.token(iss=kit.issuer.url.upper()),
    "expired": lambda kit: kit.token(exp=now() - 3600),
    "expired just now": lambda kit: kit.token(exp=now() - 1),
    "no expiry": lambda kit: kit.token(exp=...),
    "expiry null": lambda kit: kit.token(exp=None),
    "expiry text": lambda kit: kit.token(exp=str(now() + 600)),
    "expiry true": lambda kit: kit.token(exp=True),
    "expiry a list": lambda kit: kit.token(exp=[now() + 600]),
    "expiry not a number": lambda kit: kit.token(exp=float("nan")),
    "expiry infinite": lambda kit: kit.token(exp=float("inf")),
    "expiry of 400 digits": lambda kit: kit.token(exp=10**400),
    "expiry of 5000 digits": lambda kit: kit.signed(b'{"exp":' + b"9" * 5000 + b"}"),
    "expiry twice": lambda kit: kit.signed(
        json.dumps(kit.claims()).encode()[:-1] + b', "exp": %d}' % (now() - 60)
    ),
    "not yet valid": lambda kit: kit.token(nbf=now() + 3600),
    "not yet valid for two minutes": lambda kit: kit.token(nbf=now() + 120),
    "not-before text": lambda kit: kit.token(nbf="0"),
    "not-before null": lambda kit: kit.token(nbf=None),
    "not-before not a number": lambda kit: kit.token(nbf=float("nan")),
    "from the future": lambda kit: kit.token(iat=now() + 3600),
    "use of an ID token": lambda kit: kit.token(token_use="id"),
    "use of a refresh token": lambda kit: kit.token(token_use="refresh"),
    "use in capitals": lambda kit: kit.token(token_use="ACCESS"),
    "use a list": lambda kit: kit.token(token_use=["access"]),
    "subject a list": lambda kit: kit.token(sub=["subject-1"]),
    "scope an object": lambda kit: kit.token(scope={"resource/read": True}),
    "scope a number": lambda kit: kit.token(scope=1),
    "scope a nested list": lambda kit: kit.token(scope=[["resource/read"]]),
}
JWT_TOKENS: dict[str, Case] = {
    "other audience": lambda kit: kit.token(aud="https://else.example/mcp"),
    "audience missing": lambda kit: kit.token(aud=...),
    "audience null": lambda kit: kit.token(aud=None),
    "audience empty": lambda kit: kit.token(aud=""),
    "audience an empty list": lambda kit: kit.token(aud=[]),
    "audience a list of others": lambda kit: kit.token(aud=["https://else.example/mcp", ""]),
    "audience a nested list": lambda kit: kit.token(aud=[["https://server.example/mcp", "other"]]),
    "audience the configured list": lambda kit: kit.token(aud="https://server.example/mcp other"),
    "audience an object": lambda kit: kit.token(aud={"https://server.example/mcp": 1}),
    "audience with more": lambda kit: kit.token(aud="https://server.example/mcp/evil"),
    "audience with a slash": lambda kit: kit.token(aud="https://server.example/mcp/"),
    "audience cut": lambda kit: kit.token(aud="https://server.example"),
    "audience in capitals": lambda kit: kit.token(aud="https://SERVER.example/mcp"),
    "audience a wildcard": lambda kit: kit.token(aud="*"),
    "an ID token": lambda kit: kit.token(at_hash="x", nonce="y"),
    "an ID token of Keycloak": lambda kit: kit.token(typ="ID"),
    "a refresh token of Keycloak": lambda kit: kit.token(typ="Refresh"),
    "a logout token": lambda kit: kit.token(events={}),
    "a token of Cognito": lambda kit: kit.issuer.sign(kit.issuer.claims("cognito")),
}
COGNITO_TOKENS: dict[str, Case] = {
    "use missing": lambda kit: kit.token(token_use=...),
    "use null": lambda kit: kit.token(token_use=None),
    "other client": lambda kit: kit.token(client_id="client-2"),
    "client missing": lambda kit: kit.token(client_id=...),
    "client null": lambda kit: kit.token(client_id=None),
    "client empty": lambda kit: kit.token(client_id=""),
    "client a list": lambda kit: kit.token(client_id=["client-1"]),
    "client with more": lambda kit: kit.token(client_id="client-10"),
    "client the configured list": lambda kit: kit.token(client_id="client-0,client-1"),
    "client as authorized party": lambda kit: kit.token(client_id=..., azp="client-1"),
    "client as audience": lambda kit: kit.token(client_id=..., aud="client-1"),
    "an ID token": lambda kit: kit.token(client_id=..., aud="client-1", token_use="id", scope=...),
    "an ID token with a client": lambda kit: kit.token(aud="client-1", token_use="id"),
    "for another resource": lambda kit: kit.token(aud="https://else.example/mcp"),
    "for other resources": lambda kit: kit.token(aud=["https://else.example/mcp"]),
    "for no resource": lambda kit: kit.token(aud=[]),
    "scope a list": lambda kit: kit.token(scope=["resource/read"]),
    "a token of the other mode": lambda kit: kit.issuer.sign(kit.issuer.claims("jwt")),
}
# Valid tokens that may not call: 403.
SCOPES: dict[str, Any] = {
    "missing": ...,
    "empty": "",
    "another": "resource/write",
    "longer": "resource/readonly",
    "shorter": "resource/rea",
    "with a slash": "resource/read/",
    "below": "resource/read/all",
    "without its resource": "read",
    "resource alone": "resource",
    "resource and slash": "resource/",
    "another resource": "other/read",
    "a resource that ends alike": "my-resource/read",
    "a resource below another": "other/resource/read",
    "in capitals": "Resource/Read",
    "with a comma": "resource/read,other",
    "with a line end": "resource/read\n",
    "behind a wide space": "openid\u2003resource/read",
    "behind a tab": "openid\tresource/read",
    "percent-encoded": "resource%2Fread",
    "a wildcard": "resource/*",
    "looks alike": "resource/re\u0430d",
    "in two halves": "resource /read",
    "reserved ones": "openid profile aws.cognito.signin.user.admin",
}
REQUESTS: dict[str, Callable[[Kit], tuple[int, Headers, str]]] = {
    "no header": lambda kit: (401, [], "/mcp"),
    "no header, with a slash": lambda kit: (401, [], "/mcp/"),
    "no header, two slashes": lambda kit: (401, [], "/mcp//"),
    "empty header": lambda kit: (401, [("Authorization", "")], "/mcp"),
    "scheme alone": lambda kit: (401, [("Authorization", "Bearer")], "/mcp"),
    "token alone": lambda kit: (401, [("Authorization", kit.token())], "/mcp"),
    "basic": lambda kit: (401, [("Authorization", f"Basic {kit.token()}")], "/mcp"),
    "another scheme": lambda kit: (401, [("Authorization", f"DPoP {kit.token()}")], "/mcp"),
    "scheme glued on": lambda kit: (401, [("Authorization", f"Bearer{kit.token()}")], "/mcp"),
    "two spaces": lambda kit: (401, [("Authorization", f"Bearer  {kit.token()}")], "/mcp"),
    "quoted": lambda kit: (401, [("Authorization", f'Bearer "{kit.token()}"')], "/mcp"),
    "in the query": lambda kit: (401, [], f"/mcp?access_token={kit.token()}"),
    "in a cookie": lambda kit: (401, [("Cookie", f"access_token={kit.token()}")], "/mcp"),
    "for a proxy": lambda kit: (401, [("Proxy-Authorization", f"Bearer {kit.token()}")], "/mcp"),
    "forwarded": lambda kit: (401, [("X-Forwarded-Authorization", f"Bearer {kit.token()}")], "/mcp"),
    "another header's spelling": lambda kit: (401, [("Authorization_", f"Bearer {kit.token()}")], "/mcp"),
    "good, then bad": lambda kit: (400, bearer(kit.token()) + bearer("x.y.z"), "/mcp"),
    "bad, then good": lambda kit: (400, bearer("x.y.z") + bearer(kit.token()), "/mcp"),
    "good twice": lambda kit: (400, bearer(kit.token()) * 2, "/mcp"),
    "basic, then good": lambda kit: (400, [("Authorization", "Basic eDp5"), *bearer(kit.token())], "/mcp"),
}
GOOD: dict[str, Callable[[Kit], Headers]] = {
    "plain": lambda kit: bearer(kit.token()),
    "scheme in small letters": lambda kit: bearer(kit.token(), "bearer"),
    "scheme in capitals": lambda kit: bearer(kit.token(), "BEARER"),
    "by the second key": lambda kit: bearer(kit.headed(kit.issuer.spare)),
    "typed as JWT": lambda kit: bearer(kit.headed(typ="JWT")),
    "typed as access token": lambda kit: bearer(kit.headed(typ="at+jwt")),
    "more scopes": lambda kit: bearer(kit.token(scope="openid resource/read resource/write")),
    "issued by a clock ahead": lambda kit: bearer(kit.token(iat=now() + 30, nbf=now() + 30)),
    "expiry with a fraction": lambda kit: bearer(kit.token(exp=now() + 600.5)),
    "for this server": lambda kit: bearer(kit.token(aud="https://server.example/mcp")),
    "for several servers": lambda kit: bearer(
        kit.token(aud=["https://x.example", "https://server.example/mcp"])
    ),
}
JWT_GOOD: dict[str, Callable[[Kit], Headers]] = {
    "the other audience": lambda kit: bearer(kit.token(aud="other")),
    "scopes as a list": lambda kit: bearer(kit.token(scope=["openid", "resource/read"])),
    "scopes as scp": lambda kit: bearer(kit.token(scope=..., scp=["resource/read"])),
    "a token without client": lambda kit: bearer(kit.token(client_id=...)),
}
COGNITO_GOOD: dict[str, Callable[[Kit], Headers]] = {
    "the other client": lambda kit: bearer(kit.token(client_id="client-0")),
    "a machine's token": lambda kit: bearer(kit.token(username=..., sub="client-1")),
}


def serve(issuer: Any, start: Any, mode: str) -> Iterator[tuple[Any, Kit]]:
    # A line for each of hundreds of refusals would only take time.
    with start(**issuer.environment(mode, LOG_LEVEL="CRITICAL")) as server:
        yield server, Kit(issuer, mode)


@pytest.fixture(scope="module")
def jwt(shared_issuer: Any, start: Any) -> Iterator[tuple[Any, Kit]]:
    yield from serve(shared_issuer, start, "jwt")


@pytest.fixture(scope="module")
def cognito(shared_issuer: Any, start: Any) -> Iterator[tuple[Any, Kit]]:
    yield from serve(shared_issuer, start, "cognito")


def refused(pair: tuple[Any, Kit], case: Case) -> None:
    server, kit = pair
    answer = send(server, bearer(case(kit)))
    assert answer.status == 401, answer.body
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert b"result" not in answer.body
    # What refuses it is the token: the same request with a good one is answered.
    assert send(server, bearer(kit.token())).status == 200


@pytest.mark.parametrize("name", TOKENS | JWT_TOKENS)
def test_a_hostile_token_is_refused(jwt: tuple[Any, Kit], name: str) -> None:
    refused(jwt, (TOKENS | JWT_TOKENS)[name])


@pytest.mark.parametrize("name", TOKENS | COGNITO_TOKENS)
def test_a_hostile_token_is_refused_for_cognito(cognito: tuple[Any, Kit], name: str) -> None:
    refused(cognito, (TOKENS | COGNITO_TOKENS)[name])


@pytest.mark.parametrize("mode", ["jwt", "cognito"])
@pytest.mark.parametrize("name", SCOPES)
def test_a_missing_scope_is_forbidden(request: pytest.FixtureRequest, mode: str, name: str) -> None:
    server, kit = request.getfixturevalue(mode)
    answer = send(server, bearer(kit.token(scope=SCOPES[name])))
    assert answer.status == 403, answer.body
    challenge = answer.headers["WWW-Authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="resource/read"' in challenge
    assert 'resource_metadata="https://server.example/.well-known/oauth-protected-resource/mcp"' in challenge


@pytest.mark.parametrize("mode", ["jwt", "cognito"])
@pytest.mark.parametrize("name", REQUESTS)
def test_a_token_counts_in_one_authorization_header_only(
    request: pytest.FixtureRequest, mode: str, name: str
) -> None:
    server, kit = request.getfixturevalue(mode)
    status, headers, path = REQUESTS[name](kit)
    answer = send(server, headers, path)
    assert answer.status == status, answer.body
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith("Bearer")
    assert ('error="invalid_request"' in challenge) == (status == 400)


@pytest.mark.parametrize("name", GOOD | JWT_GOOD)
def test_a_good_token_is_let_in(jwt: tuple[Any, Kit], name: str) -> None:
    server, kit = jwt
    answer = send(server, (GOOD | JWT_GOOD)[name](kit))
    assert answer.status == 200, answer.body
    assert json.loads(answer.body)["result"]["structuredContent"] == {"result": 30}


@pytest.mark.parametrize("name", GOOD | COGNITO_GOOD)
def test_a_good_token_is_let_in_for_cognito(cognito: tuple[Any, Kit], name: str) -> None:
    server, kit = cognito
    answer = send(server, (GOOD | COGNITO_GOOD)[name](kit))
    assert answer.status == 200, answer.body
    assert json.loads(answer.body)["result"]["structuredContent"] == {"result": 30}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
def test_no_method_goes_round_the_guard(jwt: tuple[Any, Kit], method: str) -> None:
    assert send(jwt[0], [], method=method).status in {401, 405}


def test_no_header_in_a_token_makes_a_request(jwt: tuple[Any, Kit]) -> None:
    server, kit = jwt
    for name in ("jku in the header", "x5u in the header"):
        send(server, bearer(TOKENS[name](kit)))
    assert not [path for path in kit.issuer.requests if "attacker" in path]
