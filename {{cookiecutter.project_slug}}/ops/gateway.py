"""The AgentCore gateway as an MCP endpoint: requests are signed with SigV4, or carry a token."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError

from ops.aws import Aws
from ops.http import HttpClient
from ops.mcp_client import McpClient, Signer
from ops.tokens import agent_token, bearer

SERVICE = "bedrock-agentcore"
SEPARATOR = "___"
"""Between target and tool in the names the gateway gives its tools."""


def endpoint(url: str) -> str:
    """Return the gateway's MCP endpoint; its URL is reported with or without the path."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path="/mcp")) if parts.path in {"", "/"} else url


def signer(aws: Aws) -> Signer:
    """Return a function that signs requests with the session's credentials."""

    def sign(method: str, url: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        credentials = aws.credentials()
        if credentials is None:
            raise NoCredentialsError
        request = AWSRequest(method=method, url=url, data=body, headers=headers)
        SigV4Auth(credentials, SERVICE, aws.region).add_auth(request)
        return dict(request.headers.items())

    return sign


def gateway_client(aws: Aws, outputs: dict[str, str], http: HttpClient, *, signed: bool = True) -> McpClient:
    """Return a client of the stack's gateway, which proves who it is as the gateway asks.

    Args:
        aws: whose credentials sign, or read the secret that a token takes.
        outputs: of the stack.
        http: the HTTP client.
        signed: False sends requests without a proof, to see them refused.

    Raises:
        OpsError: no token is to be had.
        urllib3.exceptions.HTTPError: the issuer of tokens wasn't reached.

    """
    sign: Signer | None = None
    if signed and outputs.get("GatewayAuthorizer") == "CUSTOM_JWT":
        sign = bearer(agent_token(aws, http, outputs))
    elif signed:
        sign = signer(aws)
    return McpClient(endpoint(outputs["GatewayUrl"]), http, sign)


def tool_name(target: str, tool: str) -> str:
    """Return what the gateway calls a target's tool."""
    return f"{target}{SEPARATOR}{tool}"
