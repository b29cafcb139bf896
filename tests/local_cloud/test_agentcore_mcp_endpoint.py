"""A gateway's MCP endpoint, with a FastMCP server behind a distribution and an internal load balancer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from aiohttp import web
from fastmcp import Client, Context, FastMCP
from fastmcp.client.transports import StreamableHttpTransport

from tests.local_cloud.agentcore_support import AgentCore, SigV4, mcp_server
from tests.local_cloud.data_plane_support import Edge, http_server, unique

ALL_VERSIONS = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]
META = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    }
}
MODERN = {"mcp_protocol_version": "2026-07-28"}


def calculator() -> FastMCP:
    server = FastMCP("calculator", version="1")

    @server.tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @server.tool
    def weather(city: str) -> str:
        """Tell the forecast of rain and sun for a city."""
        return f"sunny in {city}"

    @server.tool
    def fail() -> str:
        """Fail always."""
        raise ValueError("broken inside")

    @server.tool
    async def count(context: Context) -> str:
        """Report progress three times."""
        for step in range(3):
            await context.report_progress(step, 3)
            await asyncio.sleep(0.3)
        return "counted"

    return server


@pytest.fixture(scope="module")
def server() -> FastMCP:
    return calculator()


@pytest.fixture(scope="module")
def endpoint(edge: Edge, server: FastMCP) -> Iterator[str]:
    with mcp_server(server) as port:
        yield edge.distribution(edge.forwarding_load_balancer(port)) + "/mcp"


@pytest.fixture(scope="module")
def gateway(agentcore: AgentCore, endpoint: str) -> dict[str, Any]:
    """An open gateway with the target ``calc``."""
    made = agentcore.gateway(ALL_VERSIONS)
    target = agentcore.target(made["gatewayId"], endpoint, "calc")
    assert target["status"] == "READY", target
    return made


def fastmcp_client(edge: Edge, url: str, auth: httpx2.Auth | None = None) -> Client[Any]:
    """A FastMCP client that trusts the cloud and goes through its proxy."""
    environment = edge.cloud.environment()

    def http(**options: Any) -> httpx2.AsyncClient:
        options.pop("verify", None)
        return httpx2.AsyncClient(
            **options, proxy=environment["HTTPS_PROXY"], verify=edge.trust(), trust_env=False
        )

    factory: Any = http
    return Client(StreamableHttpTransport(url, auth=auth, httpx_client_factory=factory))


def test_agent_calls_a_tool_through_gateway_distribution_and_load_balancer(
    edge: Edge, gateway: dict[str, Any]
) -> None:
    async def converse() -> tuple[list[str], Any, Any]:
        async with fastmcp_client(edge, gateway["gatewayUrl"]) as agent:
            names = [tool.name for tool in await agent.list_tools()]
            good = await agent.call_tool("calc___add", {"a": 20, "b": 22})
            bad = await agent.call_tool("calc___fail", {}, raise_on_error=False)
            return names, good, bad

    names, good, bad = asyncio.run(converse())

    assert names == ["calc___add", "calc___weather", "calc___fail", "calc___count"]
    assert good.structured_content == {"result": 42}
    assert bad.is_error
    assert "broken inside" in bad.content[0].text


def test_iam_gateway_answers_signed_requests_only(agentcore: AgentCore, edge: Edge, endpoint: str) -> None:
    made = agentcore.gateway(ALL_VERSIONS, authorizerType="AWS_IAM")
    agentcore.target(made["gatewayId"], endpoint, "calc")
    url = made["gatewayUrl"]

    async def converse() -> Any:
        async with fastmcp_client(edge, url, SigV4()) as agent:
            return await agent.call_tool("calc___add", {"a": 1, "b": 2})

    assert asyncio.run(converse()).data == 3
    unsigned = agentcore.post(url, "tools/list")
    assert (unsigned.status_code, unsigned.json()["error"]["message"]) == (
        401,
        "Missing Authentication Token",
    )
    for wrong, text in (
        (SigV4(secret="guessed"), "does not match the signature"),
        (SigV4(region="eu-west-1"), "scoped to region"),
        (SigV4(service="execute-api"), "scoped to region"),
    ):
        refused = agentcore.post(url, "tools/list", auth=wrong)
        assert refused.status_code == 403
        assert text in refused.json()["error"]["message"]


def test_signature_covers_the_body(agentcore: AgentCore, edge: Edge) -> None:
    url = agentcore.gateway(authorizerType="AWS_IAM")["gatewayUrl"]
    original = httpx2.Request("POST", url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
    signed = next(SigV4().auth_flow(original))
    with edge.http() as http:
        accepted = http.post(url, content=original.content, headers=dict(signed.headers))
        altered = http.post(
            url, content=original.content.replace(b"ping", b"pong"), headers=dict(signed.headers)
        )

    assert (accepted.status_code, altered.status_code) == (200, 403)


@pytest.mark.parametrize("version", ["2025-11-25", "2025-06-18", "2025-03-26"])
def test_handshake_grants_a_supported_version(
    agentcore: AgentCore, gateway: dict[str, Any], version: str
) -> None:
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}

    result = agentcore.post(gateway["gatewayUrl"], "initialize", params).json()["result"]

    assert result["protocolVersion"] == version
    assert result["serverInfo"]["name"] == gateway["name"]
    assert "tools" in result["capabilities"]


def test_handshake_offers_what_the_gateway_supports(agentcore: AgentCore) -> None:
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    old = agentcore.gateway(["2025-03-26", "2025-06-18"])["gatewayUrl"]
    stateless = agentcore.gateway(["2026-07-28"])["gatewayUrl"]
    default = agentcore.gateway()["gatewayUrl"]

    granted = agentcore.post(old, "initialize", params).json()["result"]["protocolVersion"]
    refused = agentcore.post(stateless, "initialize", params)
    unsupported = agentcore.post(old, "tools/list", mcp_protocol_version="2025-11-25")

    assert granted == "2025-06-18"
    assert agentcore.post(default, "initialize", params).json()["result"]["protocolVersion"] == "2025-03-26"
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32022)
    assert unsupported.status_code == 400
    assert unsupported.json()["error"]["data"] == {
        "supported": ["2025-03-26", "2025-06-18"],
        "requested": "2025-11-25",
    }


def test_stateless_revision_is_spoken(agentcore: AgentCore, gateway: dict[str, Any]) -> None:
    url = gateway["gatewayUrl"]
    call = {"name": "calc___add", "arguments": {"a": 1, "b": 1}, **META}

    discovered = agentcore.post(url, "server/discover", META, mcp_method="server/discover", **MODERN)
    listed = agentcore.post(url, "tools/list", META, mcp_method="tools/list", **MODERN)
    called = agentcore.post(url, "tools/call", call, mcp_method="tools/call", mcp_name="calc___add", **MODERN)
    without_name = agentcore.post(url, "tools/call", call, mcp_method="tools/call", **MODERN)
    without_method = agentcore.post(url, "tools/list", META, **MODERN)
    unknown = agentcore.post(url, "nope", META, mcp_method="nope", **MODERN)

    assert discovered.json()["result"]["supportedVersions"] == ALL_VERSIONS
    assert {"ttlMs", "cacheScope", "resultType"} <= set(listed.json()["result"])
    assert called.json()["result"]["structuredContent"] == {"result": 2}
    assert called.json()["result"]["resultType"] == "complete"
    for refused in (without_name, without_method):
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32020)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, -32601)


def test_plain_requests(agentcore: AgentCore, edge: Edge, gateway: dict[str, Any]) -> None:
    url = gateway["gatewayUrl"]
    with edge.http() as http:
        note = http.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
        broken = http.post(url, content=b"{")
        batch = http.post(url, json=[])
        get, elsewhere = http.get(url), http.post(url + "/other", json={})
        nobody = http.post(
            "https://none-0000000000.gateway.bedrock-agentcore.us-east-1.amazonaws.com/mcp", json={}
        )
        events = http.post(
            url,
            json={"jsonrpc": "2.0", "id": 1, "method": "ping"},
            headers={"accept": "text/event-stream"},
        )
    assert agentcore.post(url, "ping").json() == {"jsonrpc": "2.0", "id": 7, "result": {}}
    assert agentcore.post(url, "prompts/list").json()["error"]["code"] == -32601
    assert note.status_code == 202
    assert (broken.status_code, broken.json()["error"]["code"]) == (400, -32700)
    assert (batch.status_code, batch.json()["error"]["code"]) == (400, -32600)
    assert (get.status_code, elsewhere.status_code, nobody.status_code) == (405, 404, 404)
    assert events.headers["content-type"] == "text/event-stream"
    assert events.text == 'event: message\ndata: {"jsonrpc": "2.0", "id": 1, "result": {}}\n\n'


def test_unknown_tools_and_wrong_arguments(agentcore: AgentCore, gateway: dict[str, Any]) -> None:
    url = gateway["gatewayUrl"]

    def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = agentcore.post(
            url, "tools/call", {"name": name, "arguments": arguments}
        ).json()
        return answer

    for name in ("add", "calc___nope", "other___add"):
        assert call(name, {})["error"] == {"code": -32602, "message": f"Unknown tool: {name}"}
    wrong = call("calc___add", {"a": "one"})["result"]
    assert wrong["isError"]
    assert "Field 'a'" in wrong["content"][0]["text"]
    assert "'b' is a required property" in wrong["content"][0]["text"]


def test_cached_tools_stay_until_synchronized_and_dynamic_ones_are_live(
    agentcore: AgentCore, edge: Edge
) -> None:
    server = calculator()
    with mcp_server(server) as port:
        endpoint = edge.distribution(edge.forwarding_load_balancer(port)) + "/mcp"
        made = agentcore.gateway(ALL_VERSIONS)
        cached = agentcore.target(made["gatewayId"], endpoint, "cached")
        agentcore.target(made["gatewayId"], endpoint, "live", listingMode="DYNAMIC")

        @server.tool
        def fresh() -> str:
            """Come late."""
            return "new"

        def names() -> set[str]:
            tools = agentcore.post(made["gatewayUrl"], "tools/list").json()["result"]["tools"]
            return {tool["name"] for tool in tools}

        def call(name: str) -> dict[str, Any]:
            answer: dict[str, Any] = agentcore.post(made["gatewayUrl"], "tools/call", {"name": name}).json()
            return answer

        assert {"cached___add", "live___add", "live___fresh"} <= names()
        assert "cached___fresh" not in names()
        assert call("live___fresh")["result"]["content"][0]["text"] == "new"
        assert call("cached___fresh")["error"]["message"] == "Unknown tool: cached___fresh"
        agentcore.api.synchronize_gateway_targets(
            gatewayIdentifier=made["gatewayId"], targetIdList=[cached["targetId"]]
        )
        agentcore.settled_target(made["gatewayId"], cached["targetId"])
        assert call("cached___fresh")["result"]["content"][0]["text"] == "new"


def test_server_that_keeps_sessions_is_called_too(agentcore: AgentCore, edge: Edge) -> None:
    with mcp_server(calculator(), stateless=False) as port:
        made = agentcore.gateway(ALL_VERSIONS)
        endpoint = edge.distribution(edge.forwarding_load_balancer(port)) + "/mcp"
        agentcore.target(made["gatewayId"], endpoint, "calc")

        answer = agentcore.post(
            made["gatewayUrl"], "tools/call", {"name": "calc___add", "arguments": {"a": 3, "b": 4}}
        )

    assert answer.json()["result"]["structuredContent"] == {"result": 7}


def test_search_tool_comes_first_and_ranks(agentcore: AgentCore, endpoint: str) -> None:
    mcp = {"supportedVersions": ALL_VERSIONS, "searchType": "SEMANTIC"}
    made = agentcore.gateway(protocolConfiguration={"mcp": mcp})
    agentcore.target(made["gatewayId"], endpoint, "calc")

    tools = agentcore.post(made["gatewayUrl"], "tools/list").json()["result"]["tools"]
    search = {
        "name": "x_amz_bedrock_agentcore_search",
        "arguments": {"query": "will there be rain in the city"},
    }
    found = agentcore.post(made["gatewayUrl"], "tools/call", search).json()["result"]

    assert [tool["name"] for tool in tools][:2] == ["x_amz_bedrock_agentcore_search", "calc___add"]
    assert found["structuredContent"]["tools"][0]["name"] == "calc___weather"


def test_long_tool_lists_come_in_pages(agentcore: AgentCore, edge: Edge) -> None:
    server = FastMCP("many", version="1", list_page_size=40)
    for number in range(130):
        server.tool(lambda: "x", name=f"tool_{number:03}", description="One of many.")
    with mcp_server(server) as port:
        made = agentcore.gateway(ALL_VERSIONS)
        endpoint = edge.distribution(edge.forwarding_load_balancer(port)) + "/mcp"
        agentcore.target(made["gatewayId"], endpoint, "many")

        first = agentcore.post(made["gatewayUrl"], "tools/list").json()["result"]
        second = agentcore.post(made["gatewayUrl"], "tools/list", {"cursor": first["nextCursor"]}).json()[
            "result"
        ]
        wrong = agentcore.post(made["gatewayUrl"], "tools/list", {"cursor": "?"}).json()

    names = [tool["name"] for tool in first["tools"] + second["tools"]]
    assert names == [f"many___tool_{number:03}" for number in range(130)]
    assert len(first["tools"]) == 100
    assert "nextCursor" not in second
    assert wrong["error"]["code"] == -32602


def test_progress_streams_when_the_gateway_streams(agentcore: AgentCore, edge: Edge, endpoint: str) -> None:
    streaming = {
        "supportedVersions": ALL_VERSIONS,
        "streamingConfiguration": {"enableResponseStreaming": True},
    }
    made = agentcore.gateway(protocolConfiguration={"mcp": streaming})
    agentcore.target(made["gatewayId"], endpoint, "calc")
    message = {
        "jsonrpc": "2.0",
        "id": 9,
        "method": "tools/call",
        "params": {"name": "calc___count", "arguments": {}, "_meta": {"progressToken": "p"}},
    }
    arrivals: list[tuple[float, str]] = []
    headers = {"accept": "application/json, text/event-stream"}
    with (
        edge.http() as http,
        http.stream("POST", made["gatewayUrl"], json=message, headers=headers) as answer,
    ):
        for line in answer.iter_lines():
            if line.startswith("data:"):
                arrivals.append((time.monotonic(), line))

    assert len(arrivals) == 4
    assert arrivals[-1][0] - arrivals[0][0] > 0.5
    assert '"progressToken": "p"' in arrivals[0][1]
    assert '"id": 9' in arrivals[-1][1]


@pytest.mark.parametrize("level", [None, "DEBUG"])
def test_server_that_went_away_is_an_error_result(
    agentcore: AgentCore, edge: Edge, level: str | None
) -> None:
    options = {"exceptionLevel": level} if level else {}
    made = agentcore.gateway(ALL_VERSIONS, **options)
    with mcp_server(calculator()) as port:
        endpoint = edge.distribution(edge.forwarding_load_balancer(port)) + "/mcp"
        agentcore.target(made["gatewayId"], endpoint, "calc")

    call = {"name": "calc___add", "arguments": {"a": 1, "b": 1}}
    result = agentcore.post(made["gatewayUrl"], "tools/call", call).json()["result"]

    assert result["isError"]
    text = result["content"][0]["text"]
    assert ("returned HTTP 502" in text) == (level == "DEBUG")
    assert ("debug" in result.get("_meta", {})) == (level == "DEBUG")


def test_what_the_server_sees(agentcore: AgentCore, edge: Edge) -> None:
    """The handshake before each use, the allowed header fields, and the gateway's own signature."""
    seen: list[tuple[str, dict[str, str]]] = []
    capabilities = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "s", "version": "1"},
    }
    results = {
        "initialize": capabilities,
        "tools/list": {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]},
        "tools/call": {"content": [], "isError": False},
    }

    async def answer(request: web.Request) -> web.StreamResponse:
        message = await request.json()
        seen.append((message["method"], {name.lower(): value for name, value in request.headers.items()}))
        if "id" not in message:
            return web.Response(status=202)
        return web.json_response(
            {"jsonrpc": "2.0", "id": message["id"], "result": results[message["method"]]}
        )

    with http_server(answer) as port:
        made = agentcore.gateway(ALL_VERSIONS)
        created = agentcore.api.create_gateway_target(
            gatewayIdentifier=made["gatewayId"],
            name=unique("signed"),
            targetConfiguration={
                "mcp": {
                    "mcpServer": {"endpoint": edge.distribution(edge.forwarding_load_balancer(port)) + "/mcp"}
                }
            },
            credentialProviderConfigurations=[
                {
                    "credentialProviderType": "GATEWAY_IAM_ROLE",
                    "credentialProvider": {"iamCredentialProvider": {"service": "execute-api"}},
                }
            ],
            metadataConfiguration={"allowedRequestHeaders": ["x-tenant"]},
        )
        target = agentcore.settled_target(made["gatewayId"], created["targetId"])
        indexing = [method for method, _ in seen]
        agentcore.post(
            made["gatewayUrl"], "tools/call", {"name": f"{target['name']}___t"}, x_tenant="blue", x_other="no"
        )

    handshake = ["initialize", "notifications/initialized"]
    assert indexing == [*handshake, "tools/list"]
    assert [method for method, _ in seen[3:]] == [*handshake, "tools/call"]
    fields = seen[-1][1]
    assert (fields["x-tenant"], "x-other" in fields) == ("blue", False)
    assert fields["mcp-protocol-version"] == "2025-11-25"
    assert "/us-east-1/execute-api/aws4_request" in fields["authorization"]


@pytest.mark.parametrize(
    ("initialize", "text"),
    [
        ({"protocolVersion": "2025-11-25", "capabilities": {}}, "does not have the tools capability"),
        ({"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}}, "speaks MCP 2024-11-05"),
    ],
)
def test_servers_that_do_not_qualify(
    agentcore: AgentCore, edge: Edge, initialize: dict[str, Any], text: str
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        message = await request.json()
        return web.json_response({"jsonrpc": "2.0", "id": message.get("id"), "result": initialize})

    with http_server(answer) as port:
        made = agentcore.gateway()
        endpoint = edge.distribution(edge.forwarding_load_balancer(port)) + "/mcp"
        target = agentcore.target(made["gatewayId"], endpoint)

    assert target["status"] == "FAILED"
    assert text in target["statusReasons"][0]
