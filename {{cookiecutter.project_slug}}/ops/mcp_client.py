"""A small MCP client over streamable HTTP: initialize, tools/list and tools/call.

It takes JSON and SSE answers. The protocol is that of the MCP specification of 2025-11-25, which both
FastMCP and the AgentCore gateway speak.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import urllib3

from ops.http import HttpClient

PROTOCOL_VERSION = "2025-11-25"
_MAX_BYTES = 6 * 1024 * 1024
_SHOWN = 300

Signer = Callable[[str, str, dict[str, str], bytes], dict[str, str]]
"""Takes method, URL, headers and body; returns the headers to send."""


class McpError(Exception):
    """An MCP endpoint answered, but not with what was asked for.

    Args:
        message: what it answered.
        status: the HTTP status, 200 for a JSON-RPC error.

    """

    def __init__(self, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.status = status


class McpClient:
    """One session with an MCP endpoint.

    Args:
        url: the endpoint.
        http: the HTTP client.
        sign: adds authentication to a request; None sends it as it is.

    """

    def __init__(self, url: str, http: HttpClient, sign: Signer | None = None) -> None:
        self._url = url
        self._http = http
        self._sign = sign
        self._session: dict[str, str] = {}
        self._next_id = 0

    def initialize(self) -> dict[str, Any]:
        """Do the handshake.

        Returns:
            The result: protocolVersion, serverInfo, capabilities.

        Raises:
            McpError: refused or not understood.
            urllib3.exceptions.HTTPError: not reached.

        """
        self._session = {}
        client = {"name": "ops", "version": "1"}
        asked = {"protocolVersion": PROTOCOL_VERSION, "capabilities": {}, "clientInfo": client}
        result = self._request("initialize", asked)
        self._session["MCP-Protocol-Version"] = str(result.get("protocolVersion", PROTOCOL_VERSION))
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"}).close()
        return result

    def list_tools(self) -> list[dict[str, Any]]:
        """Return all tools, page by page; the errors are those of `initialize`."""
        tools: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            result = self._request("tools/list", {"cursor": cursor} if cursor else {})
            tools += result.get("tools", [])
            cursor = result.get("nextCursor")
            if not cursor:
                return tools

    def call_tool(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call a tool.

        Returns:
            The result: content, structuredContent.

        Raises:
            McpError: as for `initialize`, and when the tool reports an error.

        """
        result = self._request("tools/call", {"name": name, "arguments": arguments})
        if result.get("isError"):
            raise McpError(f"{name} reports: {text_of(result)[:_SHOWN]}")
        return result

    def _request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._next_id += 1
        answer = self._send({"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params})
        try:
            message = next((item for item in _messages(answer) if item.get("id") == self._next_id), None)
        finally:
            answer.close()
        if message is None:
            raise McpError(f"no answer to {method} in the response")
        if "error" in message:
            error = message["error"]
            raise McpError(f"{method}: {error.get('message')} ({error.get('code')})")
        result = message.get("result")
        if not isinstance(result, dict):
            raise McpError(f"{method}: the result is not an object")
        session = answer.headers.get("Mcp-Session-Id")
        if session:
            self._session["Mcp-Session-Id"] = session
        return result

    def _send(self, message: dict[str, Any]) -> urllib3.BaseHTTPResponse:
        body = json.dumps(message, separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **self._session,
        }
        if self._sign:
            headers = self._sign("POST", self._url, headers, body)
        answer = self._http.send("POST", self._url, headers, body)
        if answer.status not in {200, 202}:
            with answer:
                said = " ".join(answer.read(_MAX_BYTES).decode(errors="replace").split())[:_SHOWN]
            raise McpError(f"HTTP {answer.status}{f': {said}' if said else ''}", answer.status)
        return answer


def text_of(result: dict[str, Any]) -> str:
    """Return the text parts of a tool's result."""
    return "\n".join(part.get("text", "") for part in result.get("content", []) if part.get("type") == "text")


def _messages(answer: urllib3.BaseHTTPResponse) -> Iterator[dict[str, Any]]:
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    texts = _events(answer) if kind == "text/event-stream" else iter([_read(answer)])
    for text in texts:
        try:
            message = json.loads(text)
        except ValueError as error:
            raise McpError(f"not JSON ({kind or 'no content type'}): {text[:_SHOWN]}") from error
        for item in message if isinstance(message, list) else [message]:
            if isinstance(item, dict):
                yield item


def _read(answer: urllib3.BaseHTTPResponse) -> str:
    content = answer.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise McpError(f"the answer is longer than {_MAX_BYTES} bytes")
    return content.decode(errors="replace")


def _events(answer: urllib3.BaseHTTPResponse) -> Iterator[str]:
    """Yield the data of server-sent events as they come; events without data are left out."""
    data: list[str] = []
    for line in _lines(answer):
        field, _, value = line.partition(":")
        if not line and data:
            yield "\n".join(data)
            data = []
        elif field == "data":
            data.append(value.removeprefix(" "))
    if data:
        yield "\n".join(data)


def _lines(answer: urllib3.BaseHTTPResponse) -> Iterator[str]:
    rest = b""
    # read1 gives what has arrived: a stream may stay open long after the answer.
    while chunk := answer.read1():
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > _MAX_BYTES:
            raise McpError(f"a line of the event stream is longer than {_MAX_BYTES} bytes")
        yield from (line.rstrip(b"\r").decode(errors="replace") for line in whole)
    if rest:
        yield rest.decode(errors="replace")
