"""A forward proxy on loopback that leads AWS host names into the cloud and refuses every other."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

logger = logging.getLogger(__name__)

ALLOWED_SUFFIXES: tuple[str, ...] = (
    ".amazonaws.com",  # every API, *.elb.amazonaws.com, *.gateway.bedrock-agentcore.<region>.amazonaws.com
    ".cloudfront.net",
    ".amazoncognito.com",
    ".on.aws",
)
_ANY_PORT = ".elb.amazonaws.com"
"""Load balancers listen where they are told to; a tunnel to a port other than 80 carries TLS."""
_HEAD_LIMIT = 64 * 1024
_HEAD_TIMEOUT = 30.0
_CHUNK = 64 * 1024
_AUTHORITY = re.compile(r"(?P<host>[^:\[\]]+):(?P<port>\d{1,5})")
_HOP_HEADERS = (b"proxy-connection:", b"proxy-authorization:", b"connection:", b"keep-alive:")


class ForwardProxy:
    """Maps ``CONNECT host:443`` to the cloud's TLS port and ``GET http://host/…`` to its plain port.

    No name is resolved and nothing leaves the machine: a host outside ``suffixes`` gets 403 with a body
    that says so.
    """

    def __init__(self, tls_port: int, plain_port: int, suffixes: Sequence[str] = ALLOWED_SUFFIXES) -> None:
        self._tls_port = tls_port
        self._plain_port = plain_port
        self._suffixes = tuple(suffixes)
        self._also_leads: Callable[[str], bool] = lambda _host: False
        self._is_source: Callable[[str], bool] = lambda _address: False
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen on a free loopback port and return it."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_HEAD_LIMIT)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening and cut the connections that are open."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def allows(self, host: str) -> bool:
        """Whether ``host`` is a name that this cloud stands for."""
        return host.lower().endswith(self._suffixes) or self._also_leads(host.lower())

    def also_lead(self, matches: Callable[[str], bool]) -> None:
        """Lead further names into the cloud, such as those that a distribution has of its own."""
        self._also_leads = matches

    def send_from(self, is_source: Callable[[str], bool]) -> None:
        """Open a client's connections from the loopback address that it gives as its user name.

        ``is_source`` tells which addresses are known; with any other user name, or none, it is 127.0.0.1.
        """
        self._is_source = is_source

    async def _connect(self, port: int, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        user = _user(head)
        source = (user, 0) if self._is_source(user) else None
        return await asyncio.open_connection("127.0.0.1", port, local_addr=source)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        except Exception:
            logger.exception("proxy connection failed")
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_TIMEOUT)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            await _answer(writer, 400, "The proxy got no complete HTTP request head.")
            return
        parts = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(parts) != 3:
            await _answer(writer, 400, "The proxy got a malformed HTTP request line.")
            return
        method, target, version = parts
        if method == "CONNECT":
            await self._tunnel(target, head, reader, writer)
        else:
            await self._forward(method, target, version, head, reader, writer)

    async def _tunnel(
        self, authority: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        match = _AUTHORITY.fullmatch(authority)
        if match is None:
            await _answer(writer, 400, f"CONNECT needs host:port, not {authority!r}.")
        elif not self.allows(match["host"]):
            await self._refuse(writer, match["host"])
        elif match["port"] not in {"443", "80"} and not match["host"].lower().endswith(_ANY_PORT):
            await _answer(writer, 403, f"The local cloud serves ports 80 and 443 only, not {match['port']}.")
        else:
            port = self._plain_port if match["port"] == "80" else self._tls_port
            upstream_reader, upstream_writer = await self._connect(port, head)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _relay(reader, writer, upstream_reader, upstream_writer)

    async def _forward(
        self,
        method: str,
        target: str,
        version: str,
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        url = urlsplit(target)
        if url.scheme != "http" or not url.hostname:
            await _answer(
                writer, 400, f"A proxy request needs an absolute http:// address, not {target[:200]!r}."
            )
            return
        if not self.allows(url.hostname):
            await self._refuse(writer, url.hostname)
            return
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        lines = head.rstrip(b"\r\n").split(b"\r\n")[1:]
        kept = [line for line in lines if not line.lower().startswith(_HOP_HEADERS)]
        # One request per connection: the next one may be for another host.
        request = [f"{method} {path} {version}".encode("latin-1"), *kept, b"Connection: close", b"", b""]
        upstream_reader, upstream_writer = await self._connect(self._plain_port, head)
        upstream_writer.write(b"\r\n".join(request))
        await _relay(reader, writer, upstream_reader, upstream_writer)

    async def _refuse(self, writer: asyncio.StreamWriter, host: str) -> None:
        logger.warning("proxy refused %s", host)
        allowed = ", ".join(f"*{suffix}" for suffix in self._suffixes)
        await _answer(
            writer,
            403,
            f"The local cloud has no route to {host}. It answers for {allowed} and never leaves the machine.",
        )


def _user(head: bytes) -> str:
    """User name of a request's Proxy-Authorization; empty without one."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        scheme, _, credentials = value.strip().partition(b" ")
        if name.lower() == b"proxy-authorization" and scheme.lower() == b"basic":
            with contextlib.suppress(ValueError):
                return base64.b64decode(credentials, validate=True).partition(b":")[0].decode("latin-1")
    return ""


async def _answer(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    reason = {400: "Bad Request", 403: "Forbidden"}[status]
    body = (text + "\n").encode()
    writer.write(
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        + body
    )
    with contextlib.suppress(OSError):
        await writer.drain()


async def _relay(
    client_reader: asyncio.StreamReader,
    client_writer: asyncio.StreamWriter,
    upstream_reader: asyncio.StreamReader,
    upstream_writer: asyncio.StreamWriter,
) -> None:
    """Copy both ways; an end of file on one way is passed on while the other way goes on."""
    try:
        await asyncio.gather(
            _copy(client_reader, upstream_writer), _copy(upstream_reader, client_writer, close_after=True)
        )
    finally:
        upstream_writer.close()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, close_after: bool = False
) -> None:
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        writer.close()
        return
    with contextlib.suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()
    if close_after:
        # The cloud has ended the connection: there is nobody left to hear the client.
        writer.close()
