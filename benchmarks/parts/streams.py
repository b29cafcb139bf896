"""Many event streams open at once, in sessions: what they hold, and what keeping them alive costs."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Iterator

from ..context import Context, Findings, Table
from ..figures import Verdict
from ..processes import Command, Server, running, wait_for
from ..project import HEALTH
from ..wire import PATH, Wire, open_session
from .calls import DEFAULTS, OURS, python

TASK_MIB = 512.0
PING_SECONDS = 15
# Two rounds of pings, wherever between them the window begins.
WINDOW_SECONDS = 2 * PING_SECONDS + 3
QUICK_SECONDS = 2


class StreamError(Exception):
    """A stream wasn't opened, ended, or was silent."""


def run(context: Context) -> Findings:
    """Hold the streams on the generated server with `MCP_STATEFUL`, then on FastMCP's defaults."""
    rows, verdicts, raw = [], [], {}
    for name, command in (
        (OURS, context.project.command(MCP_STATEFUL="true")),
        (DEFAULTS, python("fastmcp_defaults.py")),
    ):
        figures = _hold(context, name, command)
        raw[name] = figures
        before, after, cpu = figures["before_mib"], figures["open_mib"], figures["cpu_share"]
        each = (after - before) * 1024 / context.streams
        rows.append(
            (name, f"{context.streams:,}", f"{before:.0f}", f"{after:.0f}", f"{each:.0f}", f"{cpu:.1%}")
        )
        if name == OURS:
            promise = f"memory with {context.streams:,} open streams"
            how = f"{cpu:.1%} of a core for pings every {PING_SECONDS} s"
            verdicts.append(Verdict(promise, after, TASK_MIB, False, how, "MiB"))
    headings = ("server", "streams", "RSS MiB before", "RSS MiB open", "KiB a stream", "CPU for pings")
    return Findings(Table(headings, rows), verdicts, raw)


def _hold(context: Context, name: str, command: Command) -> dict[str, float]:
    with running(command, context.directory) as server, contextlib.ExitStack() as stack:
        wait_for(server, HEALTH)
        stack.enter_context(_open(server))
        before = server.rss_mib()
        context.say(f"{name}: opening {context.streams:,} streams")
        streams = [stack.enter_context(_open(server)) for _ in range(context.streams)]
        _received(streams, 1)
        window = QUICK_SECONDS if context.quick else WINDOW_SECONDS
        context.say(f"{name}: counting pings for {window} s")
        cpu = server.cpu_seconds()
        pings = _received(streams, window)
        spent = server.cpu_seconds() - cpu
        if not context.quick and pings < 2 * len(streams):
            raise StreamError(f"{len(streams)} streams received {pings} pings in {window} s from {name}")
        return {
            "before_mib": before,
            "open_mib": server.rss_mib(),
            "cpu_share": spent / window,
            "pings": pings,
            "seconds": window,
        }


@contextlib.contextmanager
def _open(server: Server) -> Iterator[socket.socket]:
    session = open_session(server.port)
    headers = {
        "Host": f"127.0.0.1:{server.port}",
        "Accept": "text/event-stream",
        "MCP-Protocol-Version": Wire.LEGACY.value,
        "Mcp-Session-Id": session,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as stream:
        stream.sendall(f"GET {PATH} HTTP/1.1\r\n{lines}\r\n".encode())
        head = stream.recv(65536)
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise StreamError(f"a stream was answered with {head[:200]!r}")
        stream.setblocking(False)
        yield stream


def _received(streams: list[socket.socket], seconds: float) -> int:
    """Read all streams for a while and return how many pings came; raises `StreamError` where one ends."""
    pings = 0
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)
        while (left := end - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                received = key.fileobj.recv(65536)  # type: ignore[union-attr]
                if not received:
                    raise StreamError("the server ended a stream")
                pings += received.count(b": ping")
    return pings
