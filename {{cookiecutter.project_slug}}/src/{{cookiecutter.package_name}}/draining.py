"""A server that finishes what it has begun when it is asked to stop."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from .garbage import collect_rarely

EXIT_STUCK = 1
# How long a connection without a request stays open after the signal: a load balancer may just be sending
# one, and would answer 502 if the connection closed under it.
LINGER_SECONDS = 1.0
# For the application's own end after the last call, and the same again until the process is ended by force.
MARGIN_SECONDS = 1.0
TICK_SECONDS = 0.05

logger = logging.getLogger(__name__)


class DrainingServer(uvicorn.Server):
    """uvicorn, which on SIGTERM stops accepting, lets calls in flight finish, and is gone within a grace."""

    def __init__(self, config: uvicorn.Config, grace_seconds: float, end_streams: Callable[[], None]) -> None:
        """`end_streams` ends what clients hold open without waiting for a result; it is called repeatedly."""
        super().__init__(config)
        self._grace_seconds = grace_seconds
        self._end_streams = end_streams
        self._asked: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        collect_rarely()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; runs in the signal handler."""
        if self._asked is None:
            self._asked = time.monotonic()
            # A thread, since a tool that blocks the event loop blocks everything else here.
            threading.Thread(target=self._end_by_force, name="shutdown deadline", daemon=True).start()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, then wait for what is in flight."""
        asked = self._asked or time.monotonic()
        for listener in self.servers:
            listener.close()
        # Goes out with every answer to a request that is still to come, and closes its connection.
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            # Those whose answer has begun stay open a while after it: their headers promised that, so a load
            # balancer sends its next request there the moment the last chunk is in.
            if cycle is not None and not cycle.response_started:
                connection.shutdown()
        logger.info("Draining", extra={"connections": len(self.server_state.connections)})
        while self.server_state.connections and time.monotonic() < asked + LINGER_SECONDS:
            self._end_streams()
            await asyncio.sleep(TICK_SECONDS)
        self._end_streams()
        left = self._grace_seconds - MARGIN_SECONDS - (time.monotonic() - asked)
        self.config.timeout_graceful_shutdown = max(left, 0)  # type: ignore[assignment]
        await super().shutdown(sockets)
        # uvicorn would end the process with the signal itself, before logs and spans are flushed. The first
        # process of a container would survive that anyway: the kernel spares it unhandled signals.
        with contextlib.suppress(ValueError):
            self._captured_signals.remove(signal.SIGTERM)

    def _end_by_force(self) -> None:
        time.sleep(self._grace_seconds)
        threading.Thread(target=self._say_so, daemon=True).start()
        time.sleep(MARGIN_SECONDS / 2)
        os._exit(EXIT_STUCK)

    def _say_so(self) -> None:
        # In a thread of its own: whoever is stuck may hold the log's lock.
        logger.critical("Ended by force: a tool did not stop", extra={"grace_seconds": self._grace_seconds})
