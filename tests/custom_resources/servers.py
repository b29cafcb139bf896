"""Servers on loopback: one that takes CloudFormation responses, one that is an MCP server to a script."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SIGNATURE = "X-Amz-Signature=5ecre7"


class Inbox:
    """Takes PUTs; `answers` holds the statuses for the next ones, 200 when it is empty."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.content_types: list[str | None] = []
        self.answers: list[int] = []
        self.url = ""

    def put(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            self.bodies.append(json.loads(body))
        self.content_types.append(handler.headers.get("Content-Type"))
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()


Reply = tuple[int, dict[str, str], bytes]


class McpServer:
    """Answers messages with `answer(message)`; every request's verb, headers and message are kept."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.paths: list[str] = []
        self.answer: Callable[[dict[str, Any]], Reply] = lambda message: (500, {}, b"")
        self.url = ""

    def post(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        message = json.loads(handler.rfile.read(length) or b"null")
        headers = {key.lower(): value for key, value in handler.headers.items()}
        self.requests.append((handler.command, headers, message))
        self.paths.append(handler.path)
        status, reply_headers, body = (200, {}, b"") if handler.command == "DELETE" else self.answer(message)
        handler.send_response(status)
        for name, value in {**reply_headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)


def result(message: dict[str, Any], value: dict[str, Any]) -> Reply:
    body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}).encode()
    return 200, {"Content-Type": "application/json"}, body


def mcp_answers(*pages: list[str]) -> Callable[[dict[str, Any]], Reply]:
    """A well-behaved server with these pages of tools."""

    def answer(message: dict[str, Any]) -> Reply:
        if message["method"] == "initialize":
            return result(message, {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}})
        if message["method"] == "notifications/initialized":
            return 202, {}, b""
        page = int(message["params"].get("cursor", "0"))
        value: dict[str, Any] = {"tools": [{"name": name, "inputSchema": {}} for name in pages[page]]}
        if page + 1 < len(pages):
            value["nextCursor"] = str(page + 1)
        return result(message, value)

    return answer


@contextlib.contextmanager
def serving(
    handle: Callable[[BaseHTTPRequestHandler], None], certificate: Path | None = None
) -> Iterator[int]:
    """Serve GET, PUT, POST and DELETE on a free port of loopback, over TLS where there is a certificate."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            handle(self)

        do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that refuses the certificate hangs up: that is a test's subject, not an accident."""

    server = Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
