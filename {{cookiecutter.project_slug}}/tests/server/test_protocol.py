"""Clients of every protocol revision, spoken raw: what they send, and the answers each of them can read."""

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from fastmcp import FastMCP
from mcp.server.lowlevel.server import Server
from mcp.server.runner import ServerRunner
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

HANDSHAKE = ("2025-03-26", "2025-06-18", "2025-11-25")
MODERN = "2026-07-28"
JSON_ONLY = "application/json"
BOTH = "application/json, text/event-stream"
MORE_TOOLS = str(Path(__file__).with_name("more_tools.py"))
# CloudFront's default, in seconds; the load balancer's is longer.
LONGEST_SILENCE = 30
Start = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def tools_program(package: Callable[[str], Any]) -> tuple[str, str]:
    return MORE_TOOLS, package("settings").__package__


@pytest.fixture(scope="module")
def stateless(start: Start, tools_program: tuple[str, str]) -> Iterator[Any]:
    with start(program=tools_program, PING_SECONDS="0.4") as server:
        yield server


@pytest.fixture(scope="module")
def stateful(start: Start, tools_program: tuple[str, str]) -> Iterator[Any]:
    with start(
        program=tools_program, PING_SECONDS="0.4", MCP_STATEFUL="true", SESSION_IDLE_SECONDS="1.5"
    ) as server:
        yield server


def legacy_headers(version: str, accept: str = BOTH, session: str | None = None) -> dict[str, str]:
    headers = {"Accept": accept, "MCP_Protocol_Version": version}
    return headers if session is None else {**headers, "Mcp_Session_Id": session}


def begin(server: Any, version: str, accept: str = BOTH) -> Any:
    client = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    return server.rpc("initialize", client, Accept=accept)


def modern(server: Any, method: str, params: Mapping[str, Any], accept: str = BOTH, **headers: str) -> Any:
    """Send a 2026-07-28 request: no handshake, everything in the envelope and the headers."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
        **params.get("_meta", {}),
    }
    routing = {"Accept": accept, "MCP_Protocol_Version": MODERN, "Mcp_Method": method}
    if "name" in params:
        routing["Mcp_Name"] = params["name"]
    return server.rpc(method, {**params, "_meta": meta}, **{**routing, **headers})


def messages(answer: Any) -> list[Any]:
    """Return every JSON-RPC message of an answer, be it JSON or a stream."""
    if answer.headers["content-type"] == JSON_ONLY:
        return [answer.json()]
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = answer.body.decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]


def text(message: Any) -> str:
    content: str = message["result"]["content"][0]["text"]
    return content


def test_the_library_still_has_what_is_overridden_here() -> None:
    """If not, read its session manager again and adapt `sessions.py`, `exchange.py` and `answers.py`."""
    assert {"_handle_request", "_serve_opening_request", "handle_request"} <= vars(
        StreamableHTTPSessionManager
    ).keys()
    assert len(AsyncExitStack()._exit_callbacks) == 0
    assert {"_lifespan_state", "_server_instances"} <= vars(
        StreamableHTTPSessionManager(Server("any"))
    ).keys()
    assert "get_tool_input_schema" in vars(Server("any"))
    assert {"_on_request", "_serialize"} <= vars(ServerRunner).keys()
    assert {"_extensions", "_rebind_prefab_tool_names"} <= set(dir(FastMCP("any")))


@pytest.mark.parametrize("version", HANDSHAKE)
@pytest.mark.parametrize("accept", [JSON_ONLY, BOTH])
@pytest.mark.parametrize("mode", ["stateless", "stateful"])
def test_a_2025_client(request: pytest.FixtureRequest, mode: str, version: str, accept: str) -> None:
    server = request.getfixturevalue(mode)
    begun = begin(server, version, accept)
    assert begun.status == 200
    (welcome,) = messages(begun)
    assert welcome["result"]["protocolVersion"] == version
    assert "tools" in welcome["result"]["capabilities"]
    session = begun.headers.get("mcp-session-id")
    assert (session is not None) == (mode == "stateful")
    headers = legacy_headers(version, accept, session)

    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    wire = {"Content-Type": JSON_ONLY, **{name.replace("_", "-"): value for name, value in headers.items()}}
    assert server.request("POST", "/mcp", json.dumps(ready).encode(), wire).status == 202

    listed = messages(server.rpc("tools/list", {}, **headers))
    assert {"simpleadd", "search_knowledge_base"} <= {tool["name"] for tool in listed[0]["result"]["tools"]}

    called = server.rpc("tools/call", {"name": "simpleadd", "arguments": {"a": 1, "b": 2}}, **headers)
    assert called.status == 200
    assert called.headers["content-type"].startswith(
        JSON_ONLY if mode == "stateless" or accept == JSON_ONLY else "text/event-stream"
    )
    (answer,) = messages(called)
    assert (answer["id"], text(answer)) == ("test-1", "3")

    wrong = {"name": "simpleadd", "arguments": {"a": "x", "b": 2}}
    assert messages(server.rpc("tools/call", wrong, **headers))[0]["result"]["isError"] is True
    unknown_tool = messages(server.rpc("tools/call", {"name": "none", "arguments": {}}, **headers))[0]
    assert "error" in unknown_tool or unknown_tool["result"]["isError"] is True
    assert messages(server.rpc("no/such/method", {}, **headers))[0]["error"]["code"] == -32601
    assert messages(server.rpc("tools/call", {"arguments": {}}, **headers))[0]["error"]["code"] == -32602
    assert messages(server.rpc("ping", {}, **headers))[0]["result"] == {}


@pytest.mark.parametrize("mode", ["stateless", "stateful"])
def test_an_unknown_revision_in_the_handshake_is_answered_with_one_that_is_known(
    request: pytest.FixtureRequest, mode: str
) -> None:
    (welcome,) = messages(begin(request.getfixturevalue(mode), "1999-01-01"))
    assert welcome["result"]["protocolVersion"] == HANDSHAKE[-1]


@pytest.mark.parametrize("mode", ["stateless", "stateful"])
def test_an_unknown_revision_in_the_header_is_refused(request: pytest.FixtureRequest, mode: str) -> None:
    server = request.getfixturevalue(mode)
    answer = server.rpc("tools/list", {}, Accept=BOTH, MCP_Protocol_Version="1999-01-01")
    assert answer.status == 400
    assert "error" in answer.json()
    envelope = {"io.modelcontextprotocol/protocolVersion": "2999-01-01"}
    later = modern(server, "tools/list", {"_meta": envelope}, MCP_Protocol_Version="2999-01-01")
    assert later.status == 400
    assert MODERN in later.json()["error"]["data"]["supported"]


@pytest.mark.parametrize("accept", [JSON_ONLY, BOTH])
@pytest.mark.parametrize("mode", ["stateless", "stateful"])
def test_a_2026_client(request: pytest.FixtureRequest, mode: str, accept: str) -> None:
    server = request.getfixturevalue(mode)
    found = modern(server, "server/discover", {}, accept)
    assert found.status == 200
    assert MODERN in found.json()["result"]["supportedVersions"]
    tools = {tool["name"] for tool in modern(server, "tools/list", {}, accept).json()["result"]["tools"]}
    assert {"simpleadd", "search_knowledge_base"} <= tools

    called = modern(server, "tools/call", {"name": "simpleadd", "arguments": {"a": 1, "b": 2}}, accept)
    assert (called.status, called.headers["content-type"]) == (200, JSON_ONLY)
    assert "mcp-session-id" not in called.headers
    assert text(called.json()) == "3"
    assert called.json()["result"]["resultType"] == "complete"

    wrong = {"name": "simpleadd", "arguments": {"a": "x", "b": 2}}
    assert modern(server, "tools/call", wrong, accept).json()["result"]["isError"] is True
    unknown = modern(server, "no/such/method", {}, accept)
    assert (unknown.status, unknown.json()["error"]["code"]) == (404, -32601)
    mismatch = modern(server, "tools/list", {}, accept, Mcp_Method="tools/call")
    assert mismatch.status == 400


@pytest.mark.parametrize("accept", [JSON_ONLY, BOTH])
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_progress_reaches_whoever_can_read_a_stream(stateless: Any, era: str, accept: str) -> None:
    params = {"name": "report", "arguments": {"seconds": 0.3}, "_meta": {"progressToken": "p1"}}
    if era == "modern":
        answer = modern(stateless, "tools/call", params, accept)
    else:
        answer = stateless.rpc("tools/call", params, **legacy_headers("2025-06-18", accept))
    *before, last = messages(answer)
    assert text(last) == "reported"
    assert last["id"] == "test-1"
    assert [message["params"] for message in before] == [
        {"progressToken": "p1", "progress": step, "total": 3, "message": f"step {step}"}
        for step in range(1, 4)
        if accept == BOTH
    ]
    assert (answer.headers["content-type"] == JSON_ONLY) == (accept == JSON_ONLY)


def test_a_session_streams_progress(stateful: Any) -> None:
    session = begin(stateful, "2025-06-18").headers["mcp-session-id"]
    params = {"name": "report", "arguments": {"seconds": 0.3}, "_meta": {"progressToken": 7}}
    answer = stateful.rpc("tools/call", params, **legacy_headers("2025-06-18", BOTH, session))
    assert [message.get("method") for message in messages(answer)] == ["notifications/progress"] * 3 + [None]


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_long_silent_call_is_pinged(stateless: Any, era: str) -> None:
    params = {"name": "wait", "arguments": {"seconds": 1.1}}
    if era == "modern":
        answer = modern(stateless, "tools/call", params)
    else:
        answer = stateless.rpc("tools/call", params, **legacy_headers("2025-03-26"))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body.count(b": ping\r\n") == 2
    assert [text(message) for message in messages(answer)] == ["waited"]


@pytest.mark.parametrize("accept", [JSON_ONLY, "*/*"])
def test_a_long_silent_call_is_json_for_a_client_that_reads_no_streams(stateless: Any, accept: str) -> None:
    params = {"name": "wait", "arguments": {"seconds": 1.1}}
    answer = stateless.rpc("tools/call", params, **legacy_headers("2025-03-26", accept))
    assert text(answer.json()) == "waited"


def test_no_silence_is_as_long_as_a_proxy_waits(package: Callable[[str], Any]) -> None:
    from sse_starlette import EventSourceResponse

    assert package("answers").PING_SECONDS < LONGEST_SILENCE
    # What the library sends in sessions.
    assert EventSourceResponse.DEFAULT_PING_INTERVAL < LONGEST_SILENCE


class Impatient:
    """Sends a request as `Server` does and hangs up soon after."""

    def __init__(self, server: Any) -> None:
        self.server = server

    def rpc(self, method: str, params: Mapping[str, Any], **headers: str) -> None:
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=15)
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        wire = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", "/mcp", body, {"Content-Type": JSON_ONLY, **wire})
        time.sleep(0.6)
        connection.close()


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_client_that_hangs_up_cancels_its_call(stateless: Any, era: str) -> None:
    name = f"left by {era}"
    params = {"name": "wait", "arguments": {"seconds": 1.5, "name": name}}
    if era == "modern":
        modern(Impatient(stateless), "tools/call", params)
    else:
        Impatient(stateless).rpc("tools/call", params, **legacy_headers("2025-06-18"))
    time.sleep(1.5)
    seen = stateless.rpc("tools/call", {"name": "seen", "arguments": {}}).json()
    assert name not in seen["result"]["structuredContent"]["finished"]


def test_an_idle_session_ends(stateful: Any) -> None:
    session = begin(stateful, "2025-11-25").headers["mcp-session-id"]
    headers = legacy_headers("2025-11-25", BOTH, session)
    for _ in range(3):
        time.sleep(0.8)
        assert stateful.rpc("ping", {}, **headers).status == 200
    time.sleep(2.5)
    assert stateful.rpc("ping", {}, **headers).status == 404


def test_a_session_ends_when_its_client_says_so(stateful: Any) -> None:
    session = begin(stateful, "2025-11-25").headers["mcp-session-id"]
    assert stateful.request("DELETE", "/mcp", headers={"Mcp-Session-Id": session}).status == 200
    answer = stateful.rpc("ping", {}, **legacy_headers("2025-11-25", BOTH, session))
    assert answer.status == 404


def test_without_sessions_there_is_nothing_to_get_or_delete(stateless: Any) -> None:
    assert stateless.request("GET", "/mcp", headers={"Accept": "text/event-stream"}).status == 405
    assert stateless.request("DELETE", "/mcp").status == 405
    foreign = stateless.rpc("ping", {}, **legacy_headers("2025-06-18", BOTH, "of-another-task"))
    assert foreign.status == 200


def test_a_2026_call_lists_no_tools(stateless: Any) -> None:
    def methods() -> list[str]:
        seen = stateless.rpc("tools/call", {"name": "seen", "arguments": {}}).json()
        found: list[str] = seen["result"]["structuredContent"]["methods"]
        return found

    before = methods()
    modern(stateless, "tools/call", {"name": "simpleadd", "arguments": {"a": 1, "b": 2}})
    assert methods()[len(before) :] == ["tools/call", "tools/call"]


def test_headers_are_checked_against_a_tool_added_while_the_server_runs(stateless: Any) -> None:
    name = "added_later"
    assert modern(stateless, "tools/call", {"name": "grow", "arguments": {"name": name}}).status == 200
    params = {"name": name, "arguments": {"region": "north"}}
    right = modern(stateless, "tools/call", params, Mcp_Param_Region="north")
    assert text(right.json()) == "in north"
    for headers in ({"Mcp_Param_Region": "south"}, {}):
        wrong = modern(stateless, "tools/call", params, **headers)
        assert (wrong.status, wrong.json()["error"]["code"]) == (400, -32020)


def test_white_space_around_a_header_is_no_part_of_it(stateless: Any) -> None:
    called = modern(
        stateless,
        "tools/call",
        {"name": "simpleadd", "arguments": {"a": 1, "b": 2}},
        Mcp_Name="\t simpleadd \t",
    )
    assert called.status == 200
    assert text(called.json()) == "3"


def test_a_server_whose_names_depend_on_transforms_keeps_the_library_s_own_lookup(
    package: Callable[[str], Any],
) -> None:
    from fastmcp import FastMCP
    from fastmcp.server.transforms import Namespace

    schemas = package("own_tools")
    server: FastMCP[None] = FastMCP("plain")
    assert schemas.names_are_plain(server)
    server.add_transform(Namespace("other"))
    assert not schemas.names_are_plain(server)
    outer: FastMCP[None] = FastMCP("outer")
    outer.mount(FastMCP("inner"))
    assert not schemas.names_are_plain(outer)
