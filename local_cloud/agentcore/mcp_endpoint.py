"""A gateway's MCP endpoint: ``https://<gateway id>.gateway.bedrock-agentcore.<region>.amazonaws.com/mcp``."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from ..context import Receive, Scope, Send
from ..data_plane.http_message import Request, Response, exchange, unreachable
from . import bearer_token, tool_catalog
from .lifecycle import Lifecycle
from .mcp_client import TargetError
from .outbound_http import OutboundHttp
from .request_signature import MissingSignatureError, WrongSignatureError, check_signature
from .service_model import SIGNING_NAME
from .state import Gateway, Store, Target

HOST = re.compile(r"[a-z0-9-]+\.gateway\.bedrock-agentcore\.[a-z0-9-]+\.amazonaws\.com")
CALL_TIMEOUT = 900.0
"""Seconds that a tool may take, a service quota."""

STATELESS_VERSION = "2026-07-28"
DEFAULT_VERSIONS = ("2025-03-26",)
"""What a gateway without ``supportedVersions`` speaks: the default of the CloudFormation property."""

UNDECLARED_VERSION = "2025-03-26"
"""The version of a request that names none (MCP 2025-11-25, transports, "Protocol Version Header")."""

_PAGE = 100
_META = "io.modelcontextprotocol/"
_MASKED = "An internal error occurred. Please retry later."

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
UNAUTHORIZED = -32001
HEADER_MISMATCH, UNSUPPORTED_VERSION = -32020, -32022

Message = dict[str, Any]


class RpcError(Exception):
    """A JSON-RPC error answer, with the HTTP status that it goes with."""

    def __init__(self, code: int, message: str, *, status: int = 200, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.data = data

    def body(self, request_id: Any) -> Message:
        """The answer."""
        error: Message = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return {"jsonrpc": "2.0", "id": request_id, "error": error}


class McpEndpoint:
    """Serves the endpoints of all gateways of ``store``."""

    def __init__(
        self, store: Store, lifecycle: Lifecycle, http: OutboundHttp, environment: Mapping[str, str]
    ) -> None:
        self._store = store
        self._http = http
        self._lifecycle = lifecycle
        self._environment = environment

    @staticmethod
    def is_gateway_host(host: str) -> bool:
        """Whether ``host`` is shaped like a gateway's host name."""
        return HOST.fullmatch(host) is not None

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The endpoint over HTTP."""
        await exchange(scope, receive, send, self._respond)

    async def _respond(self, request: Request) -> Response:
        host = request.header("host").lower().partition(":")[0]
        gateway = self._store.by_host(host)
        if gateway is None or gateway.status in {"CREATING", "FAILED"}:
            return unreachable(f"no gateway answers at {host}", 404)
        takes_tokens = gateway.settings["authorizerType"] == "CUSTOM_JWT"
        if takes_tokens and request.target == bearer_token.METADATA_PATH:
            return _metadata(gateway)
        if request.target != "/mcp":
            return _json(404, {"message": f"There is nothing at {request.target}; the endpoint is /mcp."})
        request_id: Any = None
        try:
            await self._authorize(gateway, host, request)
            if request.method != "POST":
                return Response.of(405, [("allow", "POST")])
            message = _parse(request.body)
            request_id = message.get("id")
            version = _version(gateway, request, message)
            if "id" not in message:
                return Response.of(202, [])
            if message["method"] == "tools/call" and _streams(gateway, request):
                return await self._stream_call(gateway, request, message, version)
            result = await self._answer(gateway, request, message, version)
        except RpcError as error:
            headers = [("www-authenticate", _challenge(gateway))] if error.status == 401 else []
            return _json(error.status, error.body(request_id), headers)
        reply = {"jsonrpc": "2.0", "id": request_id, "result": _finished(result, version)}
        return _in_accepted_form(request, reply)

    async def _authorize(self, gateway: Gateway, host: str, request: Request) -> None:
        if gateway.settings["authorizerType"] == "NONE":
            return
        if gateway.settings["authorizerType"] == "CUSTOM_JWT":
            try:
                await bearer_token.check_token(gateway, request, self._http)
            except bearer_token.MissingTokenError as error:
                raise RpcError(UNAUTHORIZED, str(error), status=401) from error
            except bearer_token.WrongTokenError as error:
                status = 403 if error.insufficient else 401
                raise RpcError(UNAUTHORIZED, str(error), status=status) from error
            return
        try:
            check_signature(
                request,
                host,
                region=gateway.place.region,
                service=SIGNING_NAME,
                environment=self._environment,
            )
        except MissingSignatureError as error:
            raise RpcError(UNAUTHORIZED, "Missing Authentication Token", status=401) from error
        except WrongSignatureError as error:
            raise RpcError(UNAUTHORIZED, str(error), status=403) from error

    async def _answer(self, gateway: Gateway, request: Request, message: Message, version: str) -> Message:
        method, params = message["method"], message.get("params") or {}
        if method == "initialize":
            return _initialized(gateway, params)
        if method == "server/discover" and version == STATELESS_VERSION:
            return _discovered(gateway)
        if method == "ping":
            return {}
        if method == "tools/list":
            return await self._list_tools(gateway, params)
        if method == "tools/call":
            return await self._call_tool(gateway, request, params)
        status = 404 if version == STATELESS_VERSION else 200
        raise RpcError(METHOD_NOT_FOUND, f"Method not found: {method}", status=status)

    # tools/list

    async def _list_tools(self, gateway: Gateway, params: Message) -> Message:
        tools = [tool_catalog.SEARCH_DEFINITION] if gateway.semantic_search else []
        for target in self._serving_targets(gateway):
            tools.extend(tool_catalog.qualified(target, await self._tools_of(gateway, target)))
        if gateway.protocol.get("disableMcpListToolsPagination"):
            return {"tools": tools}
        start = _cursor(params.get("cursor"))
        result: Message = {"tools": tools[start : start + _PAGE]}
        if start + _PAGE < len(tools):
            result["nextCursor"] = base64.urlsafe_b64encode(str(start + _PAGE).encode()).decode()
        return result

    def _serving_targets(self, gateway: Gateway) -> list[Target]:
        """The targets with tools to offer, those of the smaller resource priority first."""
        with self._store.lock:
            targets = [
                target for target in gateway.targets.values() if target.catalog.tools or target.dynamic
            ]
        serving = [target for target in targets if target.status not in {"CREATING", "FAILED", "DELETING"}]
        return sorted(serving, key=lambda target: target.server.get("resourcePriority", 1000))

    async def _tools_of(self, gateway: Gateway, target: Target) -> list[Message]:
        if not target.dynamic:
            return target.catalog.tools
        try:
            async with self._lifecycle.server(gateway, target) as server:
                return await server.list_tools()
        except TargetError:
            # One server that is down doesn't take the others' tools with it.
            return []

    # tools/call

    async def _call_tool(self, gateway: Gateway, request: Request, params: Message) -> Message:
        last: Message = {}
        async with aclosing(self._call_messages(gateway, request, params)) as messages:  # type: ignore[type-var]
            async for message in messages:
                last = message
        if "error" in last:
            error = last["error"]
            raise RpcError(error.get("code", -32603), error.get("message", ""), data=error.get("data"))
        result: Message = last["result"]
        return result

    async def _stream_call(
        self, gateway: Gateway, request: Request, message: Message, version: str
    ) -> Response:
        """Pass on what the server sends while the tool runs, event by event."""
        messages = self._call_messages(gateway, request, message.get("params") or {})
        first = await anext(messages)

        async def events() -> AsyncIterator[bytes]:
            item: Message | None = first
            try:
                while item is not None:
                    if "result" in item or "error" in item:
                        item = {**item, "id": message["id"]}
                        if "result" in item:
                            item["result"] = _finished(item["result"], version)
                    yield _event(item)
                    item = await anext(messages, None)
            finally:
                await messages.aclose()  # type: ignore[attr-defined]

        return Response(200, [("content-type", "text/event-stream"), ("cache-control", "no-cache")], events())

    async def _call_messages(
        self, gateway: Gateway, request: Request, params: Message
    ) -> AsyncIterator[Message]:
        name, arguments = params.get("name"), params.get("arguments") or {}
        if not isinstance(name, str):
            raise RpcError(INVALID_PARAMS, "The name of the tool is missing.")
        if name == tool_catalog.SEARCH_TOOL and gateway.semantic_search:
            yield {"result": await self._search(gateway, arguments)}
            return
        target, tool = await self._find_tool(gateway, name)
        problems = tool_catalog.argument_problems(tool, arguments)
        if problems:
            text = "Parameter validation failed: Invalid request parameters:\n- " + "\n- ".join(problems)
            yield {"result": _error_result(text)}
            return
        forwarded = {**params, "name": tool["name"], "arguments": arguments}
        meta = {key: value for key, value in (params.get("_meta") or {}).items() if not key.startswith(_META)}
        forwarded.pop("_meta", None)
        if meta:
            forwarded["_meta"] = meta
        try:
            server = self._lifecycle.server(
                gateway, target, headers=_propagated(target, request), timeout=CALL_TIMEOUT
            )
            async with server, aclosing(server.call("tools/call", forwarded)) as messages:  # type: ignore[type-var]
                async for message in messages:
                    yield message
        except TargetError as error:
            yield {"result": _failure(gateway, str(error))}

    async def _find_tool(self, gateway: Gateway, name: str) -> tuple[Target, Message]:
        parts = tool_catalog.split_name(name)
        for target in self._serving_targets(gateway):
            if parts is None or target.name != parts[0]:
                continue
            for tool in await self._tools_of(gateway, target):
                if tool["name"] == parts[1]:
                    return target, tool
        raise RpcError(INVALID_PARAMS, f"Unknown tool: {name}")

    async def _search(self, gateway: Gateway, arguments: Message) -> Message:
        problems = tool_catalog.argument_problems(tool_catalog.SEARCH_DEFINITION, arguments)
        if problems:
            return _error_result("Parameter validation failed: " + "; ".join(problems))
        tools: list[Message] = []
        for target in self._serving_targets(gateway):
            tools.extend(tool_catalog.qualified(target, target.catalog.tools))
        found = {"tools": tool_catalog.search(tools, arguments["query"])}
        text = json.dumps(found)
        return {"content": [{"type": "text", "text": text}], "structuredContent": found, "isError": False}


def _challenge(gateway: Gateway) -> str:
    if gateway.settings["authorizerType"] != "CUSTOM_JWT":
        return "AWS4-HMAC-SHA256"
    return f'Bearer resource_metadata="https://{gateway.host}{bearer_token.METADATA_PATH}"'


def _metadata(gateway: Gateway) -> Response:
    """Where tokens come from (RFC 9728)."""
    issuer = bearer_token.authorizer(gateway)["discoveryUrl"].partition("/.well-known/")[0]
    return _json(200, {"resource": gateway.url, "authorization_servers": [issuer]})


def supported_versions(gateway: Gateway) -> list[str]:
    """The MCP versions that a gateway accepts."""
    return list(gateway.protocol.get("supportedVersions") or DEFAULT_VERSIONS)


def _parse(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise RpcError(PARSE_ERROR, "The request body is not JSON.", status=400) from error
    if (
        not isinstance(message, dict)
        or message.get("jsonrpc") != "2.0"
        or not isinstance(message.get("method"), str)
        or not isinstance(message.get("params", {}), dict)
    ):
        raise RpcError(INVALID_REQUEST, "The request body is not a JSON-RPC 2.0 request.", status=400)
    return message


def _version(gateway: Gateway, request: Request, message: Message) -> str:
    """The version that a request is in. Raises RpcError for one that the gateway doesn't accept."""
    supported = supported_versions(gateway)
    version = request.header("mcp-protocol-version")
    if message["method"] == "initialize" or (not version and supported != [STATELESS_VERSION]):
        # A request without the field is one of the oldest revision that has the field.
        return UNDECLARED_VERSION
    if version not in supported:
        data = {"supported": supported, "requested": version}
        raise RpcError(UNSUPPORTED_VERSION, f"Unsupported protocol version: {version}", status=400, data=data)
    if version == STATELESS_VERSION:
        _check_stateless_request(request, message)
    return version


def _check_stateless_request(request: Request, message: Message) -> None:
    """The header fields of a 2026-07-28 request have to repeat what its body says."""
    params = message.get("params") or {}
    if request.header("mcp-method") != message["method"]:
        raise RpcError(
            HEADER_MISMATCH, "The Mcp-Method header does not match the request's method.", status=400
        )
    if message["method"] == "tools/call" and request.header("mcp-name") != params.get("name"):
        raise RpcError(HEADER_MISMATCH, "The Mcp-Name header does not match the tool's name.", status=400)
    if "id" in message and (params.get("_meta") or {}).get(f"{_META}protocolVersion") != STATELESS_VERSION:
        raise RpcError(HEADER_MISMATCH, "The request's _meta has another protocol version.", status=400)


def _initialized(gateway: Gateway, params: Message) -> Message:
    handshake = [version for version in supported_versions(gateway) if version != STATELESS_VERSION]
    if not handshake:
        data = {"supported": supported_versions(gateway), "requested": str(params.get("protocolVersion"))}
        raise RpcError(
            UNSUPPORTED_VERSION, "This gateway has no initialize handshake.", status=400, data=data
        )
    requested = params.get("protocolVersion")
    return {
        "protocolVersion": requested if requested in handshake else max(handshake),
        **_description(gateway),
        "serverInfo": _server_info(gateway),
    }


def _discovered(gateway: Gateway) -> Message:
    return {
        "supportedVersions": supported_versions(gateway),
        **_description(gateway),
        "_meta": {f"{_META}serverInfo": _server_info(gateway)},
    }


def _description(gateway: Gateway) -> Message:
    described: Message = {"capabilities": {"tools": {"listChanged": False}}}
    if gateway.protocol.get("instructions"):
        described["instructions"] = gateway.protocol["instructions"]
    return described


def _server_info(gateway: Gateway) -> Message:
    return {"name": gateway.name, "version": "1.0.0"}


def _finished(result: Message, version: str) -> Message:
    """``result`` with what 2026-07-28 asks of every answer."""
    if version != STATELESS_VERSION:
        return result
    finished = {"resultType": "complete", **result}
    if "tools" in result or "supportedVersions" in result:
        finished = {"ttlMs": 0, "cacheScope": "private", **finished}
    return finished


def _cursor(cursor: Any) -> int:
    if cursor is None:
        return 0
    try:
        return int(base64.urlsafe_b64decode(str(cursor)))
    except (ValueError, binascii.Error) as error:
        raise RpcError(INVALID_PARAMS, "The cursor is not one that tools/list returned.") from error


def _propagated(target: Target, request: Request) -> dict[str, str]:
    allowed = (target.settings.get("metadataConfiguration") or {}).get("allowedRequestHeaders") or []
    return {name: request.header(name.lower()) for name in allowed if request.header(name.lower())}


def _error_result(text: str) -> Message:
    return {"content": [{"type": "text", "text": text}], "isError": True}


def _failure(gateway: Gateway, text: str) -> Message:
    """What the caller is told of a target that failed: the reason only with ``exceptionLevel: DEBUG``.

    https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/gateway-debug-messages.html
    """
    if gateway.settings.get("exceptionLevel") != "DEBUG":
        return _error_result(_MASKED)
    return {**_error_result(text), "_meta": {"debug": {"type": "text", "text": text}}}


def _streams(gateway: Gateway, request: Request) -> bool:
    streaming = gateway.protocol.get("streamingConfiguration") or {}
    return bool(streaming.get("enableResponseStreaming")) and "text/event-stream" in request.header("accept")


def _in_accepted_form(request: Request, reply: Message) -> Response:
    accepted = request.header("accept")
    if "text/event-stream" in accepted and "application/json" not in accepted and "*/*" not in accepted:
        return Response.of(200, [("content-type", "text/event-stream")], _event(reply))
    return _json(200, reply)


def _event(message: Message) -> bytes:
    return f"event: message\ndata: {json.dumps(message)}\n\n".encode()


def _json(status: int, content: Message, headers: list[tuple[str, str]] | None = None) -> Response:
    return Response.of(
        status, [("content-type", "application/json"), *(headers or [])], json.dumps(content).encode()
    )
