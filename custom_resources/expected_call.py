"""One call of a tool together with the answer it must give: what proves that a server works."""

from collections.abc import Mapping
from typing import Any

from custom_resources.mcp_probe import Trial

_KINDS = {"tool": str, "arguments": dict, "answer": str}


def shape_error(call: Mapping[str, Any]) -> str:
    """Return what `call` has, "" where that is `tool`, `arguments` and `answer`, each of its type."""
    if {name: type(value) for name, value in call.items()} == _KINDS:
        return ""
    return f"has {', '.join(call) or 'nothing'}"


def wrong_answer(trial: Trial, tool: str, expected: str) -> str:
    """Return how a trial's answer isn't the expected one, "" where it is."""
    if not trial.failed and trial.text.strip() == expected:
        return ""
    verb = "failed with" if trial.failed else "answered"
    return f"{tool} {verb} {trial.text[:200]!r}; expected {expected!r}"
