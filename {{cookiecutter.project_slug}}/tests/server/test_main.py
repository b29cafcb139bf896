"""The command line, run as a process of its own."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport


def run(command: Callable[..., dict[str, Any]], *arguments: str, **variables: str) -> Any:
    return subprocess.run(
        **command(*arguments, **variables), input="", capture_output=True, text=True, timeout=30, check=False
    )


def test_help_names_every_option_and_variable(command: Any) -> None:
    answer = run(command, "--help")
    assert answer.returncode == 0
    names = ("--stdio", "--host", "--port", "--version", "HOST", "MCP_HOST", "PORT", "LOG_LEVEL")
    for name in (*names, "MCP_STATEFUL", "KNOWLEDGE_BASE_ID", "CORS_ORIGINS", "TRACES_ENDPOINT"):
        assert name in answer.stdout


def test_version_is_the_distributions(command: Any, package: Callable[[str], Any]) -> None:
    distribution = package("_distribution").this_distribution()
    assert run(command, "--version").stdout == f"{distribution.name} {distribution.version}\n"


@pytest.mark.parametrize(
    ("arguments", "variables", "named"),
    [
        ((), {"PORT": "abc"}, "PORT='abc'"),
        (("--port", "70000"), {"PORT": "8080"}, "PORT='70000'"),
        (("--stdio",), {"LOG_LEVEL": "loud"}, "LOG_LEVEL="),
    ],
)
def test_a_bad_setting_is_one_readable_line(
    command: Any, arguments: tuple[str, ...], variables: dict[str, str], named: str
) -> None:
    answer = run(command, *arguments, **variables)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.count("\n") == 1
    assert named in answer.stderr


def test_a_taken_port_is_an_error_and_not_a_traceback(command: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = run(command, "--port", str(taken.getsockname()[1]))
    assert answer.returncode == 3
    assert "address already in use" in answer.stdout
    assert "Traceback" not in answer.stdout + answer.stderr


def test_stdio_answers_without_a_network(command: Any, package: Callable[[str], Any]) -> None:
    process = command("--stdio", LOG_LEVEL="DEBUG")
    transport = StdioTransport(process["args"][0], process["args"][1:], env=process["env"])

    async def ask() -> Any:
        async with Client(transport, timeout=20) as client:
            tools = [tool.name for tool in await client.list_tools()]
            return tools, await client.call_tool("simpleadd", {"a": 10, "b": 20})

    tools, answer = asyncio.run(ask())
    assert "simpleadd" in tools
    assert answer.data == 30


def test_stdio_keeps_its_output_for_the_protocol(command: Any) -> None:
    answer = run(command, "--stdio", LOG_LEVEL="DEBUG")
    assert answer.returncode == 0
    assert answer.stdout == ""


def test_nothing_slow_is_imported_before_it_is_needed(command: Any) -> None:
    process = command()
    code = f"import sys; import {process['args'][2]}.serving; print('boto3' in sys.modules)"
    process["args"] = [sys.executable, "-c", code]
    assert subprocess.check_output(**process, text=True, timeout=30) == "False\n"


def test_the_version_is_found_where_the_distribution_is_called_differently(
    package: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = package("settings").__package__
    for dist, owned in (("neighbour", f"{name}_too"), ("called-differently", name)):
        info = tmp_path / f"{dist.replace('-', '_')}-1.2.3.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.2.3\n")
        (info / "RECORD").write_text(f"{info.name}/METADATA,,\n{owned}/__init__.py,sha256=x,1\n")
    module = package("_distribution")
    find = module.this_distribution.__wrapped__
    with monkeypatch.context() as patched:

        def not_found(_name: str) -> None:
            raise module.metadata.PackageNotFoundError

        patched.setattr(module.metadata, "distribution", not_found)
        patched.setattr(sys, "path", [str(tmp_path)])
        assert find() == ("called-differently", "1.2.3")
        patched.setattr(sys, "path", [])
        assert find() == (name.replace("_", "-"), module.UNINSTALLED_VERSION)
