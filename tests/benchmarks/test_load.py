from __future__ import annotations

import json
import re

import pytest

from benchmarks.wire import Call, Wire, tool_call, total
from benchmarks.wrk import MARK, LoadError, parse, quoted, script

FIGURES = {"calls": 3000, "microseconds": 2_000_000, "p50": 1500, "p99": 25_250, "statuses": 0, "sockets": 0}
OUTPUT = """\
Running 2s test @ http://127.0.0.1:8080/mcp
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    11.09ms    4.12ms  44.20ms   83.95%
Requests/sec:   1500.00
{summary}
"""


def output(**figures: int) -> str:
    return OUTPUT.format(summary=MARK + json.dumps({**FIGURES, **figures}))


def unquoted(literal: str) -> str:
    codes = re.fullmatch(r'"((?:\\\d{3})*)"', literal)
    assert codes is not None
    return bytes(int(code) for code in codes[1].split("\\")[1:]).decode()


def test_the_summary_is_read_in_seconds_and_milliseconds() -> None:
    found = parse(output())
    assert (found.calls, found.seconds, found.p50_ms, found.p99_ms) == (3000, 2.0, 1.5, 25.25)


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"statuses": 7}, "7 of 3000 calls refused"),
        ({"sockets": 2}, "2 connections failed"),
        ({"calls": 0}, "no call was answered"),
    ],
)
def test_failed_calls_are_no_measurement(figures: dict[str, int], message: str) -> None:
    with pytest.raises(LoadError, match=message):
        parse(output(**figures))


def test_no_summary_is_an_error_that_shows_what_there_was() -> None:
    with pytest.raises(LoadError, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:8080 Connection refused\n")


@pytest.mark.parametrize("text", ['{"a": "\\\\"}', "é", "]]\n", ""])
def test_any_text_is_one_lua_literal(text: str) -> None:
    assert unquoted(quoted(text)) == text


def test_the_script_holds_the_call_and_its_sessions() -> None:
    call = Call({"Accept": "*/*"}, "{}", ("one", "two"))
    lua = script(call)
    assert f"{quoted('/mcp')}, {quoted('{}')}" in lua
    assert f"wrk.headers[{quoted('Accept')}] = {quoted('*/*')}" in lua
    assert f"sessions, requests, turn = {{ {quoted('one')}, {quoted('two')} }}" in lua


def test_sessions_take_turns() -> None:
    call = Call({"Accept": "*/*"}, "{}", ("one", "two"))
    assert [call.headers_in(turn)["Mcp-Session-Id"] for turn in range(3)] == ["one", "two", "one"]
    assert "Mcp-Session-Id" not in Call({"Accept": "*/*"}, "{}").headers_in(0)


def test_each_era_says_which_revision_it_speaks() -> None:
    legacy, modern = tool_call(Wire.LEGACY), tool_call(Wire.MODERN, token="secret")
    assert "Mcp-Method" not in legacy.headers
    assert "_meta" not in json.loads(legacy.body)["params"]
    assert modern.headers["Mcp-Name"] == json.loads(modern.body)["params"]["name"] == "simpleadd"
    meta = json.loads(modern.body)["params"]["_meta"]
    assert meta["io.modelcontextprotocol/protocolVersion"] == modern.headers["MCP-Protocol-Version"]
    assert modern.headers["Authorization"] == "Bearer secret"


ANSWER = json.dumps({"result": {"content": [{"type": "text", "text": "30"}], "isError": False}})


@pytest.mark.parametrize(
    ("content_type", "text", "sum_"),
    [
        ("application/json", ANSWER, 30),
        ("text/event-stream", f"id: 0\ndata: \n\nevent: message\ndata: {ANSWER}\n\n", 30),
        ("application/json", ANSWER.replace("false", "true"), None),
        ("application/json", '{"error": {"code": -32600}}', None),
        ("text/event-stream", ": ping\n\n", None),
        ("text/html", "<h1>502</h1>", None),
    ],
)
def test_the_sum_is_found_in_either_kind_of_answer(content_type: str, text: str, sum_: float | None) -> None:
    assert total(content_type, text) == sum_
