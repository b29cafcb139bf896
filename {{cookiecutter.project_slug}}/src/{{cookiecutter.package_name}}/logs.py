"""Every log line as one JSON object: the package's, FastMCP's, uvicorn's, boto3's, whatever is printed."""

import io
import json
import logging
import sys
import threading
from datetime import UTC, datetime
from functools import partial
from types import NoneType, TracebackType
from typing import TextIO

import pydantic_core
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from .request_ids import current_session_id, current_tool, current_trace_id

# At DEBUG, libraries write what they send and receive: tool arguments, tokens, signatures. They stay at INFO,
# or above it where INFO is a line with every request.
TALKATIVE_LOGGERS = {
    "mcp.server.streamable_http": "WARNING",
    "mcp.server.streamable_http_manager": "WARNING",
    "httpx2": "WARNING",
}
OWN_LOGGER = __name__.partition(".")[0]
# FastMCP's own lines about a call that failed; tool.failed says the same and more.
REPEATED = ("Error calling tool", "Invalid arguments for tool")


def _add_ids(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.setdefault("trace_id", current_trace_id())
    event.setdefault("session_id", current_session_id.get())
    if "tool" not in event and (tool := current_tool.get()) is not None:
        event["tool"] = tool
    return event


def _add_time(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # What structlog's TimeStamper writes, in a quarter of the time.
    event["timestamp"] = datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
    return event


def _add_traceback(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    if "exc_info" not in event:
        return event
    # A line with a traceback says in one field what the traceback ends with.
    info = event["exc_info"]
    error = info[1] if isinstance(info, tuple) else info
    if info is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event.setdefault("error", f"{type(error).__name__}: {error}")
    return structlog.processors.format_exc_info(logger, method, event)


def _without_colours(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # uvicorn sends some lines a second time, coloured for terminals.
    event.pop("color_message", None)
    return event


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    # Nearly every line is of these alone, and pydantic writes them five times as fast.
    if _PLAIN.issuperset(map(type, event.values())):
        try:
            line = pydantic_core.to_json(event)
        except ValueError:
            # Half of a surrogate pair, which JSON can escape and UTF-8 can't hold.
            return _ENCODER.encode(event)
        if line.isascii():
            return line.decode()
    return _ENCODER.encode(event)


_PLAIN = frozenset((str, int, float, bool, NoneType))
_ENCODER = json.JSONEncoder(default=repr, separators=(",", ":"))

# Run for every line, whoever wrote it; more context can be bound with structlog.contextvars.
ADDING: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    _add_ids,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    _add_time,
    structlog.processors.StackInfoRenderer(),
)
RENDERING: tuple[Processor, ...] = (_add_traceback, _as_json)


def configure_logs(level: str, stream: TextIO = sys.stdout) -> None:
    """Send all logs of the process to `stream`, from `level` (such as `INFO`) upwards."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=(*ADDING, structlog.stdlib.ExtraAdder(), _without_colours),
        processors=(structlog.stdlib.ProcessorFormatter.remove_processors_meta, *RENDERING),
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    least = logging.getLevelName(level)
    logging.basicConfig(handlers=[handler], level=max(least, logging.INFO), force=True)
    logging.getLogger(OWN_LOGGER).setLevel(least)
    logging.captureWarnings(True)
    for name, quiet in TALKATIVE_LOGGERS.items():
        logging.getLogger(name).setLevel(max(least, logging.getLevelName(quiet)))
    _replace_filter("fastmcp.server.server", _RepetitionFilter())
    structlog.configure(
        processors=(*ADDING, *RENDERING),
        # Not by way of logging, which would double what the line of a call costs.
        logger_factory=partial(_LineWriter, handler),
        wrapper_class=structlog.make_filtering_bound_logger(least),
        cache_logger_on_first_use=True,
    )
    sys.excepthook = _log_crash
    threading.excepthook = _log_thread_crash


def capture_prints() -> None:
    """Turn what is written to standard output and standard error, by `print` say, into log lines.

    For HTTP only: over stdio, standard output belongs to the protocol.
    """
    sys.stdout = _LoggedStream("stdout", logging.INFO)
    sys.stderr = _LoggedStream("stderr", logging.WARNING)


class _LineWriter:
    """What a structlog logger ends in: writes a line where the handler does."""

    def __init__(self, handler: logging.StreamHandler[TextIO], name: str) -> None:
        self._handler = handler
        self.name = name

    def msg(self, line: str) -> None:
        """Write a line; one that can't be written is reported as logging does, and doesn't fail the call."""
        try:
            # One write: lines of other threads can't come between.
            self._handler.stream.write(f"{line}\n")
            self._handler.stream.flush()
        except (OSError, ValueError):
            self._handler.handleError(logging.makeLogRecord({"name": self.name, "msg": line}))

    log = debug = info = warning = error = critical = msg


class _LoggedStream(io.TextIOBase):
    """A text stream whose complete lines are log lines."""

    def __init__(self, name: str, level: int) -> None:
        self._logger = logging.getLogger(name)
        self._level = level
        self._state = threading.local()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        # A log line that can't be written is reported on standard error: not by logging once more.
        if getattr(self._state, "busy", False):
            return len(text)
        lines = (getattr(self._state, "rest", "") + text).split("\n")
        self._state.rest = lines.pop()
        self._emit(lines)
        return len(text)

    def flush(self) -> None:
        """Keep an unfinished line: most programs flush in the middle of one."""

    def _emit(self, lines: list[str]) -> None:
        self._state.busy = True
        try:
            for line in filter(str.strip, lines):
                self._logger.log(self._level, "%s", line)
        finally:
            self._state.busy = False


def _log_crash(
    kind: type[BaseException],
    error: BaseException | None,
    traceback: TracebackType | None,
    thread: str | None = None,
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    details = {} if thread is None else {"thread": thread}
    structlog.get_logger(OWN_LOGGER).critical("crashed", exc_info=(kind, error, traceback), **details)


def _log_thread_crash(crash: threading.ExceptHookArgs) -> None:
    if not issubclass(crash.exc_type, SystemExit):
        name = crash.thread.name if crash.thread else "unknown"
        _log_crash(crash.exc_type, crash.exc_value, crash.exc_traceback, name)


def _replace_filter(name: str, filter_: logging.Filter) -> None:
    target = logging.getLogger(name)
    target.filters.clear()
    target.addFilter(filter_)


class _RepetitionFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(REPEATED)
