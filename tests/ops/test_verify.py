import base64
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest
from botocore.stub import Stubber
from ops import verify
from ops.aws import Aws
from ops.console import Screen
from ops.errors import OpsError
from ops.gateway import endpoint

from tests.ops.conftest import REGION, SECRET, TOKEN
from tests.ops.loopback_mcp import TARGET, Behaviour, connect_proxy, https_server, make_certificate, serve

Run = Callable[..., tuple[bool, dict[str, str], list[str]]]
GATEWAY = f"knowledge-0a1b2c3d.gateway.bedrock-agentcore.{REGION}.amazonaws.com"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"), GATEWAY, "d1.cloudfront.net")


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour()


@pytest.fixture
def outputs(
    behaviour: Behaviour, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate[0]))
    monkeypatch.setattr(verify, "_FIRST_PAUSE", 0.05)
    with serve(behaviour, certificate) as place:
        yield {
            "DistributionDomainName": place,
            "ServerUrl": f"https://{place}/mcp",
            "GatewayUrl": f"https://{place}/gateway/mcp",
            "TargetName": TARGET,
        }


@pytest.fixture
def run(aws: Aws, outputs: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that verifies; it returns the verdict, the state of each check, and all lines."""

    def verified(timeout: float = 0.0, **changes: str) -> tuple[bool, dict[str, str], list[str]]:
        good = verify.verify(aws, Screen(), {**outputs, **changes}, timeout=timeout)
        lines = capsys.readouterr().out.splitlines()
        states = {line.split(" ms  ")[1].split("  ")[0]: line.split()[0] for line in lines if " ms  " in line}
        return good, states, lines

    return verified


@pytest.mark.parametrize("sse", [False, True])
def test_all_good(run: Run, behaviour: Behaviour, outputs: dict[str, str], sse: bool) -> None:
    behaviour.sse = sse

    started = time.monotonic()
    good, states, lines = run()

    assert good
    assert set(states.values()) == {"ok"}
    assert len(states) == 6
    assert lines[-1] == f"10 + 20 = 30 through {outputs['GatewayUrl']} ({TARGET}___simpleadd)"
    assert time.monotonic() - started < 5, "an answer on a stream that stays open is taken at once"


def test_requests_to_the_gateway_are_signed(run: Run, behaviour: Behaviour) -> None:
    behaviour.sse = True
    run()

    gateway = [(headers, message) for path, headers, message in behaviour.requests if path == "/gateway/mcp"]
    *signed, (unsigned, _) = gateway
    assert "authorization" not in unsigned
    for headers, message in signed:
        assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/")
        assert f"/{REGION}/bedrock-agentcore/aws4_request" in headers["authorization"]
        assert headers["x-amz-security-token"] == TOKEN
        assert "text/event-stream" in headers["accept"]
        assert "application/json" in headers["accept"]
        if message["method"] != "initialize":
            assert headers["mcp-protocol-version"] == "2025-06-18", (
                "the version agreed on, not the one asked for"
            )
            assert headers["mcp-session-id"] == "session-1"
    to_server = [
        headers.get("authorization", "") for path, headers, _ in behaviour.requests if path == "/mcp"
    ]
    assert to_server == ["", f"Bearer {verify.FORGED}"]
    call = next(message for _, message in signed if message["method"] == "tools/call")
    assert call["params"] == {"name": f"{TARGET}___simpleadd", "arguments": {"a": 10, "b": 20}}


class Issuer(BaseHTTPRequestHandler):
    """Discovery document and token endpoint."""

    requests: ClassVar[list[tuple[str, str]]] = []
    status = 200

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""

    def do_GET(self) -> None:
        self._answer(200, {"token_endpoint": f"https://{self.headers['Host']}/oauth2/token"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.requests.append((self.headers["Authorization"], body))
        answers = {200: {"access_token": "agent-token"}, 400: {"error": "invalid_client"}}
        self._answer(self.status, answers[self.status])

    def _answer(self, status: int, content: dict[str, str]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def agents(
    certificate: tuple[Path, Path], stub: Callable[[str], Stubber], monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """Outputs of a stack whose gateway takes tokens."""
    monkeypatch.setattr(Issuer, "requests", [])
    arn = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:agent"
    for _ in range(2):
        stub("secretsmanager").add_response(
            "get_secret_value",
            {"SecretString": json.dumps({"client_id": "agent", "client_secret": "hunter+2"})},
            {"SecretId": arn},
        )
    with https_server(Issuer, certificate) as place:
        yield {
            "GatewayAuthorizer": "CUSTOM_JWT",
            "AgentSecretArn": arn,
            "AgentScopes": "tools/invoke,tools/more",
            "TokenDiscoveryUrl": f"https://{place}/.well-known/openid-configuration",
        }


def test_a_gateway_that_takes_tokens_gets_one(run: Run, behaviour: Behaviour, agents: dict[str, str]) -> None:
    behaviour.token = "agent-token"

    good, states, lines = run(**agents)

    assert good, lines
    assert set(states.values()) == {"ok"}
    authorization, body = Issuer.requests[0]
    assert base64.b64decode(authorization.removeprefix("Basic ")).decode() == "agent:hunter%2B2"
    assert body == "grant_type=client_credentials&scope=tools%2Finvoke+tools%2Fmore"
    assert "hunter" not in "".join(lines)
    assert "agent-token" not in "".join(lines)


def test_an_issuer_that_gives_no_token_is_named(
    run: Run, agents: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Issuer, "status", 400)

    good, states, lines = run(**agents)

    assert not good
    assert states["gateway tools"] == states["gateway tool call"] == "failed"
    assert any("/oauth2/token answered HTTP 400: invalid_client" in line for line in lines)


def test_secrets_are_not_printed(run: Run, behaviour: Behaviour) -> None:
    behaviour.refuse_signed = 403

    text = "\n".join(run()[2])

    assert "HTTP 403" in text
    assert SECRET not in text
    assert TOKEN not in text
    assert "AWS4-HMAC" not in text


@pytest.mark.parametrize(
    ("change", "check", "said"),
    [
        ({"total": 31}, "gateway tool call", "10 + 20 gave 31"),
        ({"refuse_strangers": 0}, "server refuses no token", "a stranger's call was answered"),
        ({"refuse_strangers": 0}, "server refuses forged token", "a stranger's call was answered"),
        ({"refuse_strangers": 503}, "server refuses forged token", "HTTP 503"),
        ({"tool_error": True}, "gateway tool call", "reports: it broke"),
        ({"tools": ("other___simpleadd",)}, "gateway tools", f"no tool {TARGET}___simpleadd; it has: other"),
        ({"open_to_all": True}, "gateway refuses unsigned", "a stranger's call was answered"),
        ({"refuse_unsigned": 404}, "gateway refuses unsigned", "HTTP 404"),
        ({"refuse_signed": 403}, "gateway tools", "HTTP 403"),
        ({"health": [(200, '{"status":"unhealthy"}')]}, "server health", "unhealthy"),
        ({"health": [(404, "no such page")]}, "server health", "HTTP 404"),
        ({"health": [(503, "")]}, "server health", "HTTP 503"),
    ],
)
def test_a_wrong_answer_fails(
    run: Run, behaviour: Behaviour, change: dict[str, object], check: str, said: str
) -> None:
    for key, value in change.items():
        assert key in {field.name for field in dataclasses.fields(behaviour)}
        setattr(behaviour, key, value)

    good, states, lines = run()

    assert not good
    assert states[check] == "failed"
    assert any(said in line for line in lines if check in line)
    assert any(line.startswith(f"{check} failed: look at ") for line in lines)
    assert "10 + 20 = 30 through" not in lines[-1]


def test_no_answer_is_unverified_not_failed(run: Run) -> None:
    good, states, lines = run(GatewayUrl="https://127.0.0.1:9/mcp")

    assert not good
    assert states["server refuses no token"] == "ok"
    assert states["gateway tool call"] == states["gateway refuses unsigned"] == "unverified"
    assert any("no answer" in line for line in lines)


def test_an_untrusted_certificate_is_not_tried_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE")

    started = time.monotonic()
    _, states, lines = run(timeout=60)

    assert set(states.values()) == {"unverified"}
    assert "certificate" in lines[0].lower()
    assert time.monotonic() - started < 5


def test_what_passes_is_tried_again(run: Run, behaviour: Behaviour) -> None:
    behaviour.health = [(502, ""), (429, ""), (200, '{"status": "healthy"}')]

    good, states, _ = run(timeout=30)

    assert good
    assert states["server health"] == "ok"


def test_the_timeout_holds_for_all_checks_together(run: Run, behaviour: Behaviour) -> None:
    behaviour.health = [(502, "")]
    behaviour.refuse_signed = 503

    started = time.monotonic()
    good, states, _ = run(timeout=0.5)

    assert not good
    assert time.monotonic() - started < 2
    assert len(states) == 6


@pytest.mark.parametrize("ca_variable", ["AWS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_proxy_and_certificates_of_the_environment(
    run: Run,
    outputs: dict[str, str],
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    ca_variable: str,
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE")
    monkeypatch.setenv(ca_variable, str(certificate[0]))
    with connect_proxy(int(outputs["DistributionDomainName"].rpartition(":")[2])) as (proxy, asked):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        good, states, _ = run(
            GatewayUrl=f"https://{GATEWAY}/gateway/mcp",
            ServerUrl="https://d1.cloudfront.net/mcp",
            DistributionDomainName="d1.cloudfront.net",
        )

    assert good, states
    assert set(asked) == {f"{GATEWAY}:443", "d1.cloudfront.net:443"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://g.example", "https://g.example/mcp"),
        ("https://g.example/", "https://g.example/mcp"),
        ("https://g.example/mcp", "https://g.example/mcp"),
    ],
)
def test_endpoint(url: str, expected: str) -> None:
    assert endpoint(url) == expected


def test_missing_outputs_are_named(aws: Aws, stub: Callable[[str], Stubber]) -> None:
    stack = {"StackName": "s", "CreationTime": 0, "StackStatus": "ROLLBACK_COMPLETE"}
    stub("cloudformation").add_response("describe_stacks", {"Stacks": [stack]})

    with pytest.raises(OpsError, match=r"s \(ROLLBACK_COMPLETE\) has no output .*GatewayUrl"):
        verify.stack_outputs(aws, "s")


def test_no_stack(aws: Aws, stub: Callable[[str], Stubber]) -> None:
    stub("cloudformation").add_client_error(
        "describe_stacks", "ValidationError", "Stack with id s does not exist"
    )

    with pytest.raises(OpsError, match="There is no stack s in eu-west-1; deploy it first"):
        verify.stack_outputs(aws, "s")
