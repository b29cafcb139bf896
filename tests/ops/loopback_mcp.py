"""A minimal MCP endpoint over TLS on loopback that behaves or misbehaves as told, and a CONNECT proxy."""

import datetime
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TARGET = "knowledge-mcp-server"


@dataclass
class Behaviour:
    """What the endpoint does.

    Attributes:
        sse: answer with an event stream that stays open.
        health: answers to /health, in order; the last one is repeated.
        refuse_signed: answer signed calls with this status.
        refuse_unsigned: answer unsigned calls with this status.
        open_to_all: answer unsigned calls to the gateway.
        token: answer calls to the gateway that carry this bearer token; signed ones are strangers' then.
        refuse_strangers: answer calls to the server itself with this status; 0 answers them.
        total: what 10 + 20 is.
        tools: names listed by the gateway, one a page.
        tool_error: report an error in the tool.
    """

    sse: bool = False
    health: list[tuple[int, str]] = field(default_factory=lambda: [(200, '{"status":"healthy"}')])
    refuse_signed: int = 0
    refuse_unsigned: int = 401
    open_to_all: bool = False
    token: str = ""
    refuse_strangers: int = 401
    total: int = 30
    tools: tuple[str, ...] = ("x_amz_bedrock_agentcore_search", f"{TARGET}___simpleadd")
    tool_error: bool = False
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: Behaviour

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""

    def do_GET(self) -> None:
        answers = self.behaviour.health
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self._answer(status, body.encode())

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.behaviour.requests.append((self.path, headers, message))
        if self.path == "/gateway/mcp":
            proof = f"Bearer {self.behaviour.token}" if self.behaviour.token else "AWS4-HMAC-SHA256 "
            signed = headers.get("authorization", "").startswith(proof)
            if not signed and not self.behaviour.open_to_all:
                return self._answer(
                    self.behaviour.refuse_unsigned, b'{"message":"Missing Authentication Token"}'
                )
            if signed and self.behaviour.refuse_signed:
                return self._answer(self.behaviour.refuse_signed, b'{"message":"not allowed"}')
        elif self.behaviour.refuse_strangers:
            return self._answer(self.behaviour.refuse_strangers, b'{"error":"invalid_token"}')
        if "id" not in message:
            return self._answer(202, b"")
        return self._reply({"jsonrpc": "2.0", "id": message["id"], "result": self._result(message)})

    def _result(self, message: dict[str, Any]) -> dict[str, Any]:
        match message["method"]:
            case "initialize":
                server = {"name": "loopback", "version": "1"}
                return {"protocolVersion": "2025-06-18", "serverInfo": server, "capabilities": {}}
            case "tools/list":
                page = int(message["params"].get("cursor", "0"))
                more = page + 1 < len(self.behaviour.tools)
                result: dict[str, Any] = {"tools": [{"name": self.behaviour.tools[page]}]}
                return {**result, "nextCursor": str(page + 1)} if more else result
            case _:
                text = "it broke" if self.behaviour.tool_error else str(self.behaviour.total)
                return {"content": [{"type": "text", "text": text}], "isError": self.behaviour.tool_error}

    def _reply(self, message: dict[str, Any]) -> None:
        if not self.behaviour.sse:
            return self._answer(200, json.dumps(message).encode())
        progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}
        first, second = json.dumps(message)[:20], json.dumps(message)[20:]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Mcp-Session-Id", "session-1")
        self.end_headers()
        # The answer comes in two pieces and the stream stays open, as a server may keep it.
        for piece in (
            f": hello\r\n\r\ndata: {json.dumps(progress)}\r\n\r\n",
            f"data: {first}",
            f"{second}\n\n",
        ):
            self.wfile.write(f"{len(piece):x}\r\n{piece}\r\n".encode())
            self.wfile.flush()
        self.connection.settimeout(10)
        try:
            while self.connection.recv(100):
                pass
        except OSError:
            pass
        self.close_connection = True
        return None

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that goes away early is part of the test."""


@contextmanager
def serve(behaviour: Behaviour, certificate: tuple[Path, Path]) -> Iterator[str]:
    """Serve over TLS on a free loopback port; yields host:port."""
    with https_server(type("BoundHandler", (Handler,), {"behaviour": behaviour}), certificate) as place:
        yield place


@contextmanager
def https_server(handler: type[BaseHTTPRequestHandler], certificate: tuple[Path, Path]) -> Iterator[str]:
    """Serve `handler` over TLS on a free loopback port; yields host:port."""
    server = Server(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def make_certificate(folder: Path, *names: str) -> tuple[Path, Path]:
    """Write a self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    alternatives = [x509.DNSName(each) for each in ("localhost", *names)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([*alternatives, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


@contextmanager
def connect_proxy(port: int) -> Iterator[tuple[str, list[str]]]:
    """Serve CONNECT on loopback, leading every host to one port; yields its URL and what was asked."""
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

        def do_CONNECT(self) -> None:
            asked.append(self.path)
            with socket.create_connection(("127.0.0.1", port)) as upstream:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=pump, args=(upstream, self.connection))
                back.start()
                pump(self.connection, upstream)
                back.join()
            self.close_connection = True

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    server = Server(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
