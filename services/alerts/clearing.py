"""When a raised alert no longer stands, and why."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select, update

from services.alerts.rungs import DUE_TODAY, SUSPENSION
from services.alerts.sql import among
from services.alerts.tables import STANDS, alerts
from shared.case import Case, Round, Verdict
from shared.rules import Ruleset
from shared.times import from_micros, to_micros

_CLEAR = (
    update(alerts)
    .where(alerts.c.id == bindparam("alert"))
    .values(cleared_at=bindparam("at"), clear_reason=bindparam("reason"))
)


@lru_cache
def _standing(dialect_name: str) -> Select[Any]:
    return select(alerts).where(among(dialect_name, alerts.c.key, "keys"), STANDS)


def clear_alerts(
    connection: Connection, known: Mapping[str, Case | None], rules: Ruleset, now: datetime, recomputed: bool
) -> None:
    """Clear those alerts of these cases that no longer stand. `recomputed`: because the ruleset changed."""
    cleared = []
    for row in connection.execute(_standing(connection.dialect.name), {"keys": list(known)}):
        reason = clear_reason(known[row.key], rules, row.round, row.target, row.rung, row.due_at)
        if reason is not None:
            moved = recomputed and reason in ("deadline_moved", "late_evidence")
            cleared.append({"alert": row.id, "at": to_micros(now), "reason": "recomputed" if moved else reason})
    if cleared:
        connection.execute(_CLEAR, cleared)


def clear_premature(connection: Connection, keys: Sequence[str], now: datetime) -> None:
    """Clear what a clock that was ahead raised of these cases: alerts of deadlines that have not come yet."""
    connection.execute(
        update(alerts)
        .where(alerts.c.key.in_(keys), alerts.c.due_at > to_micros(now), alerts.c.rung != DUE_TODAY)
        .where(STANDS)
        .values(cleared_at=to_micros(now), clear_reason="recomputed")
    )


def clear_reason(case: Case | None, rules: Ruleset, number: int, target: str, rung: str, due_at: int) -> str | None:
    """`completed`, `closed`, `deadline_moved` or, disproved by evidence that came late, `late_evidence`; None while it stands."""
    if case is None or number > len(case.rounds):
        return "late_evidence"
    current = case.rounds[number - 1]
    if target == SUSPENSION:
        return _suspension_over(current, rules, from_micros(due_at))
    state = current.targets.reply if target == "reply" else current.targets.complete
    passed = rung != DUE_TODAY  # the alert said that the deadline had passed: only earlier evidence can disprove it
    if state.due_at is None or to_micros(state.due_at) != due_at:
        return "late_evidence" if passed else "deadline_moved"
    if state.verdict is Verdict.VOID:
        in_time = current.closed_at is not None and current.closed_at < state.due_at
        return "late_evidence" if passed and in_time else "closed"
    if state.met_at is not None:
        return "late_evidence" if passed and state.verdict is Verdict.ON_TIME else "completed"
    return None


def _suspension_over(current: Round, rules: Ruleset, long_at: datetime) -> str | None:
    """Of the suspension that was long at `long_at`: None while it lasts."""
    days = rules.policy_on(current.anchor.date()).rungs.suspended_long_days
    start = long_at - timedelta(days=days)
    meant = next((stop for stop in reversed(current.suspensions) if stop.start == start), None)
    if meant is None or (meant.end is not None and meant.end < long_at):
        return "late_evidence"  # it never was, or was over in time
    if meant.end is None:
        return None
    return "closed" if meant.end == current.closed_at else "deadline_moved"
