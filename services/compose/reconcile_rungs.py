"""The part of `reconcile` about targets and alerts: what stands, when the next rungs are, and that none that was passed is missing."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from services.alerts.clearing import clear_reason
from services.alerts.projection import Evaluated, rungs_to_come
from services.alerts.rungs import DUE_TODAY, NEXT_RUNG, SUSPENDED_LONG, SUSPENSION, OpenTarget, open_targets
from services.alerts.tables import STANDS, alerts, targets
from shared.rules import Ruleset

CHAIN = tuple(rung for rung in NEXT_RUNG if rung != SUSPENDED_LONG)
Known = Mapping[str, tuple[Evaluated, datetime]]
"""Each case, and the instant as of which its row stands."""


def compare_rungs(connection: Connection, known: Known, rules: Ruleset) -> Iterator[str]:
    expected = {
        (key, target.round, target.target, target.due_at): target
        for key, (item, as_of) in known.items()
        if item.case is not None
        for target in open_targets(item.case, rules, as_of)
    }
    rows = list(connection.execute(select(targets).where(targets.c.key.in_(list(known)))))
    kept = {(row.key, row.round, row.target, row.due_at): row for row in rows}
    for where in sorted(expected.keys() ^ kept.keys()):
        yield f"{where[0]}：第 {where[1]} 轮的 {where[2]} 时限与待办时限表不符"
    standing = set()
    for row in connection.execute(select(alerts).where(alerts.c.key.in_(list(known)), STANDS)):
        standing.add((row.key, row.round, row.target, row.due_at, row.rung))
        reason = clear_reason(known[row.key][0].case, rules, row.round, row.target, row.rung, row.due_at)
        if reason is not None:
            yield f"{row.key}：提醒 {row.rung} 仍然有效，应已按 {reason} 解除"
    for where in sorted(expected.keys() & kept.keys()):
        what = f"{where[0]}：第 {where[1]} 轮的 {where[2]} 时限"
        row = kept[where]
        passed = _passed(row)
        if passed is None:
            yield f"{what}：没有提醒级别 {row.next_rung}"
            continue
        yield from _compare_instants(what, row, expected[where])
        yield from (f"{what}：已到 {rung}，却没有提醒" for rung in passed if (*where, rung) not in standing)


def _passed(row: Any) -> tuple[str, ...] | None:
    """The rungs that the sweep has left behind, without that of the morning, which is left out when it comes too late.

    None: its next rung is none of its own.
    """
    chain = (SUSPENDED_LONG,) if row.target == SUSPENSION else CHAIN
    if row.next_rung is None:
        behind = chain
    elif row.next_rung in chain:
        behind = chain[: chain.index(row.next_rung)]
    else:
        return None
    return tuple(rung for rung in behind if rung != DUE_TODAY)


def _compare_instants(what: str, row: Any, target: OpenTarget) -> Iterator[str]:
    instants = dict(
        zip(
            ("next_at", "escalate_1_at", "escalate_2_at"),
            rungs_to_come(target, row.next_rung, row.next_at),
            strict=True,
        )
    )
    for name, value in instants.items():
        if getattr(row, name) != value:
            yield f"{what}：{name} 表中为 {getattr(row, name)}，重新计算为 {value}"
