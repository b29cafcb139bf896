"""An inbox for CloudFormation's responses, a certificate for loopback, and a way to run handlers."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from custom_resources.lifecycle import Resource, lambda_handler_for
from tests.custom_resources.fakes import STACK_ID, Clock, Context
from tests.custom_resources.issuer_fakes import Issuer
from tests.custom_resources.servers import SIGNATURE, Inbox, McpServer, serving


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    """crhelper sets formatters and levels of the whole process."""
    root = logging.getLogger()
    level, formatters = root.level, [(handler, handler.formatter) for handler in root.handlers]
    yield
    root.setLevel(level)
    for handler, formatter in formatters:
        handler.setFormatter(formatter)
    for name in ("boto", "boto3", "botocore", "urllib3"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox()
    with serving(inbox.put) as port:
        inbox.url = f"http://127.0.0.1:{port}/response?{SIGNATURE}"
        yield inbox


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of localhost with its key, one PEM file that also serves as trust store."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def mcp_server(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[McpServer]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = McpServer()
    with serving(server.post, certificate) as port:
        server.url = f"https://localhost:{port}/mcp"
        yield server


def event(
    kind: str,
    properties: dict[str, Any],
    url: str,
    *,
    physical_id: str = "",
    old: dict[str, Any] | None = None,
    request_id: str = "request-1",
    logical_id: str = "Target",
    stack_id: str = STACK_ID,
) -> dict[str, Any]:
    """A request as CloudFormation sends it."""
    request: dict[str, Any] = {
        "RequestType": kind,
        "ResponseURL": url,
        "StackId": stack_id,
        "RequestId": request_id,
        "LogicalResourceId": logical_id,
        "ResourceType": "Custom::Any",
        "ResourceProperties": {
            "ServiceToken": "arn:aws:lambda:us-east-1:123456789012:function:f",
            **properties,
        },
    }
    if physical_id:
        request["PhysicalResourceId"] = physical_id
    if old is not None:
        request["OldResourceProperties"] = old
    return request


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(inbox: Inbox, clock: Clock, caplog: pytest.LogCaptureFixture) -> Run:
    """`run(resource, clients, kind, properties, …)` returns what CloudFormation was told."""

    def invoke(
        resource: type[Resource[Any]],
        clients: Any,
        kind: str,
        properties: dict[str, Any],
        *,
        seconds: float = 600.0,
        asked_at: str = "",
        **details: Any,
    ) -> dict[str, Any]:
        before = len(inbox.bodies)
        handler = lambda_handler_for(resource, clients=lambda: clients, clock=clock)
        context = Context(clock, seconds)
        url = f"{inbox.url}&X-Amz-Date={asked_at}" if asked_at else inbox.url
        handler(event(kind, properties, url, **details), context)
        assert len(inbox.bodies) == before + 1, "CloudFormation takes exactly one response"
        assert context.get_remaining_time_in_millis() > 0, "the function would have been killed"
        assert SIGNATURE not in caplog.text
        assert "ResponseURL" not in caplog.text
        return inbox.bodies[-1]

    return invoke


@pytest.fixture
def issuer(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    issuer = Issuer()
    with serving(issuer.serve, certificate) as port:
        issuer.url = f"https://localhost:{port}"
        issuer.discovery = {"token_endpoint": f"{issuer.url}/token", "jwks_uri": f"{issuer.url}/keys"}
        yield issuer
