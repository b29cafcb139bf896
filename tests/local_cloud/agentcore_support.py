"""An MCP server behind a distribution, gateways, and requests to them, for tests of AgentCore."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import uvicorn
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from fastmcp import FastMCP

from tests.local_cloud.data_plane_support import Edge, unique

TRUST_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "bedrock-agentcore.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


@contextmanager
def mcp_server(server: FastMCP, *, stateless: bool = True, json_response: bool = False) -> Iterator[int]:
    """Serve ``server`` at ``/mcp`` on a loopback port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = server.http_app(stateless_http=stateless, json_response=json_response)
    config = uvicorn.Config(app, log_level="error", lifespan="on", ws="none", timeout_graceful_shutdown=1)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, args=([listener],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not running.started:
        assert time.monotonic() < deadline, "the MCP server did not start"
        time.sleep(0.02)
    try:
        yield listener.getsockname()[1]
    finally:
        running.should_exit = True
        thread.join(10)
        listener.close()


class SigV4(httpx2.Auth):
    """Signs requests to a gateway."""

    requires_request_body = True

    def __init__(
        self,
        secret: str = "test",  # noqa: S107
        region: str = "us-east-1",
        service: str = "bedrock-agentcore",
    ) -> None:
        self._signer = SigV4Auth(Credentials("test", secret), service, region)

    def auth_flow(self, request: httpx2.Request) -> Any:
        signed = AWSRequest(
            method=request.method,
            url=str(request.url),
            data=request.content,
            headers={"host": request.url.host, "content-type": request.headers.get("content-type", "")},
        )
        self._signer.add_auth(signed)
        for name, value in signed.headers.items():
            request.headers[name] = value
        yield request


@dataclass
class AgentCore:
    """The control API, with shortcuts."""

    edge: Edge

    @property
    def api(self) -> Any:
        """A client that doesn't retry, so that every error is seen."""
        return self.edge.api("bedrock-agentcore-control")

    def role(self, policy: dict[str, Any] = TRUST_POLICY) -> str:
        """A service role's ARN."""
        arn: str = self.edge.api("iam").create_role(
            RoleName=unique("role"), AssumeRolePolicyDocument=json.dumps(policy)
        )["Role"]["Arn"]
        return arn

    def create_gateway(self, **options: Any) -> dict[str, Any]:
        """A gateway that may still be CREATING."""
        params = {
            "name": unique("gw"),
            "roleArn": self.role(),
            "authorizerType": "NONE",
            "protocolType": "MCP",
        }
        gateway: dict[str, Any] = self.api.create_gateway(**{**params, **options})
        return gateway

    def gateway(self, versions: list[str] | None = None, **options: Any) -> dict[str, Any]:
        """A gateway that is READY."""
        if versions is not None:
            options.setdefault("protocolConfiguration", {"mcp": {"supportedVersions": versions}})
        return self.settled_gateway(self.create_gateway(**options)["gatewayId"])

    def settled_gateway(self, gateway_id: str) -> dict[str, Any]:
        """Wait until the gateway rests."""
        deadline = time.monotonic() + 20
        while True:
            gateway: dict[str, Any] = self.api.get_gateway(gatewayIdentifier=gateway_id)
            if gateway["status"] not in {"CREATING", "UPDATING", "DELETING"}:
                return gateway
            assert time.monotonic() < deadline
            time.sleep(0.03)

    def create_target(
        self, gateway_id: str, endpoint: str, name: str | None = None, **server: Any
    ) -> dict[str, Any]:
        """A target that may still be CREATING."""
        target: dict[str, Any] = self.api.create_gateway_target(
            gatewayIdentifier=gateway_id,
            name=name or unique("target"),
            targetConfiguration={"mcp": {"mcpServer": {"endpoint": endpoint, **server}}},
        )
        return target

    def target(
        self, gateway_id: str, endpoint: str, name: str | None = None, **server: Any
    ) -> dict[str, Any]:
        """A target that rests."""
        created = self.create_target(gateway_id, endpoint, name, **server)
        return self.settled_target(gateway_id, created["targetId"])

    def settled_target(self, gateway_id: str, target_id: str) -> dict[str, Any]:
        """Wait until the target rests."""
        deadline = time.monotonic() + 30
        while True:
            target: dict[str, Any] = self.api.get_gateway_target(
                gatewayIdentifier=gateway_id, targetId=target_id
            )
            if not target["status"].endswith("ING"):
                return target
            assert time.monotonic() < deadline
            time.sleep(0.03)

    def post(
        self,
        url: str,
        method: str,
        params: dict[str, Any] | None = None,
        auth: Any = None,
        **headers: str,
    ) -> httpx2.Response:
        """One JSON-RPC request to a gateway."""
        fields = {
            "accept": "application/json, text/event-stream",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params or {}}
        with self.edge.http() as http:
            return http.post(url, json=message, headers=fields, auth=auth)
