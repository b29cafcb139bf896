"""Asks an MCP server for its tools the way an AgentCore gateway does when it indexes a target.

The handshake is the one of MCP 2025-11-25 (`initialize`, `notifications/initialized`, `tools/list` page by
page), which gateways use also where they speak newer revisions to clients. In 2026-07-28 there is none:
every request names its version and its method in headers and in `_meta`. Only the standard library is used:
urllib takes HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE from the environment.
"""

import http.client
import json
import logging
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from custom_resources.errors import ResourceError

logger = logging.getLogger(__name__)

PROTOCOL_VERSION = "2025-11-25"
STATELESS_VERSION = "2026-07-28"
# Some web ACL rules refuse requests that name no client, or urllib.
USER_AGENT = "gateway-target-probe/1.0"
MOST_BYTES = 16 * 1024 * 1024
MOST_PAGES = 1000

_STATUS_HINTS = {
    400: "the server refused the handshake; it must accept MCP 2025-11-25 and any Host the edge sends",
    401: "the server asks for a token; give CredentialProviderConfigurations, or take the token check off",
    403: "the edge refused the request; check the web ACL's rules, the distribution's origin access and its "
    "allowed methods (POST)",
    404: "nothing is served at this path; check the endpoint's path (/mcp) and the distribution's behaviours",
    405: "POST isn't allowed; check the distribution's allowed methods and the endpoint's path (/mcp)",
    406: "the server refused the Accept header application/json, text/event-stream",
    421: "the server refused the Host header; allow the distribution's and the load balancer's names",
    429: "the edge or the server limits the rate; check the web ACL's rate rule",
    500: "the server failed; see its log",
    502: "the edge can't talk to the origin; check the load balancer's listener and the origin's protocol",
    503: "no healthy task is behind the load balancer; check the target group's health and the tasks' log",
    504: "the origin doesn't answer in time; check security groups and that the server binds 0.0.0.0",
}
# The server itself has answered: another try a minute later says the same.
_FINAL_STATUSES = frozenset({400, 401, 405, 406, 421})


# What a request of 2026-07-28 carries, as there is no handshake to say it in.
_ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": STATELESS_VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": USER_AGENT.split("/")[0], "version": "1.0"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class ProbeError(ResourceError):
    """The endpoint didn't answer as an MCP server does.

    `cause` is one of `dns`, `tls`, `connection`, `timeout`, `http`, `protocol`; `status` is the HTTP status
    for `http`, else 0; `final` says that waiting won't help; `challenge` is the `WWW-Authenticate` of a 401.
    """

    def __init__(
        self, cause: str, text: str, *, status: int = 0, final: bool = False, challenge: str = ""
    ) -> None:
        super().__init__(text)
        self.cause = cause
        self.status = status
        self.final = final
        self.challenge = challenge


Sign = Callable[[str, str, dict[str, str], bytes], dict[str, str]]
"""Takes verb, address, headers and body of a request; returns the headers to send it with."""


@dataclass
class _Session:
    endpoint: str
    timeout: float
    sign: Sign | None = None
    certificate_name: str = ""
    session_id: str = ""
    version: str = PROTOCOL_VERSION


@dataclass(frozen=True)
class Trial:
    """What a server listed, and what one of its tools answered."""

    tools: tuple[str, ...]
    text: str
    """The text parts of the tool's result, one a line."""
    failed: bool
    """Whether the tool reported an error."""
    seconds: float
    """How long the call took."""


def list_tools(
    endpoint: str,
    timeout: float,
    sign: Sign | None = None,
    *,
    version: str = PROTOCOL_VERSION,
    certificate_name: str = "",
    referring: dict[str, str] | None = None,
) -> tuple[str, ...]:
    """Return the names of the server's tools, sorted; each HTTP exchange may take `timeout` seconds.

    `sign` adds the caller's authorization to each request; `version` is the revision of MCP that is spoken,
    PROTOCOL_VERSION or STATELESS_VERSION; the certificate must be for `certificate_name`, where that isn't
    the name in `endpoint`. `referring` takes the tools whose schemas point elsewhere, each with the words
    that do: `{"add": "$defs, $ref"}`. Raises ProbeError, which says what failed and what to check.
    """
    with _begun(_Session(endpoint, timeout, sign, certificate_name, version=version)) as session:
        return tuple(sorted(_tool_names(session, {} if referring is None else referring)))


def try_tool(
    endpoint: str,
    timeout: float,
    tool: str,
    arguments: dict[str, Any],
    sign: Sign | None = None,
    *,
    version: str = PROTOCOL_VERSION,
    certificate_name: str = "",
) -> Trial:
    """List the tools and call one; the rest as for `list_tools`."""
    with _begun(_Session(endpoint, timeout, sign, certificate_name, version=version)) as session:
        return _trial(session, tool, arguments)


def _trial(session: _Session, tool: str, arguments: dict[str, Any]) -> Trial:
    tools = tuple(sorted(_tool_names(session, {})))
    started = time.monotonic()
    result = _request(session, MOST_PAGES + 2, "tools/call", {"name": tool, "arguments": arguments})
    seconds = time.monotonic() - started
    parts = result.get("content")
    texts = [
        str(part.get("text", ""))
        for part in (parts if isinstance(parts, list) else [])
        if isinstance(part, dict) and part.get("type") == "text"
    ]
    return Trial(tools, "\n".join(texts), result.get("isError") is True, seconds)


@contextmanager
def _begun(session: _Session) -> Iterator[_Session]:
    """Do the handshake, where the version has one, and close the session of a stateful server afterwards."""
    if session.version == STATELESS_VERSION:
        yield session
        return
    hello = _request(
        session,
        1,
        "initialize",
        {
            "protocolVersion": PROTOCOL_VERSION,
            "capabilities": {},
            "clientInfo": {"name": USER_AGENT.split("/")[0], "version": "1.0"},
        },
    )
    version = hello.get("protocolVersion")
    if not isinstance(version, str):
        raise ProbeError(
            "protocol", f"{_name(session.endpoint)} isn't an MCP server: initialize gave no protocolVersion"
        )
    session.version = version
    try:
        _post(session, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        yield session
    finally:
        _end(session)


def _tool_names(session: _Session, referring: dict[str, str]) -> Iterator[str]:
    parameters: dict[str, Any] = {}
    for page in range(MOST_PAGES):
        result = _request(session, page + 2, "tools/list", parameters)
        tools = result.get("tools")
        if not isinstance(tools, list):
            raise ProbeError(
                "protocol", f"{_name(session.endpoint)} isn't an MCP server: tools/list gave no tools"
            )
        for tool in tools:
            name = str(tool["name"]) if isinstance(tool, dict) and "name" in tool else ""
            if isinstance(tool, dict) and (found := _references(tool.get("inputSchema"))):
                referring[name] = ", ".join(sorted(found))
                logger.warning(
                    "The schema of tool %s holds %s, which gateways have refused: write it out in place",
                    name,
                    referring[name],
                )
            yield name
        cursor = result.get("nextCursor")
        if not cursor:
            return
        if parameters.get("cursor") == cursor:
            break
        parameters = {"cursor": cursor}
    raise ProbeError(
        "protocol", f"{_name(session.endpoint)}: tools/list repeats its nextCursor without an end"
    )


# JSON Schema's words that point elsewhere; AgentCore has marked targets FAILED for them.
# https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/gateway-target-MCPservers.html
_REFERENCES = frozenset({"$anchor", "$defs", "$dynamicAnchor", "$dynamicRef", "$ref"})


def _references(schema: Any) -> set[str]:
    """Return the words of a schema that refer to other parts of it."""
    if isinstance(schema, list):
        return {word for item in schema for word in _references(item)}
    if not isinstance(schema, dict):
        return set()
    return set(_REFERENCES & schema.keys()) | {word for item in schema.values() for word in _references(item)}


def bearer(token: str) -> Sign:
    """Return a function that authorizes requests by a bearer token (RFC 6750)."""

    def sign(_method: str, _url: str, headers: dict[str, str], _body: bytes) -> dict[str, str]:
        return {**headers, "Authorization": f"Bearer {token}"}

    return sign


def _request(session: _Session, identifier: int, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
    if session.version == STATELESS_VERSION:
        parameters = {**parameters, "_meta": _ENVELOPE}
    body = {"jsonrpc": "2.0", "id": identifier, "method": method, "params": parameters}
    where = _name(session.endpoint)
    for message in _post(session, body):
        if not isinstance(message, dict) or message.get("id") != identifier:
            continue
        if "error" in message:
            error = message["error"] if isinstance(message["error"], dict) else {}
            raise ProbeError(
                "protocol",
                f"{where} answered {method} with error {error.get('code')}: {error.get('message')}",
            )
        if isinstance(message.get("result"), dict):
            result: dict[str, Any] = message["result"]
            return result
    raise ProbeError("protocol", f"{where} isn't an MCP server: its answer to {method} isn't JSON-RPC")


def _post(session: _Session, body: dict[str, Any]) -> list[Any]:
    """Send one message; return the messages of the answer, none where it isn't JSON or an event stream."""
    wanted = body.get("id")
    routing: dict[str, str] = {}
    if session.version == STATELESS_VERSION:
        routing["Mcp-Method"] = body["method"]
        if "name" in body["params"]:
            routing["Mcp-Name"] = body["params"]["name"]
    with _open(session, "POST", json.dumps(body).encode(), routing) as response:
        session.session_id = response.headers.get("Mcp-Session-Id") or session.session_id
        kind = response.headers.get_content_type()
        try:
            if wanted is None:
                return []
            if kind == "text/event-stream":
                return _read_events(response, wanted)
            return [json.loads(response.read(MOST_BYTES))]
        except ValueError:
            return []
        except (OSError, http.client.HTTPException) as error:
            raise connection_error(session.endpoint, error) from error


def _read_events(response: Any, wanted: int) -> list[Any]:
    """Read server-sent events up to the one that carries the answer; the stream may stay open after it."""
    messages: list[Any] = []
    data: list[str] = []
    read = 0
    while read < MOST_BYTES:
        line = response.readline(MOST_BYTES)
        read += len(line)
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text.startswith("data:"):
            data.append(text[5:].removeprefix(" "))
        elif not text:
            if data:
                messages.append(json.loads("\n".join(data)))
                data = []
                if isinstance(messages[-1], dict) and messages[-1].get("id") == wanted:
                    break
            if not line:
                break
    return messages


def _end(session: _Session) -> None:
    """Close the session of a stateful server; one that doesn't know the verb is left alone."""
    if session.session_id:
        try:
            _open(session, "DELETE", None).close()
        except ProbeError as error:
            logger.info("The probe's session stays open until it times out: %s", error)


class _NamedContext(ssl.SSLContext):
    """Has the server prove another name than that of the address, which may be the load balancer's own."""

    certificate_name = ""

    def wrap_socket(self, sock: socket.socket, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """Ask for the certificate of that name, and check it against that name."""
        options["server_hostname"] = self.certificate_name
        return super().wrap_socket(sock, *arguments, **options)


def trusting(certificate_name: str) -> ssl.SSLContext:
    """Return a TLS context for servers with a certificate for this name; empty stands for the address's."""
    if not certificate_name:
        return ssl.create_default_context()
    # Checks names and chains, as a client's context does.
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.certificate_name = certificate_name
    context.load_default_certs()
    return context


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A gateway registers the address as it is, so a redirect is an answer to report, not to follow."""

    def redirect_request(self, *_args: Any, **_keywords: Any) -> None:
        return None


def _open(
    session: _Session, method: str, body: bytes | None, routing: Mapping[str, str] = MappingProxyType({})
) -> Any:
    headers = {
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": session.version,
        "User-Agent": USER_AGENT,
        **routing,
    }
    if session.session_id:
        headers["Mcp-Session-Id"] = session.session_id
    if session.sign is not None:
        headers = session.sign(method, session.endpoint, headers, body or b"")
    opener = urllib.request.build_opener(
        _NoRedirect, urllib.request.HTTPSHandler(context=trusting(session.certificate_name))
    )
    request = urllib.request.Request(session.endpoint, body, headers, method=method)  # noqa: S310 - https by its property
    try:
        return opener.open(request, timeout=session.timeout)
    except urllib.error.HTTPError as error:
        with error:
            raise _status_error(session.endpoint, error) from error
    except urllib.error.URLError as error:
        cause = error.reason if isinstance(error.reason, Exception) else error
        raise connection_error(session.endpoint, cause) from error
    except (OSError, http.client.HTTPException) as error:
        raise connection_error(session.endpoint, error) from error


def _status_error(endpoint: str, error: urllib.error.HTTPError) -> ProbeError:
    status = error.code
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        hint = f"register the address it redirects to: {_name(error.headers.get('Location', 'none given'))}"
    else:
        hint = _STATUS_HINTS.get(status, "see the server's and the load balancer's log")
    text = f"{_name(endpoint)} answered HTTP {status}: {hint}"
    challenge = error.headers.get("WWW-Authenticate", "")
    return ProbeError("http", text, status=status, final=status in _FINAL_STATUSES, challenge=challenge)


def connection_error(endpoint: str, error: Exception) -> ProbeError:
    """Return the ProbeError for what urllib or a socket raised while it talked to `endpoint`."""
    where, host = _name(endpoint), urlsplit(endpoint).hostname
    if isinstance(error, socket.gaierror):
        return ProbeError(
            "dns",
            f"{where}: the name {host} doesn't resolve; check the DNS record or the distribution's state",
        )
    if isinstance(error, ssl.SSLError):
        why = getattr(error, "verify_message", "") or error.reason or "handshake failed"
        return ProbeError("tls", f"{where}: TLS failed; check that the certificate covers {host}: {why}")
    if isinstance(error, TimeoutError):
        return ProbeError(
            "timeout",
            f"{where}: no answer in time; check that the tasks run and security groups let them be reached",
        )
    return ProbeError("connection", f"{where}: connection failed: {type(error).__name__}: {error}")


def _name(endpoint: str) -> str:
    """Return the address without its query, which may hold what isn't for logs."""
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else parts.path
