"""What servers talk to while they are measured, on loopback: a collector of spans, an issuer's keys."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Peer:
    """A server that answers every GET with one document and counts what is posted."""

    document: Mapping[str, Any]
    url: str = ""
    posts: list[int] = field(default_factory=list)
    """Length in bytes of each body."""


@contextlib.contextmanager
def answering(document: Mapping[str, Any]) -> Iterator[Peer]:
    """Serve until the end of the context, from a thread of this process."""
    peer = Peer(document)
    body = json.dumps(document).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(body)

        def do_POST(self) -> None:
            peer.posts.append(len(self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer(b"{}")

        def _answer(self, text: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name in the library
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    peer.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield peer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
