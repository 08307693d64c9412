"""Which partitions the SLA processor takes over, whatever it is that Faust assigns."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from services.sla.worker.app import make_app
from services.sla.worker.health import Health
from services.sla.worker.ledger import Ledger
from services.sla.worker.watchdog import Watchdog
from shared.rules import Ruleset
from shared.topics import CASES, MESSAGES


class Producer:
    """Of a partition that was taken over."""

    async def stop(self) -> None:
        """When it is given up."""


def test_who_reads_a_partition_writes_it_even_where_its_records_were_not_assigned(
    rules: Ruleset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust leaves out a topic that its broker does not know yet, and the group hands out the same again at each restart."""
    taken: list[int] = []

    async def take_over(ledger: Ledger, partition: int) -> None:
        ledger._producers[partition] = Producer()  # type: ignore[assignment]

    async def highwaters(*tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, 7)

    monkeypatch.setattr(Ledger, "_take_over", take_over)

    async def main() -> list[Any]:
        watchdog = Watchdog(60.0)
        app = make_app("127.0.0.1:1", "here", 4, rules, watchdog, Health(watchdog))
        app._consumer = SimpleNamespace(highwaters=highwaters)  # type: ignore[assignment]
        ledger: Any = app.tables["cases"]
        ledger.on_taken = taken.append
        steps = []
        for messages, records in (((0, 1), ()), ((1, 2), (1, 2)), ((2,), (1, 2)), ((), (3,))):
            assigned = {TP(MESSAGES.name, n) for n in messages} | {TP(CASES.name, n) for n in records}
            await ledger.on_rebalance(assigned, set(), assigned)
            steps.append([n for n in range(4) if ledger.holds(n)])
        return steps

    assert asyncio.run(main()) == [[0, 1], [1, 2], [2], []]
    assert taken == [0, 1, 2], "each is read back once"
