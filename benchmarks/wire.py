"""The one call that is measured, `simpleadd(10, 20)`, as clients of two eras send it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from enum import StrEnum
from typing import Any

PATH = "/mcp"
CLIENT = {"name": "benchmark", "version": "1"}
EXPECTED = 30


class Wire(StrEnum):
    """A protocol revision, as its clients name it in `MCP-Protocol-Version`."""

    LEGACY = "2025-11-25"
    MODERN = "2026-07-28"


class WrongAnswerError(Exception):
    """A server didn't answer the call with its sum: its speed means nothing."""


@dataclass(frozen=True)
class Call:
    """A POST: its headers, its body, and the sessions it is sent in by turns (none: stateless)."""

    headers: Mapping[str, str]
    body: str
    sessions: tuple[str, ...] = field(default=())

    def headers_in(self, turn: int) -> dict[str, str]:
        """Return the headers of the call number `turn`."""
        if not self.sessions:
            return dict(self.headers)
        return {**self.headers, "Mcp-Session-Id": self.sessions[turn % len(self.sessions)]}


def tool_call(wire: Wire, *, token: str | None = None) -> Call:
    """Return the call on a wire, with a bearer token if one is given."""
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": wire.value,
    }
    params: dict[str, Any] = {"name": "simpleadd", "arguments": {"a": 10, "b": 20}}
    if wire is Wire.MODERN:
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": "simpleadd"}
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": wire.value,
            "io.modelcontextprotocol/clientInfo": CLIENT,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return Call(headers, json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))


def post(port: int, headers: Mapping[str, str], body: str) -> tuple[int, Message, str]:
    """Send a POST on a connection of its own; return status, headers and text."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", PATH, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def open_session(port: int) -> str:
    """Shake hands as a 2025 client does; return the session's id."""
    headers = dict(tool_call(Wire.LEGACY).headers)
    params = {"protocolVersion": Wire.LEGACY.value, "capabilities": {}, "clientInfo": CLIENT}
    message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    status, answered, text = post(port, headers, json.dumps(message))
    session = answered.get("Mcp-Session-Id")
    if status != 200 or not session:
        raise WrongAnswerError(f"`initialize` was answered with status {status} and no session: {text[:300]}")
    headers["Mcp-Session-Id"] = session
    post(port, headers, json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))
    return session


def verify(port: int, call: Call) -> None:
    """Send the call once in every session; raises `WrongAnswerError` unless 30 comes back."""
    for turn in range(max(len(call.sessions), 1)):
        status, headers, text = post(port, call.headers_in(turn), call.body)
        if status != 200 or total(headers.get("Content-Type", ""), text) != EXPECTED:
            raise WrongAnswerError(f"the call was answered with status {status}: {text[:300]}")


def total(content_type: str, text: str) -> float | None:
    """Return the sum in an answer, JSON or an event stream, or None if there is none."""
    if content_type.startswith("text/event-stream"):
        events = [
            line.removeprefix("data:").strip() for line in text.splitlines() if line.startswith("data:")
        ]
        text = next((event for event in reversed(events) if event), "")
    try:
        result = json.loads(text)["result"]
        return None if result.get("isError") else float(result["content"][0]["text"])
    except (ValueError, KeyError, IndexError, TypeError):
        return None
