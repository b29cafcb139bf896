"""What is written of a tool's result in one pass is what the library writes in three."""

import json
import math
from collections.abc import Callable
from datetime import date
from typing import Any

import pydantic_core
import pytest
from mcp.server.connection import Connection
from mcp.server.lowlevel.server import Server
from mcp.server.runner import ServerRunner
from mcp.shared.exceptions import MCPError
from mcp_types import (
    SERVER_INFO_META_KEY,
    Annotations,
    CallToolResult,
    ImageContent,
    InputRequiredResult,
    TextContent,
)
from mcp_types.version import KNOWN_PROTOCOL_VERSIONS

Package = Callable[[str], Any]

TEXT = TextContent(text='30 µm "quoted"\n')
RESULTS = {
    "text": CallToolResult(content=[TEXT]),
    "two texts": CallToolResult(content=[TEXT, TEXT]),
    "nothing": CallToolResult(content=[]),
    "an error": CallToolResult(content=[TEXT], is_error=True),
    "structured": CallToolResult(content=[TEXT], structured_content={"a": [1, None, {"b": None}], "c": 0.5}),
    "empty structure": CallToolResult(content=[], structured_content={}),
    "not a number": CallToolResult(content=[], structured_content={"a": math.nan}),
    "python's own": CallToolResult(
        content=[], structured_content={"day": date(2026, 7, 28), "set": {1}, 2: b"b"}
    ),
    "a list": CallToolResult(content=[TEXT], structured_content=[1, 2]),
    "a number": CallToolResult(content=[TEXT], structured_content=3),
    "meta": CallToolResult(content=[TEXT], _meta={"fastmcp": {"wrap_result": True}}),
    "empty meta": CallToolResult(content=[TEXT], _meta={}),
    "its own server": CallToolResult(content=[], _meta={SERVER_INFO_META_KEY: {"name": "x", "version": "1"}}),
    "no server": CallToolResult(content=[], _meta={SERVER_INFO_META_KEY: None, "a": None}),
    "annotated": CallToolResult(content=[TextContent(text="a", annotations=Annotations(priority=1))]),
    "text with meta": CallToolResult(content=[TextContent(text="a", _meta={"b": 1})]),
    "an image": CallToolResult(content=[TEXT, ImageContent(data="AAAA", mime_type="image/png")]),
    "another type": CallToolResult(content=[], result_type="other"),
    "input required": InputRequiredResult(request_state="state"),
    "a mapping": {"content": [{"type": "text", "text": "a"}], "unknown": 1},
}


def written(runner: ServerRunner[Any], method: str, version: str, result: Any) -> Any:
    try:
        wire = pydantic_core.to_json(runner._serialize(method, version, result), inf_nan_mode="null")
        return json.loads(wire)
    except MCPError as error:
        return error.error


@pytest.mark.parametrize("version", KNOWN_PROTOCOL_VERSIONS)
@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "custom/method"])
def test_a_result_is_written_as_the_library_writes_it(
    package: Package, method: str, name: str, version: str
) -> None:
    server = Server("any", version="1.0")
    connection = Connection.from_envelope(version, None, None)
    own, reference = (kind(server, connection, None) for kind in (package("results").Runner, ServerRunner))
    result = RESULTS[name]
    assert written(own, method, version, result) == written(reference, method, version, result)


def test_a_plain_result_is_written_in_one_pass(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ServerRunner, "_serialize")
    connection = Connection.from_envelope("2026-07-28", None, None)
    runner = package("results").Runner(Server("any"), connection, None)
    assert runner._serialize("tools/call", "2026-07-28", RESULTS["structured"])["resultType"] == "complete"


def test_one_answer_has_nothing_of_another(package: Package) -> None:
    connection = Connection.from_envelope("2026-07-28", None, None)
    runner = package("results").Runner(Server("any"), connection, None)
    first, second = (runner._serialize("tools/call", "2026-07-28", RESULTS["meta"]) for _ in range(2))
    first["_meta"]["more"] = 1
    assert "more" not in second["_meta"]
    assert RESULTS["meta"].meta == {"fastmcp": {"wrap_result": True}}
