# ruff: noqa: N803 - the services' own parameter names
"""An issuer of tokens on loopback, and Secrets Manager with the one secret of its client."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl

from tests.custom_resources.fakes import Backend

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:gateway-AbCdEf"
SECRET = "hunter2/+"
ISSUED = "issued-token"


class Issuer:
    """A discovery document, a key set and a token endpoint."""

    def __init__(self) -> None:
        self.url = ""
        self.discovery: dict[str, Any] = {}
        self.keys: Any = {"keys": [{"kty": "RSA", "kid": "1", "n": "n", "e": "AQAB"}]}
        self.token: tuple[int, Any] = (200, {"access_token": ISSUED, "token_type": "Bearer"})
        self.requests: list[tuple[str, dict[str, str], dict[str, str]]] = []

    @property
    def discovery_url(self) -> str:
        return f"{self.url}/.well-known/openid-configuration"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0))).decode()
        headers = {key.lower(): value for key, value in handler.headers.items()}
        self.requests.append((handler.path, headers, dict(parse_qsl(body))))
        documents = {"/.well-known/openid-configuration": self.discovery, "/keys": self.keys}
        status, content = self.token if handler.path == "/token" else (200, documents.get(handler.path))
        reply = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(status)
        if status == 302:
            handler.send_header("Location", f"{self.url}/elsewhere")
        handler.send_header("Content-Length", str(len(reply)))
        handler.end_headers()
        handler.wfile.write(reply)


class Secrets(Backend):
    """Secrets Manager with one secret."""

    def __init__(self, content: str = "") -> None:
        super().__init__()
        self.content = content

    def get_secret_value(self, SecretId: str) -> dict[str, Any]:
        assert SecretId == ARN
        return {"ARN": ARN, "SecretString": self.content}

    def put_secret_value(self, SecretId: str, SecretString: str, **_: Any) -> dict[str, Any]:
        assert SecretId == ARN
        self.content = SecretString
        return {"ARN": ARN}
