"""An issuer of tokens on loopback, with real signing keys."""

import base64
import functools
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Header = dict[str, Any]
Claims = dict[str, Any]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@functools.cache
def rsa_key(_name: str, bits: int) -> rsa.RSAPrivateKey:
    """Make an RSA key once for a run of the tests: each takes a noticeable while."""
    return rsa.generate_private_key(65537, bits)


class Key:
    """An RSA key pair that signs, with the id it is published under; `name` tells keys of one id apart."""

    def __init__(self, key_id: str, bits: int = 2048, name: str = "") -> None:
        self.key_id = key_id
        self.private = rsa_key(name or key_id, bits)

    def jwk(self, **members: Any) -> dict[str, Any]:
        public = self.private.public_key().public_numbers()
        found = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.key_id}
        return {**found, "n": number(public.n), "e": number(public.e), **members}

    def pem(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data: bytes, algorithm: str = "RS256") -> bytes:
        if algorithm == "PS256":
            return self.private.sign(data, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
        return self.private.sign(data, padding.PKCS1v15(), SHA512() if algorithm == "RS512" else SHA256())


class EcKey:
    """A P-256 key pair that signs with ES256."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        self.private = ec.generate_private_key(ec.SECP256R1())

    def jwk(self) -> dict[str, Any]:
        public = self.private.public_key().public_numbers()
        x, y = b64(public.x.to_bytes(32, "big")), b64(public.y.to_bytes(32, "big"))
        return {"kty": "EC", "crv": "P-256", "kid": self.key_id, "x": x, "y": y}

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class EdKey:
    """An Ed25519 key pair."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        self.private = ed25519.Ed25519PrivateKey.generate()

    def jwk(self) -> dict[str, Any]:
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "kid": self.key_id,
            "x": b64(self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)),
        }

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data)


def compact(header: object, payload: object, signature: Any) -> str:
    """Join a token; bytes go in as they are, and `signature` is bytes or makes them from what it signs."""
    parts = [
        b64(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, payload)
    ]
    signed = ".".join(parts).encode()
    return ".".join((*parts, b64(signature if isinstance(signature, bytes) else signature(signed))))


def hs256(secret: bytes) -> Any:
    return lambda data: hmac.new(secret, data, hashlib.sha256).digest()


class Issuer:
    """Publishes `keys` over HTTP; `documents` answers other paths, `down` everything with 500."""

    # Test modules can't import this one.
    compact = staticmethod(compact)
    hs256 = staticmethod(hs256)
    Key, EcKey, EdKey = Key, EcKey, EdKey

    def __init__(self) -> None:
        self.key, self.spare, self.attacker = Key("key-1"), Key("key-2"), Key("key-1", name="attacker")
        self.keys = [self.key.jwk(), self.spare.jwk(), Key("for-secrets").jwk(use="enc")]
        self.down = False
        self.requests: list[str] = []
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests.append(self.path)
                body = json.dumps(issuer.document(self.path)).encode()
                self.send_response(500 if issuer.down or body == b"null" else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        self.url = f"{self.origin}/us-east-1_example"
        self.documents: dict[str, Any] = {
            "/us-east-1_example/.well-known/openid-configuration": {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/.well-known/jwks.json",
            }
        }
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def document(self, path: str) -> Any:
        if path == "/us-east-1_example/.well-known/jwks.json":
            return {"keys": self.keys}
        return self.documents.get(path)

    def claims(self, mode: str, **changes: Any) -> Claims:
        """Return what a good token holds, changed; a change to `...` takes the claim out."""
        now = int(time.time())
        found = {"iss": self.url, "sub": "subject-1", "iat": now, "exp": now + 600, "scope": "resource/read"}
        if mode == "jwt":
            found |= {"aud": "https://server.example/mcp", "client_id": "client-1"}
        else:
            found |= {"client_id": "client-1", "token_use": "access", "username": "user-1", "version": 2}
        return {name: value for name, value in (found | changes).items() if value is not ...}

    def sign(self, claims: object, key: Key | None = None, **header: Any) -> str:
        """Sign with the published key, or another; header changes as with `claims`."""
        key = key or self.key
        found = {"alg": "RS256", "kid": key.key_id, **header}
        found = {name: value for name, value in found.items() if value is not ...}
        return compact(found, claims, key.sign)

    def environment(self, mode: str, **changes: str) -> dict[str, str]:
        """Return the settings of a server that trusts this issuer."""
        own = {"AUTH_AUDIENCE": "https://server.example/mcp other"}
        if mode == "cognito":
            own = {"AUTH_CLIENT_IDS": "client-0,client-1"}
        return {
            "AUTH_MODE": mode,
            "AUTH_ISSUER": self.url,
            "AUTH_REQUIRED_SCOPES": "resource/read",
            "AUTH_RESOURCE_URL": "https://server.example/mcp",
            **own,
            **changes,
        }

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """Return an issuer of the test's own."""
    found = Issuer()
    yield found
    found.stop()


@pytest.fixture(scope="session")
def shared_issuer() -> Iterator[Issuer]:
    """Return an issuer that no test changes."""
    found = Issuer()
    yield found
    found.stop()
