"""Session state: there when it is used, not loaded before."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from fastmcp import Client, Context

Package = Callable[[str], Any]

FIRST_CALL = """
import asyncio, importlib, sys
app, settings = (importlib.import_module(f"{sys.argv[1]}.{name}") for name in ("app", "settings"))
server = app.build_server(settings.load_settings({}))
result = asyncio.run(server.call_tool("simpleadd", {"a": 10, "b": 20}))
print(result.structured_content["result"], sorted({"beartype", "key_value"} & set(sys.modules)))
"""


def test_the_first_call_loads_no_store(package: Package, command: Callable[..., dict[str, Any]]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_CALL, package("app").__package__],
        env=command()["env"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "30 []", done.stdout + done.stderr


def test_state_is_kept_read_and_forgotten(package: Package) -> None:
    server = package("session_state").StateOnDemand("stateful")
    seen: list[Any] = []

    @server.tool
    async def steps(context: Context) -> None:
        for what in ("read", "forget", "keep", "read", "forget"):
            if what == "keep":
                await context.set_state("colour", "green")
            elif what == "forget":
                await context.delete_state("colour")
            seen.append((what, await context.get_state("colour"), server.keeps_state))

    async def use() -> None:
        async with Client(server) as client:
            await client.call_tool("steps")

    asyncio.run(use())
    assert seen == [
        ("read", None, False),
        ("forget", None, False),
        ("keep", "green", True),
        ("read", "green", True),
        ("forget", None, True),
    ]


def test_a_store_that_is_given_is_used(package: Package) -> None:
    from key_value.aio.stores.memory import MemoryStore

    server = package("session_state").StateOnDemand("stateful", session_state_store=MemoryStore())
    assert server.keeps_state
    assert server._state_store is server.loaded_state
