"""Failures on demand, for tests of whoever calls the control API.

``POST https://agentcore.local-cloud/faults`` (a ``Host`` header sent to the cloud's own port) with
``{"operation": "CreateGatewayTarget", "error": "ThrottlingException", "message": "…", "times": 2}``
makes the next two calls fail; the operation ``ConnectTarget`` makes the next connections to an MCP server
fail with ``message``, so targets become FAILED. ``DELETE`` on the same path forgets all faults.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass

from ..context import Receive, Scope, Send
from ..data_plane.http_message import Request, Response, exchange
from .errors import BY_CODE, ApiError
from .service_model import OPERATIONS

HOST = "agentcore.local-cloud"
CONNECT_TARGET = "ConnectTarget"


@dataclass
class Fault:
    """What the next ``times`` calls of ``operation`` answer."""

    operation: str
    error: str
    message: str
    times: int = 1


class FaultPlan:
    """The failures that are still to come."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Make the next calls fail. Raises ValueError for an unknown operation or exception."""
        if fault.operation not in (*OPERATIONS, CONNECT_TARGET):
            raise ValueError(
                f"unknown operation {fault.operation!r}; one of {', '.join(OPERATIONS)}, {CONNECT_TARGET}"
            )
        if fault.operation != CONNECT_TARGET and fault.error not in BY_CODE:
            raise ValueError(f"unknown exception {fault.error!r}; one of {', '.join(BY_CODE)}")
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Forget all failures."""
        with self._lock:
            self._faults.clear()

    def take(self, operation: str) -> Fault | None:
        """Use up one failure of ``operation``."""
        with self._lock:
            fault = next((item for item in self._faults if item.operation == operation), None)
            if fault is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self._faults.remove(fault)
            return fault

    def check(self, operation: str) -> None:
        """Raise the planned exception of an API operation, if there is one."""
        fault = self.take(operation)
        if fault is not None:
            error: ApiError = BY_CODE[fault.error](fault.message)
            raise error

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The admin endpoint that this module's text describes."""
        await exchange(scope, receive, send, self._respond)

    async def _respond(self, request: Request) -> Response:
        response = Response.of(404, [], b"there is only /faults\n")
        if request.target == "/faults" and request.method == "DELETE":
            self.clear()
            response = Response.of(204, [])
        elif request.target == "/faults" and request.method == "POST":
            try:
                content = json.loads(request.body)
                fault = Fault(
                    content["operation"],
                    content.get("error", ""),
                    content.get("message", "injected by a test"),
                    int(content.get("times", 1)),
                )
                self.add(fault)
                response = Response.of(201, [])
            except (ValueError, KeyError, TypeError) as error:
                response = Response.of(400, [], f"{error}\n".encode())
        return response
