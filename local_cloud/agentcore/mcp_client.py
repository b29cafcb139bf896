"""The gateway as a client of an MCP server: handshake, tool list, tool call over streamable HTTP.

The gateway shakes hands in version 2025-11-25, also before every call, since it keeps no session:
https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/gateway-target-MCPservers.html
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import aiohttp
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .outbound_http import OutboundHttp, check_endpoint

HANDSHAKE_VERSION = "2025-11-25"
UNDERSTOOD_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26")
MAX_TOOLS = 1000
"""Tools per target, a service quota."""

Message = dict[str, Any]


class TargetError(Exception):
    """The MCP server could not be used; the text says how it failed."""


class McpServer:
    """One MCP server, introduced anew for each use: ``async with`` makes the handshake."""

    def __init__(
        self,
        http: OutboundHttp,
        endpoint: str,
        *,
        headers: Mapping[str, str] | None = None,
        signing: tuple[Credentials, str, str] | None = None,
        token: Callable[[], Awaitable[str]] | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._http = http
        self._endpoint = endpoint
        self._headers = dict(headers or {})
        self._signing = signing
        self._token = token
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=timeout)
        self._version = HANDSHAKE_VERSION
        self._session_id: str | None = None
        self._next_id = 0
        self.response_headers: dict[str, str] = {}
        """Header fields of the server's last answer, names in lower case."""

    async def __aenter__(self) -> McpServer:
        try:
            check_endpoint(self._endpoint)
            if self._token is not None:
                self._headers["Authorization"] = f"Bearer {await self._token()}"
            await self._shake_hands()
        except (OSError, aiohttp.ClientError) as error:
            raise TargetError(
                f"Unable to connect to the MCP server. Please check the server endpoint. ({error})"
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session_id is None:
            return
        try:
            async with self._http.session().delete(
                self._endpoint, headers=self._all_headers("DELETE", b""), timeout=self._timeout
            ):
                pass
        except (OSError, aiohttp.ClientError):
            # The session ends by itself; its server may be gone already.
            return

    async def list_tools(self) -> list[dict[str, Any]]:
        """Every tool of the server, page after page. Raises TargetError."""
        tools: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            result = await self._result("tools/list", {"cursor": cursor} if cursor else {})
            page = result.get("tools")
            if not isinstance(page, list):
                raise TargetError("The MCP server's answer to tools/list has no list of tools.")
            tools.extend(page)
            if len(tools) > MAX_TOOLS:
                raise TargetError(f"The MCP server has more than {MAX_TOOLS} tools.")
            cursor = result.get("nextCursor")
            if not cursor:
                return tools

    async def call(self, method: str, params: Mapping[str, Any]) -> AsyncIterator[Message]:
        """The server's messages about one request; the last one is the response. Raises TargetError."""
        self._next_id += 1
        request_id = self._next_id
        message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": dict(params)}
        try:
            async with self._post(message) as answer:
                self.response_headers = {name.lower(): value for name, value in answer.headers.items()}
                if answer.status != 200:
                    raise TargetError(
                        f"MCP server '{self._endpoint}' returned HTTP {answer.status} to {method}"
                    )
                async for item in _messages(answer):
                    yield item
                    if item.get("id") == request_id and ("result" in item or "error" in item):
                        return
        except (OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
            raise TargetError(f"The MCP server's answer to {method} can't be read: {error}") from error
        raise TargetError(f"The MCP server ended its answer to {method} without a response.")

    async def _shake_hands(self) -> None:
        params = {
            "protocolVersion": HANDSHAKE_VERSION,
            "capabilities": {},
            "clientInfo": {"name": "AgentCore Gateway", "version": "1.0.0"},
        }
        message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        server = f"MCP server '{self._endpoint}'"
        async with self._post(message) as answer:
            if answer.status != 200:
                raise TargetError(f"{server} returned HTTP {answer.status} to the initialize handshake")
            self._session_id = answer.headers.get("Mcp-Session-Id")
            try:
                reply = await _response(answer, 0)
            except ValueError as error:
                raise TargetError(f"{server} did not answer in JSON-RPC: {error}") from error
        if "error" in reply:
            raise TargetError(f"{server} refused the initialize handshake: {reply['error'].get('message')}")
        result = reply["result"]
        self._version = str(result.get("protocolVersion"))
        if self._version not in UNDERSTOOD_VERSIONS:
            raise TargetError(f"{server} speaks MCP {self._version}, which is not supported")
        if "tools" not in (result.get("capabilities") or {}):
            raise TargetError(f"{server} does not have the tools capability")
        async with self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}) as answer:
            if answer.status not in {200, 202, 204}:
                raise TargetError(f"{server} returned HTTP {answer.status} to notifications/initialized")

    async def _result(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        reply: Message = {}
        async with aclosing(self.call(method, params)) as messages:  # type: ignore[type-var]
            async for item in messages:
                reply = item
        if "error" in reply:
            raise TargetError(f"The MCP server refused {method}: {reply['error'].get('message')}")
        result: dict[str, Any] = reply["result"]
        return result

    def _post(self, message: Message) -> Any:
        body = json.dumps(message).encode()
        return self._http.session().post(
            self._endpoint,
            data=body,
            headers=self._all_headers("POST", body),
            timeout=self._timeout,
            allow_redirects=False,
        )

    def _all_headers(self, method: str, body: bytes) -> dict[str, str]:
        headers = {
            **self._headers,
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": self._version,
        }
        if self._session_id is not None:
            headers["Mcp-Session-Id"] = self._session_id
        if self._signing is None:
            return headers
        credentials, service, region = self._signing
        request = AWSRequest(method=method, url=self._endpoint, data=body, headers=headers)
        SigV4Auth(credentials, service, region).add_auth(request)
        return dict(request.headers.items())


async def _response(answer: aiohttp.ClientResponse, request_id: int) -> Message:
    async for message in _messages(answer):
        if message.get("id") == request_id and ("result" in message or "error" in message):
            return message
    raise ValueError("there is no response to the request")


async def _messages(answer: aiohttp.ClientResponse) -> AsyncIterator[Message]:
    """The JSON-RPC messages of a JSON or event-stream answer. Raises ValueError for anything else."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        yield _message(await answer.read())
    elif kind == "text/event-stream":
        data: list[bytes] = []
        async for raw in answer.content:
            line = raw.rstrip(b"\r\n")
            if line.startswith(b"data:"):
                data.append(line[5:].lstrip(b" "))
            elif not line and data:
                yield _message(b"\n".join(data))
                data = []
    else:
        raise ValueError(f"its content type is {kind or 'missing'}")


def _message(text: bytes) -> Message:
    message = json.loads(text)
    if not isinstance(message, dict):
        raise ValueError("it is not a JSON-RPC message")  # noqa: TRY004
    return message
