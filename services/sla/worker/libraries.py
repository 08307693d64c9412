"""The libraries' own logs: what they say of a broker that does not answer would be hundreds of lines, most with a traceback."""

import logging
import time

import structlog

logger = structlog.get_logger("sla")

QUIET_SECONDS = 60.0


class OneLine(logging.Handler):
    """A line for a warning or an error of a library, and no more of the same place for a minute."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: dict[tuple[str, int], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        now, place = time.monotonic(), (record.name, record.lineno)
        if now - self._said.get(place, float("-inf")) < QUIET_SECONDS:
            return
        self._said[place] = now
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        logger.warning(
            "底层库报告",
            action="library",
            library=record.name,
            text=_first_line(record),
            place=record.lineno,
            error=error,
        )


def _first_line(record: logging.LogRecord) -> str:
    return next(iter(record.getMessage().strip().splitlines()), "")[:300]


def quiet_libraries() -> None:
    """aiokafka says what it retries, and raises what it does not: its logs are dropped; the lookout tells of the brokers."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    logging.basicConfig(handlers=[OneLine()], level=logging.WARNING, force=True)
