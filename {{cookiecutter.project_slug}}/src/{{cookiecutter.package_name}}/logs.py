"""Every log line as one JSON object: this package's, and those of FastMCP, uvicorn and boto3."""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from .health import HEALTH_PATH

# Run for every line, whoever wrote it; context such as a session id is bound with structlog.contextvars.
SHARED_PROCESSORS: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
    structlog.processors.StackInfoRenderer(),
)
# A stateless server ends a session with every request and would say so at INFO each time.
QUIET_LOGGERS = ("mcp.server.streamable_http", "mcp.server.streamable_http_manager")


def configure_logs(level: str, stream: TextIO = sys.stdout) -> None:
    """Send all logs of the process to `stream`, from `level` (such as `INFO`) upwards."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=SHARED_PROCESSORS,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _without_colours,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=repr),
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(True)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    access = logging.getLogger("uvicorn.access")
    access.filters.clear()
    access.addFilter(_is_not_health_check)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED_PROCESSORS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _without_colours(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # uvicorn sends some lines a second time, coloured for terminals.
    event.pop("color_message", None)
    return event


def _is_not_health_check(record: logging.LogRecord) -> bool:
    # uvicorn's access record carries (client, method, path, http version, status).
    arguments = record.args
    return not (isinstance(arguments, tuple) and len(arguments) == 5 and arguments[2] == HEALTH_PATH)
