"""What time does to the projections in PostgreSQL: cases fall due and alerts are raised, as of the horizon; several replicas at once.

Before anything falls due, a rebuild is brought to its end, and cases that were made with other rules are computed anew.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Select, select, update

from services.alerts.projection import project
from services.alerts.stream.apply import database_now, hold_state, require_ruleset
from services.alerts.stream.horizon import horizon
from services.alerts.stream.rebuild import CASES_A_STEP, EvaluateKeys, Rebuild, rebuilding
from services.alerts.stream.tables import state
from services.alerts.sweep import BATCH, Raised, next_wake, sweep
from services.alerts.tables import cases
from shared.database import Connections
from shared.rules import Ruleset

logger = structlog.get_logger("alerts")

LOOK_SECONDS = 0.2


class Sweeper:
    """`step` is for a loop. `rebuilding`: whether the projections were not whole when it looked last.

    `swept_at`: when (seconds since 1970) it last saw to it that what is due is flagged; None before the first time.
    """

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
        self._rebuild = Rebuild(database, rules, evaluate_keys)
        self.rebuilding = False
        self.swept_at: float | None = None

    def step(self) -> float:
        """One batch: for how many seconds there is nothing to do."""
        with self._database.reading() as connection:
            wake, begun = next_wake(connection), rebuilding(connection)
        self.rebuilding = begun is not None
        if self.rebuilding:
            return self._rebuild.step()
        with self._database.writing() as connection:
            held = require_ruleset(connection, self._rules)
            if held.rebuilding is not None:
                return 0.0
            if not held.recomputed:
                some = self._recompute_some(connection)
            else:
                at = horizon(connection)
                if at is None:
                    return LOOK_SECONDS
                if wake is None or wake > at:
                    self.swept_at = time.time()
                    return LOOK_SECONDS
                raised = sweep(connection, self._rules, at, self._evaluate_keys, self._batch)
                now = database_now(connection)
        if not held.recomputed:
            return 0.0 if some else self._end_recomputing()
        self.swept_at = time.time()
        if raised:
            self._on_raised(raised, now)
        return 0.0

    def _recompute_some(self, connection: Connection) -> bool:
        """Some of the cases of another ruleset, which another replica is not at; whether there were any."""
        chosen = self._of_others().order_by(cases.c.key).limit(CASES_A_STEP)
        keys = list(connection.execute(chosen.with_for_update(skip_locked=True)).scalars())
        if keys:
            now = database_now(connection)
            project(connection, self._evaluate_keys(connection, keys, now), self._rules, now, recomputed=True)
        return bool(keys)

    def _end_recomputing(self) -> float:
        """When all are computed; other replicas that are at the last of them are waited for."""
        with self._database.writing() as connection:
            held = hold_state(connection)
            if held.recomputed or held.ruleset != self._rules.hash:
                return 0.0
            if connection.execute(self._of_others().limit(1)).first() is not None:
                return LOOK_SECONDS
            connection.execute(update(state).values(recomputed=True))
        logger.info("按新规则重算完毕", action="recomputed", ruleset=self._rules.hash)
        return 0.0

    def _of_others(self) -> Select[Any]:
        return select(cases.c.key).where(cases.c.ruleset.not_in((self._rules.hash, "")))
