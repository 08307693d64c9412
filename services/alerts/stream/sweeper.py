"""What time does to the projections in PostgreSQL: cases fall due and alerts are raised, as of the horizon; several replicas at once.

Before anything falls due, cases that were made with other rules are computed anew.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from sqlalchemy import Connection, select, update

from services.alerts.projection import Evaluated, project
from services.alerts.stream.apply import database_now, require_ruleset
from services.alerts.stream.horizon import horizon
from services.alerts.stream.tables import state
from services.alerts.sweep import BATCH, Raised, next_wake, sweep
from services.alerts.tables import cases
from shared.database import Connections
from shared.rules import Ruleset

logger = structlog.get_logger("alerts")

LOOK_SECONDS = 0.5
CASES_A_STEP = 2_000

EvaluateKeys = Callable[[Connection, Sequence[str], datetime], list[Evaluated]]


class Sweeper:
    """`step` is for a loop."""

    def __init__(
        self,
        database: Connections,
        rules: Ruleset,
        evaluate_keys: EvaluateKeys,
        on_raised: Callable[[Sequence[Raised], datetime], None],
        batch: int = BATCH,
    ) -> None:
        self._database, self._rules, self._evaluate_keys = database, rules, evaluate_keys
        self._on_raised, self._batch = on_raised, batch

    def step(self) -> float:
        """One batch: for how many seconds there is nothing to do."""
        with self._database.reading() as connection:
            wake, at = next_wake(connection), horizon(connection)
        with self._database.writing() as connection:
            held = require_ruleset(connection, self._rules)
            if not held.recomputed:
                return self._recompute(connection)
            if at is None or wake is None or wake > at:
                return LOOK_SECONDS
            raised = sweep(connection, self._rules, at, self._evaluate_keys, self._batch)
            now = database_now(connection)
        if raised:
            self._on_raised(raised, now)
        return 0.0

    def _recompute(self, connection: Connection) -> float:
        """Some of the cases of another ruleset, which another replica is not at."""
        other = cases.c.ruleset.not_in((self._rules.hash, ""))
        chosen = select(cases.c.key).where(other).order_by(cases.c.key).limit(CASES_A_STEP)
        keys = list(connection.execute(chosen.with_for_update(skip_locked=True)).scalars())
        if keys:
            now = database_now(connection)
            project(connection, self._evaluate_keys(connection, keys, now), self._rules, now, recomputed=True)
        elif connection.execute(select(cases.c.key).where(other).limit(1)).first() is None:
            connection.execute(update(state).values(recomputed=True))
            logger.info("按新规则重算完毕", action="recomputed", ruleset=self._rules.hash)
        else:
            return LOOK_SECONDS  # another replica is at the last of them
        return 0.0
