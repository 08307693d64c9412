"""What ingest asks of an engine: to make settled events durable. Each engine gives a `Submit`; ingest knows no engine."""

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum

from shared.events import Event


class Taken(StrEnum):
    """What became of a settled event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


Submit = Callable[[Sequence[Event], str], Awaitable[list[Taken]]]
"""(events, origin) -> an answer each, in order, once they are durable. Raises BusyError or UnknownOutcomeError."""


class BusyError(Exception):
    """The engine cannot take more now; nothing was stored. The caller may try again."""


class UnknownOutcomeError(Exception):
    """Whether the events were stored is not known: the same events may be pushed again."""
