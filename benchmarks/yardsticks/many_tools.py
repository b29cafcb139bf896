"""The generated server with more tools: `python many_tools.py <package> <number of tools>`."""

import importlib
import sys
from types import SimpleNamespace
from typing import Any


def search(query: str, limit: int = 10, exact: bool = False, tags: list[str] | None = None) -> str:
    """Search something for a query; arguments of the usual number and kinds."""
    return f"{query} {limit} {exact} {tags}"


def main(package: str, count: int) -> int:
    """Fill the list of tools up to `count` and run the server's own command."""
    tools: Any = importlib.import_module(f"{package}.tools")

    def register(server: Any, _settings: object) -> None:
        for number in range(count - len(tools.TOOLS) + 1):
            server.tool(name=f"search_{number}")(search)

    tools.TOOLS = (*tools.TOOLS, SimpleNamespace(register=register))
    command: Any = importlib.import_module(f"{package}.__main__")
    return int(command.main([]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
