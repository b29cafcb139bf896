"""What a name means to a caller: the same as it does to FastMCP's own server, found in a shorter way."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fastmcp import Client, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server.auth import AuthContext
from fastmcp.server.extensions import ServerExtension
from fastmcp.server.middleware import Middleware
from fastmcp.server.middleware.tool_injection import ToolInjectionMiddleware
from fastmcp.server.transforms import Namespace
from fastmcp.tools import Tool, ToolResult
from fastmcp.utilities.versions import VersionSpec
from pydantic import BaseModel

Package = Callable[[str], Any]
Prepare = Callable[[FastMCP[None]], None]


class Place(BaseModel):
    name: str


def hello() -> str:
    return "own"


def other() -> str:
    return "other"


def disabled_by_its_provider(server: FastMCP[None]) -> None:
    server.tool(hello)
    server.providers[0].disable(names={"hello"})


def disabled(server: FastMCP[None]) -> None:
    server.tool(hello)
    server.disable(names={"hello"})


def versions(server: FastMCP[None]) -> None:
    server.add_tool(Tool.from_function(hello, name="hello", version="1.0"))
    server.add_tool(Tool.from_function(other, name="hello", version="2.0"))


def newest_disabled(server: FastMCP[None]) -> None:
    versions(server)
    server.disable(names={"hello"}, version=VersionSpec(gte="2.0"))


def forbidden(server: FastMCP[None]) -> None:
    def nobody(_context: AuthContext) -> bool:
        return False

    server.tool(auth=nobody)(hello)


def transformed(server: FastMCP[None]) -> None:
    server.tool(hello)
    server.add_transform(Namespace("other"))


def mounted(server: FastMCP[None]) -> None:
    inner: FastMCP[None] = FastMCP("inner")
    inner.tool(hello)
    server.mount(inner)


def injected(server: FastMCP[None]) -> None:
    server.tool(hello)
    server.add_middleware(ToolInjectionMiddleware([Tool.from_function(other, name="hello")]))


def hidden_for_the_session(server: FastMCP[None]) -> None:
    server.tool(hello)

    class Hide(Middleware):
        async def on_call_tool(self, context: Any, call_next: Any) -> Any:
            await context.fastmcp_context.disable_components(names={"hello"})
            return await call_next(context)

    server.add_middleware(Hide())


def outcome(server: FastMCP[None]) -> list[Any]:
    """Return what a client sees listed, and the answers to calls of `hello` and of its first version."""

    async def use() -> list[Any]:
        async with Client(server) as client:
            found: list[Any] = [tool.name for tool in await client.list_tools()]
            for version in (None, "1.0"):
                try:
                    found.append((await client.call_tool("hello", version=version)).data)
                except ToolError as error:
                    found.append(str(error))
            return found

    return asyncio.run(use())


@pytest.mark.parametrize(
    "prepare",
    [
        lambda server: server.tool(hello),
        lambda server: None,
        disabled_by_its_provider,
        disabled,
        versions,
        newest_disabled,
        forbidden,
        transformed,
        mounted,
        injected,
        hidden_for_the_session,
    ],
    ids=lambda prepare: prepare.__name__,
)
def test_a_name_means_what_it_means_to_fastmcp(package: Package, prepare: Prepare) -> None:
    own, reference = package("server").Server("own"), FastMCP[None]("reference")
    prepare(own)
    prepare(reference)
    assert outcome(own) == outcome(reference)


def test_listings_have_no_references_and_calls_no_detour(package: Package) -> None:
    app, settings = package("app"), package("settings")
    server = app.build_server(settings.load_settings({}))
    seen: list[str] = []

    class Watch(Middleware):
        async def on_message(self, context: Any, call_next: Any) -> Any:
            seen.append(context.method)
            return await call_next(context)

    server.add_middleware(Watch())

    def visit(place: Place) -> str:
        return place.name

    server.add_tool(Tool.from_function(visit))

    async def use() -> tuple[Any, Any]:
        async with Client(server) as client:
            tools = await client.list_tools()
            return tools, (await client.call_tool("visit", {"place": {"name": "Rome"}})).data

    tools, answer = asyncio.run(use())
    schema = next(tool.input_schema for tool in tools if tool.name == "visit")
    assert "$ref" not in str(schema)
    assert schema["properties"]["place"]["properties"]["name"]["type"] == "string"
    assert answer == "Rome"
    assert {"tools/list", "tools/call"} <= set(seen)


class Watching(Middleware):
    async def on_call_tool(self, context: Any, call_next: Any) -> Any:
        context.message.arguments = {"name": "watched"}
        return await call_next(context)


class Extending(ServerExtension):
    identifier = "org.example/extending"

    async def intercept_tool_call(self, params: Any, context: Any, call_next: Any) -> Any:
        assert (params.name, context.fastmcp) == ("greet", self.server)
        return ToolResult("extended", structured_content={"result": "extended"})


@pytest.mark.parametrize(
    ("watch", "answer", "stages"),
    [
        (lambda _server: None, "hello you", 0),
        (lambda server: server.add_middleware(Watching()), "hello watched", 1),
        (lambda server: server.add_extension(Extending()), "extended", 1),
    ],
    ids=["nobody", "middleware", "extension"],
)
def test_a_call_meets_all_who_look_on_and_no_stage_where_nobody_does(
    package: Package, monkeypatch: pytest.MonkeyPatch, watch: Prepare, answer: str, stages: int
) -> None:
    server = package("app").build_server(package("settings").load_settings({}))
    watch(server)

    @server.tool
    def greet(name: str) -> str:
        return f"hello {name}"

    staged, rebound = [], []
    stage, rebind = FastMCP._run_middleware, FastMCP._rebind_prefab_tool_names

    async def counted(self: Any, context: Any, *rest: Any, **options: Any) -> Any:
        staged.extend([1] * (context.method == "tools/call"))
        return await stage(self, context, *rest, **options)

    async def noted(self: Any, result: Any) -> Any:
        rebound.append(result)
        return await rebind(self, result)

    monkeypatch.setattr(FastMCP, "_run_middleware", counted)
    monkeypatch.setattr(FastMCP, "_rebind_prefab_tool_names", noted)

    async def use() -> Any:
        async with Client(server) as client:
            return (await client.call_tool("greet", {"name": "you"})).content[0]

    assert asyncio.run(use()).text == answer
    assert (len(staged), len(rebound)) == (stages, 1)
