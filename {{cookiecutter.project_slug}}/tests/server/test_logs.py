"""What a real server process writes: JSON lines only, one for each call, and nothing a caller sent."""

import json
import re
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

Start = Callable[..., AbstractContextManager[Any]]

TRACE = "1-67891233-abcdef012345678912345678"
SECRET = "hunter2-hunter2"
# A tool that does everything that could break the format, and another that fails in three ways.
PROGRAM = """
import logging, sys, threading, warnings
import pydantic
import {package}.tools
from fastmcp.exceptions import ToolError

class Extra:
    @staticmethod
    def register(server, settings):
        @server.tool
        def noisy(secret: str) -> int:
            "Write in every way there is."
            print("printed\\ntwice")
            print("to standard error", file=sys.stderr)
            print("half a ", end="", flush=True)
            print("line")
            warnings.warn("deprecated thing")
            thread = threading.Thread(target=lambda: 1 / 0)
            thread.start()
            thread.join()
            logging.getLogger("third.party").error("two\\nlines", exc_info=ValueError("boom"))
            logging.getLogger("{package}.own").debug("own debug")
            logging.getLogger("fastmcp.anything").info("FastMCP's own")
            logging.getLogger("third.party").info("cannot be formatted %d", "text")
            return 1

        @server.tool
        def fails(how: str, even: "Even" = 2) -> int:
            "Fail."
            if how == "kindly":
                raise ToolError("ask for less")
            raise RuntimeError("the inner reason")

def even(value):
    if value % 2:
        raise ValueError(f"{{value}} is odd")
    return value

from typing import Annotated
Even = Annotated[int, pydantic.AfterValidator(even)]
{package}.tools.TOOLS = (*{package}.tools.TOOLS, Extra)
from {package}.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def program(package: Callable[[str], Any]) -> str:
    return PROGRAM.format(package=package("settings").__package__)


def lines_of(server: Any) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.stop()]
    assert all(isinstance(line, dict) for line in lines)
    return lines


def call(server: Any, tool: Any, arguments: Any, **headers: str) -> Any:
    return server.rpc("tools/call", {"name": tool, "arguments": arguments}, **headers)


def insights(lines: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Evaluate `filter ispresent(tool) | stats avg(duration_ms), pct(duration_ms, 99) by tool`.

    CloudWatch discovers no field where JSON has null, and statistics leave lines without the field out.
    """
    durations: dict[str, list[float]] = {}
    for line in lines:
        if line.get("tool") is not None:
            durations.setdefault(line["tool"], [])
            if line.get("duration_ms") is not None:
                durations[line["tool"]].append(line["duration_ms"])
    return {
        tool: {"avg_ms": sum(found) / len(found), "p99_ms": sorted(found)[int(0.99 * (len(found) - 1))]}
        for tool, found in durations.items()
    }


def test_each_call_is_one_line_with_every_field(start: Start, program: str) -> None:
    with start(program=("-c", program)) as server:
        ids = {"X_Amzn_Trace_Id": f"Root={TRACE}", "Mcp_Session_Id": "a-session"}
        call(server, "simpleadd", {"a": 1, "b": 2}, **ids)
        call(server, "simpleadd", {"a": "x", "b": 2}, **ids)
        call(server, "fails", {"how": "kindly"}, **ids)
        call(server, "fails", {"how": "badly"}, **ids)
        call(server, "no_such_tool", {}, **ids)
        lines = [line for line in lines_of(server) if line.get("event", "").startswith("tool.")]
    found = [(line["tool"], line["event"], line["level"]) for line in lines]
    assert found == [
        ("simpleadd", "tool.succeeded", "info"),
        ("simpleadd", "tool.failed", "warning"),
        ("fails", "tool.failed", "warning"),
        ("fails", "tool.failed", "error"),
        ("no_such_tool", "tool.failed", "warning"),
    ]
    for line in lines:
        assert line["timestamp"].endswith("Z")
        assert line["trace_id"] == TRACE
        assert line["session_id"] == "a-session"
        assert isinstance(line["duration_ms"], float)
        assert 0 <= line["duration_ms"] < 10_000
        assert ("error" in line) == (line["event"] == "tool.failed")
    assert lines[2]["error"] == "ToolError: ask for less"
    assert lines[3]["error"] == "RuntimeError: the inner reason"
    assert "in fails" in lines[3]["exception"]
    assert all("exception" not in line for line in (*lines[:3], lines[4]))


def test_the_logs_insights_query_by_tool_finds_latencies(start: Start, program: str) -> None:
    with start(program=("-c", program)) as server:
        for number in range(5):
            call(server, "simpleadd", {"a": number, "b": 2})
        call(server, "noisy", {"secret": "x"})
        found = insights(lines_of(server))
    assert found.keys() == {"simpleadd", "noisy"}
    assert all(0 < row["avg_ms"] < 10_000 and row["p99_ms"] > 0 for row in found.values())


def test_whatever_is_written_is_a_json_line(start: Start, program: str) -> None:
    with start(program=("-c", program), LOG_LEVEL="DEBUG") as server:
        assert call(server, "noisy", {"secret": "x"}).json()["result"]["isError"] is False
        server.request("BROKEN REQUEST LINE", "/mcp")
        lines = lines_of(server)
    by_logger: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        assert {"timestamp", "level", "event", "logger", "trace_id", "session_id"} <= line.keys()
        by_logger.setdefault(line["logger"], []).append(line)
    assert [line["event"] for line in by_logger["stdout"]] == ["printed", "twice", "half a line"]
    assert "to standard error" in [line["event"] for line in by_logger["stderr"]]
    assert "deprecated thing" in by_logger["py.warnings"][0]["event"]
    assert by_logger["third.party"][0]["error"] == "ValueError: boom"
    assert by_logger["fastmcp.anything"][0]["event"] == "FastMCP's own"
    crash = next(line for line in lines if line["event"] == "crashed")
    assert crash["error"] == "ZeroDivisionError: division by zero"
    assert "Traceback" in crash["exception"]
    assert any(line["event"] == "own debug" for line in lines)
    assert "uvicorn.error" in by_logger
    served = next(line for line in lines if line["event"] == "request.served")
    assert (served["level"], served["path"], served["status"]) == ("debug", "/mcp", 200)


@pytest.mark.parametrize("stateful", ["false", "true"])
def test_arguments_and_tokens_are_never_logged(start: Start, program: str, stateful: str) -> None:
    modern = {"MCP_Protocol_Version": "2026-07-28", "Mcp_Method": "tools/call", "Mcp_Name": "simpleadd"}
    with start(program=("-c", program), LOG_LEVEL="DEBUG", MCP_STATEFUL=stateful) as server:
        for headers in ({}, modern):
            headers = {**headers, "Authorization": f"Bearer {SECRET}", "Cookie": SECRET, "X_Api_Key": SECRET}
            call(server, "noisy", {"secret": SECRET}, **headers)
            call(server, "noisy", {"secret": [SECRET]}, **headers)
            call(server, "noisy", {"secret": "x", SECRET: 1}, **headers)
            call(server, "noisy", SECRET, **headers)
            call(server, 5, {"secret": SECRET}, **headers)
            call(server, "no_such_tool", {"secret": SECRET}, **headers)
            server.rpc("initialize", {"clientInfo": SECRET}, **headers)
            server.rpc("notifications/cancelled", {"reason": SECRET}, **headers)
            for body in (f'[{{"x": "{SECRET}"}}]', f'{{"{SECRET}": 1}}', f'{{"x": "{SECRET}"'):
                server.request(
                    "POST",
                    f"/mcp?access_token={SECRET}",
                    body.encode(),
                    {"Content-Type": "application/json", "Authorization": f"Bearer {SECRET}"},
                )
        output = "\n".join(server.stop())
    assert "tool.failed" in output or stateful == "true"
    assert SECRET not in output


def test_an_answer_holds_no_values_and_no_inner_reason(start: Start, program: str) -> None:
    with start(program=("-c", program)) as server:
        wrong = call(server, "noisy", {"secret": [SECRET]}).json()["result"]
        odd = call(server, "fails", {"how": "kindly", "even": 7654321}).json()["result"]
        kind = call(server, "fails", {"how": "kindly"}).json()["result"]
        bad = call(server, "fails", {"how": "badly"})
    assert wrong["isError"] is odd["isError"] is kind["isError"] is bad.json()["result"]["isError"] is True
    assert "secret: Input should be a valid string" in wrong["content"][0]["text"]
    assert SECRET not in json.dumps(wrong)
    assert "even: not acceptable" in odd["content"][0]["text"]
    assert "7654321" not in json.dumps(odd)
    assert kind["content"][0]["text"] == "ask for less"
    assert b"inner reason" not in bad.body
    assert b"Traceback" not in bad.body


def test_only_requests_that_failed_are_told_of_and_health_checks_never(start: Start) -> None:
    with start() as server:
        server.request("GET", "/health")
        call(server, "simpleadd", {"a": 1, "b": 2})
        server.request("GET", f"/nothing?access_token={SECRET}", headers={"X-Amzn-Trace-Id": f"Root={TRACE}"})
        requests = [line for line in lines_of(server) if line["event"].startswith("request.")]
    (request,) = requests
    assert (request["event"], request["level"]) == ("request.failed", "warning")
    assert (request["method"], request["path"], request["status"]) == ("GET", "/nothing", 404)
    assert request["trace_id"] == TRACE
    assert request["duration_ms"] >= 0
    assert SECRET not in json.dumps(request)


def test_a_server_that_cannot_start_says_so_in_json(command: Any, package: Callable[[str], Any]) -> None:
    process = command()
    name = package("settings").__package__
    code = f"import {name}.app as a; a.build_app = None; from {name}.__main__ import main; main()"
    crashed = subprocess.run(
        [process["args"][0], "-c", code],
        env=process["env"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert crashed.returncode == 1
    last = [json.loads(line) for line in crashed.stdout.splitlines()][-1]
    assert (last["level"], last["event"]) == ("critical", "crashed")
    assert last["error"].startswith("TypeError")
    assert "Traceback" in last["exception"]
    assert crashed.stderr == ""
    refused = subprocess.run(**command(PORT="abc"), capture_output=True, text=True, timeout=30, check=False)
    assert json.loads(refused.stderr)["event"] == "settings.refused"


class Opaque:
    def __repr__(self) -> str:
        return "opaque"


@pytest.mark.parametrize(
    "values",
    [
        {"text": 'a "b"\n\\', "number": 1.5, "count": 10**30, "yes": True, "none": None},
        {"text": "Zürich \u2028 \U0001f600"},
        {"text": "half of a pair \ud83d"},
        {"list": [1, {"a": None}], "opaque": Opaque(), "exact": Decimal("1.50")},
        {"exact": Decimal("1.50")},
        {"not a number": float("nan"), "much": float("inf")},
    ],
)
def test_a_line_is_ascii_and_holds_what_was_logged(package: Callable[[str], Any], values: Any) -> None:
    line = package("logs")._as_json(None, "info", dict(values))
    # A stream may not know how to write anything else.
    assert line.isascii()
    assert "\n" not in line
    assert line == json.dumps(values, default=repr, separators=(",", ":"))


def test_a_time_stamp_is_utc_to_the_microsecond(package: Callable[[str], Any]) -> None:
    before = datetime.now(UTC)
    stamp = package("logs")._add_time(None, "info", {})["timestamp"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", stamp)
    assert before <= datetime.fromisoformat(stamp) <= datetime.now(UTC)


@pytest.fixture
def ids(package: Callable[[str], Any]) -> Any:
    return package("request_ids")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"Root={TRACE}", (True, None, False)),
        (f"Self=1-67891299-000000000000000000000001;Root={TRACE}", (True, None, False)),
        (f"Root={TRACE};Parent=53995c3f42cd8ad8;Sampled=1", (True, 0x53995C3F42CD8AD8, True)),
        (f"Root={TRACE} ; Parent=000000000000000a ; Sampled=0;Lineage=a:1|b:2", (True, 10, False)),
        (f"Root={TRACE};Parent=short;Sampled=?", (True, None, False)),
        ("Root=1-00000000-000000000000000000000000", None),
        ("Root=2-67891233-abcdef012345678912345678", None),
        ("Root=1-6789123-abcdef012345678912345678", None),
        ("Parent=53995c3f42cd8ad8;Sampled=1", None),
        ("", None),
        (";;==;Root", None),
    ],
)
def test_the_trace_header_is_read_as_aws_writes_it(ids: Any, header: str, expected: Any) -> None:
    found = ids.parse_trace_header(header)
    if expected is None:
        assert found is None
    else:
        assert (ids.xray_trace_id(found.trace_id) == TRACE, found.parent_id, found.sampled) == expected
