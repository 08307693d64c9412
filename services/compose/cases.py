"""Cases from all their events, wherever a form keeps these: as of now for the projections, as of any instant for who asks."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry
from sqlalchemy import Connection

from services.alerts.app import CaseFile
from services.alerts.journal import alerts_of
from services.alerts.metrics import CaseCollector, FlagDelay
from services.alerts.projection import Evaluated
from services.alerts.standings import Recall
from services.alerts.state import State, state
from services.ingest.refusals import RefusalReason
from services.sla.explain import explain
from services.sla.rules import evaluate, next_change, order, still_stands
from shared.case import Case
from shared.database import Connections
from shared.events import SOURCE_PREFIX, CaseEvent, Received, ReceivedData
from shared.http import busy
from shared.metrics import new_registry
from shared.rules import Ruleset

LETTER_REASONS = (
    *(reason.value for reason in RefusalReason),
    "undecodable",
    "unusable",
    "wrong_key",
    "wrong_partition",
)
"""Why something may become a dead letter: each is counted from the start, because of a series that begins with 1 nobody sees the rise."""

Histories = Callable[[Connection, Iterable[str]], Iterator[tuple[str, list[CaseEvent]]]]
"""(connection, keys) -> each key, in the order given, with all events of its case in no particular order."""


def evaluated(
    key: str, history: list[CaseEvent], rules: Ruleset, now: datetime, found: Case | None = None
) -> Evaluated:
    """A case as of now, and when that changes by itself. `found` is what somebody has evaluated already, as of the latest event that
    he knew: taken where it still stands, which is half of the work of projecting."""
    if found is not None and found.key == key and still_stands(found, history, rules, now):
        return Evaluated(key, found, found.next_deadline, events_ahead=False)
    case = evaluate(history, rules, now)
    ahead = case is None or case.event_count < len(history)
    wake = next_change(history, case, now) if case is None or ahead else case.next_deadline
    return Evaluated(key, case, wake, ahead)


def evaluate_keys(
    histories: Histories, connection: Connection, keys: Iterable[str], rules: Ruleset, now: datetime
) -> list[Evaluated]:
    """The cases of these keys as of now."""
    return [evaluated(key, history, rules, now) for key, history in histories(connection, keys)]


def recaller(histories: Histories, rules: Ruleset, ending: Callable[[], bool] = lambda: False) -> Recall:
    """A `Recall` for alerts: cases as of any instant, those left out of which nothing was known.

    When `ending`, it raises ProblemError (503).
    """

    def recalled(connection: Connection, keys: Iterable[str], as_of: datetime) -> Iterator[Case]:
        for _, history in histories(connection, keys):
            if ending():
                raise busy("服务正在停止，请稍后再试")
            case = evaluate(history, rules, as_of)
            if case is not None:
                yield case

    return recalled


def open_file(
    histories: Histories, connection: Connection, rules: Ruleset, key: str, as_of: datetime
) -> CaseFile | None:
    """A case with its events, its alerts and its deadlines explained; None when nothing of it is known as of then."""
    ((_, history),) = histories(connection, [key])
    case = evaluate(history, rules, as_of)
    if case is None:
        return None
    known = sorted((event for event in history if event.time <= as_of), key=order)
    return CaseFile(case, explain(case, rules), known, alerts_of(connection, key, as_of))


def calculate(rules: Ruleset, category: str, received: datetime, platform: str) -> CaseFile:
    """The case of a message received then, with nothing done about it."""
    reception = Received(
        specversion="1.0",
        id="-",
        source=f"{SOURCE_PREFIX}{platform}",
        subject="-",
        time=received,
        data=ReceivedData(category=category),
    )
    case = evaluate([reception], rules, received)
    assert case is not None
    return CaseFile(case, explain(case, rules), [], [])


def cases_registry(
    database: Connections,
    rules: Ruleset,
    now: Callable[[], datetime],
    dead_letters: Callable[[Connection], Mapping[str, int]],
) -> tuple[CollectorRegistry, FlagDelay]:
    """The metrics of the cases, read at each scrape."""
    registry = new_registry()

    def read(months: Iterable[str], at: datetime) -> State:
        with database.reading() as connection:
            return state(connection, rules.registry, months, at)

    def letters() -> dict[str, int]:
        with database.reading() as connection:
            return {**dict.fromkeys(LETTER_REASONS, 0), **dead_letters(connection)}

    registry.register(CaseCollector(rules, now, read, letters))
    return registry, FlagDelay(registry)
