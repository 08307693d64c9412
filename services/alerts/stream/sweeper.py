"""What time does to the projections in PostgreSQL: cases fall due and alerts are raised, as of the horizon; several replicas at once.

Before anything falls due, a rebuild is brought to its end, and cases that were made with other rules are computed anew.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from sqlalchemy import Connection, select, update

from services.alerts.projection import project
from services.alerts.stream.apply import database_now, require_ruleset
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
    """`step` is for a loop. `rebuilding`: whether the projections were not whole when it looked last."""

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
                return self._recompute(connection)
            at = horizon(connection)
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
