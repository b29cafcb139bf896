"""One log line for each HTTP request that failed."""

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .health import HEALTH_PATH

logger = structlog.get_logger(__name__)

FAILED = 400


class LogRequests:
    """Write `request.failed` with `method`, `path`, `status` and `duration_ms`.

    A call that was served has a line of its own, and a load balancer keeps an access log; `every_request`
    writes `request.served` for these too. Queries, which may hold a token, aren't logged.
    """

    def __init__(self, app: ASGIApp, every_request: bool) -> None:
        self.app = app
        self.every_request = every_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the status of the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._log(scope, message["status"], started)
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception:
            # Starlette answers 500 from further out; the traceback is uvicorn's to log.
            self._log(scope, 500, started)
            raise

    def _log(self, scope: Scope, status: int, started: float) -> None:
        failed = status >= FAILED
        if failed or (self.every_request and scope["path"] != HEALTH_PATH):
            write = logger.warning if failed else logger.debug
            write(
                "request.failed" if failed else "request.served",
                method=scope["method"],
                path=scope["path"],
                status=status,
                duration_ms=round((time.perf_counter() - started) * 1000, 3),
            )
