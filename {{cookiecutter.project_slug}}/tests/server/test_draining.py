"""What SIGTERM does to calls in flight, open streams and tools that don't stop."""

import contextlib
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

MORE_TOOLS = str(Path(__file__).with_name("more_tools.py"))
JSON_ONLY = "application/json"
BOTH = "application/json, text/event-stream"
LEGACY = {"MCP-Protocol-Version": "2025-06-18"}
MODERN_VERSION = "2026-07-28"
CALL_SECONDS = 1.5
Start = Callable[..., AbstractContextManager[Any]]


@pytest.fixture
def begin(start: Start, package: Callable[[str], Any]) -> Callable[..., AbstractContextManager[Any]]:
    def run(**given: Any) -> AbstractContextManager[Any]:
        program = (MORE_TOOLS, package("settings").__package__)
        return start(program=program, **{"SHUTDOWN_GRACE_SECONDS": "6", **given})

    return run


class Call(threading.Thread):
    """A request that is in flight on a connection of its own; `finish` returns what came back."""

    def __init__(self, server: Any, tool: str, arguments: Mapping[str, Any], **headers: str) -> None:
        super().__init__(daemon=True)
        params: dict[str, Any] = {"name": tool, "arguments": arguments, "_meta": {"progressToken": 1}}
        if headers.get("MCP-Protocol-Version") == MODERN_VERSION:
            headers.update({"Mcp-Method": "tools/call", "Mcp-Name": tool})
            params["_meta"] |= {
                "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
                "io.modelcontextprotocol/clientCapabilities": {},
            }
        self.message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        self.headers = {"Content-Type": JSON_ONLY, "Accept": BOTH, **headers}
        self.connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
        self.outcome: tuple[int, Mapping[str, str], bytes] | Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.connection.request("POST", "/mcp", json.dumps(self.message), self.headers)
            answer = self.connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            self.outcome = (answer.status, headers, answer.read())
        except (OSError, http.client.HTTPException) as error:
            self.outcome = error

    def finish(self) -> tuple[int, Mapping[str, str], bytes]:
        self.join(20)
        assert isinstance(self.outcome, tuple), self.outcome
        return self.outcome


def terminate(server: Any) -> float:
    server.process.send_signal(signal.SIGTERM)
    return time.monotonic()


def session(server: Any) -> dict[str, str]:
    client = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    begun = server.rpc("initialize", client, Accept=BOTH)
    return {**LEGACY, "Mcp-Session-Id": begun.headers["mcp-session-id"]}


@contextlib.contextmanager
def standing_stream(server: Any, headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", "/mcp", headers={**headers, "Accept": "text/event-stream"})
        answer = connection.getresponse()
        assert answer.status == 200
        yield answer


def test_calls_in_flight_finish(begin: Start) -> None:
    tools = ("wait", "work", "report")
    kinds = list(itertools.product(("2025-06-18", MODERN_VERSION), (JSON_ONLY, BOTH), tools))
    with begin() as server:
        calls = [
            Call(
                server, tool, {"seconds": CALL_SECONDS}, **{"MCP-Protocol-Version": version, "Accept": accept}
            )
            for version, accept, tool in kinds
        ]
        time.sleep(0.8)
        asked = terminate(server)
        answers = [call.finish() for call in calls]
        assert server.process.wait(timeout=5) == 0
        assert time.monotonic() - asked < CALL_SECONDS + 2
    for (version, accept, tool), (status, headers, body) in zip(kinds, answers, strict=True):
        assert status == 200, (version, accept, tool)
        assert b'"isError":false' in body
        assert tool.encode() in body
        streamed = tool == "report" and accept == BOTH
        assert headers["content-type"].split(";")[0] == ("text/event-stream" if streamed else JSON_ONLY)
        if not streamed:
            assert headers["connection"] == "close"


def test_a_call_in_flight_in_a_session_finishes_and_its_standing_stream_ends_cleanly(begin: Start) -> None:
    with begin(MCP_STATEFUL="true") as server:
        headers = session(server)
        with standing_stream(server, headers) as stream:
            call = Call(server, "report", {"seconds": CALL_SECONDS}, **headers)
            time.sleep(0.5)
            asked = terminate(server)
            # `read` raises IncompleteRead when the last chunk is missing.
            stream.read()
            assert time.monotonic() - asked < 1
            status, _, body = call.finish()
        assert status == 200
        assert body.count(b"notifications/progress") == 3
        assert b'"reported"' in body
        assert server.process.wait(timeout=5) == 0
        lines = server.stop()
    assert not [line for line in lines if "without completing response" in line or "Traceback" in line]


def test_a_session_s_stream_outlives_the_library_s_own_watch_for_the_signal(begin: Start) -> None:
    """sse-starlette asks every half second whether uvicorn is to exit, and then ends every stream."""
    with begin(MCP_STATEFUL="true") as server:
        call = Call(server, "report", {"seconds": 2.4}, **session(server))
        time.sleep(0.6)
        terminate(server)
        status, headers, body = call.finish()
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        assert body.count(b"notifications/progress") == 3
        assert b'"reported"' in body
        assert server.process.wait(timeout=5) == 0


def test_standing_streams_alone_hold_nothing_up(begin: Start) -> None:
    with begin(MCP_STATEFUL="true") as server, contextlib.ExitStack() as stack:
        streams = [stack.enter_context(standing_stream(server, session(server))) for _ in range(20)]
        asked = terminate(server)
        for stream in streams:
            stream.read()
        assert server.process.wait(timeout=5) == 0
        assert time.monotonic() - asked < 2


def test_nothing_new_is_accepted_but_an_open_connection_is_served_once_more(begin: Start) -> None:
    with begin() as server:
        call = Call(server, "wait", {"seconds": CALL_SECONDS})
        kept = http.client.HTTPConnection(server.host, server.port, timeout=10)
        with contextlib.closing(kept):
            kept.request("GET", "/health")
            assert kept.getresponse().read()
            time.sleep(0.3)
            terminate(server)
            time.sleep(0.4)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((server.host, server.port), timeout=5)
            kept.request("GET", "/health")
            answer = kept.getresponse()
            assert answer.status == 200
            assert answer.getheader("connection") == "close"
            answer.read()
        assert call.finish()[0] == 200
        assert server.process.wait(timeout=5) == 0


def test_a_connection_whose_stream_ends_in_the_drain_is_served_once_more(begin: Start) -> None:
    """A load balancer sends the next request the moment the last chunk is in; closed, it would be a 502."""
    with begin() as server:
        call = Call(server, "report", {"seconds": 0.9})
        time.sleep(0.6)
        asked = terminate(server)
        _, headers, _ = call.finish()
        assert headers["content-type"] == "text/event-stream"
        assert time.monotonic() - asked < 1, "the stream outlasted what is tested here"
        call.connection.request("GET", "/health")
        answer = call.connection.getresponse()
        assert (answer.status, answer.getheader("connection")) == (200, "close")
        answer.read()
        assert server.process.wait(timeout=5) == 0


@pytest.mark.parametrize("tool", ["wait", "work", "block"])
def test_a_tool_that_does_not_stop_is_left_behind(begin: Start, tool: str) -> None:
    with begin(SHUTDOWN_GRACE_SECONDS="2") as server:
        Call(server, tool, {"seconds": 120})
        time.sleep(0.8)
        asked = terminate(server)
        status = server.process.wait(timeout=10)
        taken = time.monotonic() - asked
        assert taken < 3
        # Whatever can be cancelled is; a thread can't.
        assert status == (0 if tool == "wait" else 1)
        events = [json.loads(line)["event"] for line in server.stop()]
    assert any("Ended by force" in event for event in events) == (tool != "wait")


def namespace() -> list[str]:
    """Return what runs a command as process 1 of a namespace of its own; nothing where that isn't allowed."""
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return []
    done = subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if done.returncode == 0 else []


@pytest.mark.parametrize(("seconds", "status"), [(CALL_SECONDS, 0), (120, 1)])
def test_the_first_process_of_a_container_drains_too(begin: Start, seconds: float, status: int) -> None:
    """The kernel spares process 1 every signal it has no handler for, so an end by signal never comes."""
    prefix = namespace()
    with begin(SHUTDOWN_GRACE_SECONDS="3", prefix=prefix) as server:
        target = server.process.pid
        if prefix:
            target = int(Path(f"/proc/{target}/task/{target}/children").read_text())
        call = Call(server, "work", {"seconds": seconds})
        time.sleep(0.5)
        os.kill(target, signal.SIGTERM)
        if status == 0:
            assert call.finish()[0] == 200
        assert server.process.wait(timeout=8) == status
