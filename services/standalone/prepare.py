"""Finishes what an earlier run left: events not yet projected, cases of another ruleset, cases that a clock brought ahead."""

from collections.abc import Callable
from functools import partial

from services.alerts.sql import chunks
from services.compose.clock import Clock
from services.standalone.apply import CASES_A_STEP, begin_recomputing, bring_back, recompute, unfinished
from services.standalone.database import Database
from services.standalone.log import set_as_of, set_projected
from shared.rules import Ruleset

Progress = Callable[[str, int, int], None]


def prepare(database: Database, rules: Ruleset, clock: Clock, progress: Progress) -> None:
    """In steps of a transaction each; interrupted, the next start goes on."""
    with database.reading() as connection:
        left = unfinished(connection, rules, clock.now())
    if left.outdated:
        with database.writing() as connection:
            begin_recomputing(connection, clock.now())
    work: tuple[tuple[str, list[str], Callable[..., None]], ...] = (
        ("整理办件", left.behind, partial(recompute, ruleset_changed=False)),
        ("按新规则重算办件", left.outdated, partial(recompute, ruleset_changed=True)),
        ("时钟曾经偏快，重算办件", left.ahead, bring_back),
    )
    for title, keys, bring in work:
        done = 0
        for step in chunks(keys, CASES_A_STEP):
            with database.writing() as connection:
                bring(connection, step, rules, clock.now())
            done += len(step)
            progress(title, done, len(keys))
    if not left.finished:
        with database.writing() as connection:
            set_projected(connection, left.end, rules.hash, clock.now())
            if left.ahead:
                set_as_of(connection, clock.now())
