"""Structured logs: a Chinese sentence, an `action` name for machines, and the facts. JSON lines, or coloured text on a terminal."""

import logging
import sys
from datetime import datetime
from typing import Any, Literal

import structlog

from shared.times import SHANGHAI

LogFormat = Literal["auto", "json", "text"]


def _time(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The instant at +08:00, as everywhere else."""
    event["timestamp"] = datetime.now(SHANGHAI).isoformat(timespec="milliseconds")
    return event


def configure_logs(style: LogFormat = "auto") -> None:
    """To standard error. `auto`: text on a terminal, JSON elsewhere."""
    text = sys.stderr.isatty() if style == "auto" else style == "text"
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(ensure_ascii=False)
    if text:  # plain tracebacks: the pretty ones show local variables, which may be personal data
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _time,
            *([] if text else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
