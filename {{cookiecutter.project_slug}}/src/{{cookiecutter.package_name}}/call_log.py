"""One log line for each tool call, with its outcome and duration and without its arguments."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, NamedTuple

import structlog
from fastmcp.exceptions import DisabledError, NotFoundError, ToolError, ValidationError
from fastmcp.tools import ToolResult
from pydantic import ValidationError as PydanticValidationError

from .request_ids import current_tool

logger = structlog.get_logger(__name__)

# A name is whatever a client sends.
NAME_LIMIT = 128
# Types of pydantic's errors: about an argument the tool doesn't have; and those whose text may quote a value.
NAMED_BY_CALLER = ("unexpected_keyword_argument", "extra_forbidden")
QUOTING = ("value_error", "assertion_error", "union_tag_invalid")
NOT_ACCEPTABLE = "not acceptable"


async def logged(tool: str, call: Awaitable[ToolResult]) -> ToolResult:
    """Write `tool.succeeded` or `tool.failed` with `tool`, `duration_ms` and, on failure, `error`.

    A failure that is the caller's doing (bad arguments, an unknown tool, a tool's own `ToolError`) is a
    warning; any other exception is an error, logged with its traceback, which the client never sees. Bad
    arguments are answered without repeating their values.
    """
    name = tool[:NAME_LIMIT]
    token = current_tool.set(name)
    started = time.perf_counter()
    try:
        result = await call
    except ValidationError as error:
        problems = _problems(error)
        kinds = ", ".join(f"{problem.argument} {problem.kind}" for problem in problems)
        logger.warning(
            "tool.failed", tool=name, duration_ms=_since(started), error=f"ValidationError: {kinds}"
        )
        # Agents keep transcripts, and gateways logs: what was sent isn't sent back.
        text = "; ".join(f"{problem.path}: {problem.text}" for problem in problems)
        raise ValidationError(f"Invalid arguments for tool {name!r}: {text}") from None
    except (NotFoundError, DisabledError) as error:
        logger.warning("tool.failed", tool=name, duration_ms=_since(started), error=_described(error))
        raise
    except asyncio.CancelledError:
        logger.warning("tool.failed", tool=name, duration_ms=_since(started), error="call cancelled")
        raise
    except ToolError as error:
        cause = error.__cause__
        _log_failure(name, _since(started), error if cause is None else cause, cause is not None)
        raise
    except Exception as error:
        _log_failure(name, _since(started), error, unexpected=True)
        raise
    else:
        duration = _since(started)
        # Extensions answer with results of other kinds.
        if getattr(result, "is_error", False):
            logger.warning("tool.failed", tool=name, duration_ms=duration, error="result says so")
        else:
            logger.info("tool.succeeded", tool=name, duration_ms=duration)
        return result
    finally:
        current_tool.reset(token)


def _since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _log_failure(name: str, duration_ms: float, error: BaseException, unexpected: bool) -> None:
    if unexpected:
        details: dict[str, Any] = {"error": _described(error), "exc_info": error}
        logger.error("tool.failed", tool=name, duration_ms=duration_ms, **details)
    else:
        logger.warning("tool.failed", tool=name, duration_ms=duration_ms, error=_described(error))


class _Problem(NamedTuple):
    """What is wrong with an argument; `path` and `text`, which may hold a key, are not for the log."""

    argument: str
    kind: str
    path: str
    text: str


def _problems(error: ValidationError) -> list[_Problem]:
    cause = error.__cause__
    if not isinstance(cause, PydanticValidationError):
        return [_Problem("arguments", "invalid", "arguments", NOT_ACCEPTABLE)]
    return [
        _Problem(
            "arguments" if detail["type"] in NAMED_BY_CALLER or not detail["loc"] else str(detail["loc"][0]),
            detail["type"],
            ".".join(map(str, detail["loc"])) or "arguments",
            NOT_ACCEPTABLE if detail["type"] in QUOTING else detail["msg"],
        )
        for detail in cause.errors(include_url=False, include_context=False, include_input=False)
    ]
