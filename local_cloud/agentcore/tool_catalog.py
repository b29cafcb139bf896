"""The gateway's tools: each target's tools under the target's name, and the search over them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from .state import Target

SEPARATOR = "___"
SEARCH_TOOL = "x_amz_bedrock_agentcore_search"
_SEARCH_RESULTS = 10

Tool = dict[str, Any]

SEARCH_DEFINITION: Tool = {
    "name": SEARCH_TOOL,
    "description": "Finds the tools that fit a question in natural language, the best first.",
    "inputSchema": {
        "type": "object",
        "properties": {"query": {"type": "string", "description": "What the tool is needed for"}},
        "required": ["query"],
    },
}


def qualified(target: Target, tools: Iterable[Tool]) -> list[Tool]:
    """``tools`` under the names by which the gateway offers them: ``<target>___<tool>``."""
    return [{**tool, "name": f"{target.name}{SEPARATOR}{tool['name']}"} for tool in tools]


def split_name(name: str) -> tuple[str, str] | None:
    """The target's name and the tool's own name; None when ``name`` is not a qualified one."""
    target, separator, tool = name.partition(SEPARATOR)
    return (target, tool) if separator and target and tool else None


def argument_problems(tool: Tool, arguments: Any) -> list[str]:
    """What in ``arguments`` the tool's input schema doesn't accept."""
    try:
        Draft202012Validator.check_schema(tool.get("inputSchema") or {})
    except SchemaError:
        # The service can't check against a schema that is none; the server will.
        return []
    validator = Draft202012Validator(tool.get("inputSchema") or {})
    errors = sorted(validator.iter_errors(arguments), key=lambda error: list(map(str, error.absolute_path)))
    return [f"Field '{'.'.join(map(str, error.absolute_path)) or '$'}' {error.message}" for error in errors]


def search(tools: Iterable[Tool], query: str) -> list[Tool]:
    """Tools that share words with ``query``, most shared words first; a stand-in for semantic search."""
    wanted = _words(query)
    scored = [(len(wanted & _words(f"{tool['name']} {tool.get('description', '')}")), tool) for tool in tools]
    ranked = sorted((item for item in scored if item[0]), key=lambda item: -item[0])
    return [tool for _score, tool in ranked[:_SEARCH_RESULTS]]


def _words(text: str) -> set[str]:
    return {word for word in re.split(r"[^a-z0-9]+", text.lower()) if len(word) > 1}
