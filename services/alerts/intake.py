"""Up to where a topic's partitions are in the projections, kept in the transaction that projects them.

The database, not the broker, says who may write: every assignment gets a greater epoch, and whoever comes with an older one
is refused. A batch that was applied already changes nothing. Kafka's own committed offset is only a hint.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select, tuple_, update

from services.alerts.sql import insert_missing, upsert
from services.alerts.tables import consumer_positions as positions


class FencedError(Exception):
    """The partition was assigned to another consumer since: drop it, and apply nothing."""

    def __init__(self, topic: str, partition: int) -> None:
        super().__init__(f"{topic} 的分区 {partition} 已由别的进程接手")


class GapError(Exception):
    """Records are missing between what was applied and what came: read again from `expected`."""

    def __init__(self, expected: int, came: int) -> None:
        super().__init__(f"读到的位置是 {came}，应从 {expected} 接着读")
        self.expected, self.came = expected, came


class Claim(NamedTuple):
    """The right to write of these partitions, and from which offset on to read each."""

    epoch: int
    next_offsets: dict[int, int]


def claim(connection: Connection, topic: str, partitions: Iterable[int]) -> Claim:
    """Take over the partitions, in a transaction of its own: from now on nobody else's batches of them are applied."""
    wanted = sorted(set(partitions))
    rows = [{"topic": topic, "partition": number, "epoch": 0, "next_offset": 0} for number in wanted]
    insert_missing(connection, positions, rows)
    mine = (positions.c.topic == topic) & positions.c.partition.in_(wanted)
    held = connection.execute(select(positions).where(mine).order_by(positions.c.partition).with_for_update()).all()
    epoch = max((row.epoch for row in held), default=0) + 1
    connection.execute(update(positions).where(mine).values(epoch=epoch))
    return Claim(epoch, {row.partition: row.next_offset for row in held})


def epochs(connection: Connection) -> dict[tuple[str, int], int]:
    """Of each partition that was ever claimed."""
    rows = connection.execute(select(positions.c.topic, positions.c.partition, positions.c.epoch))
    return {(row.topic, row.partition): row.epoch for row in rows}


def restart(connection: Connection, topic: str) -> None:
    """Read the topic from its beginning again: whoever reads it now is fenced, and claims anew."""
    mine = positions.c.topic == topic
    connection.execute(update(positions).where(mine).values(epoch=positions.c.epoch + 1, next_offset=0))


class Step(NamedTuple):
    """A partition is read from `first_offset` (not the first record's offset: compaction leaves holes) to before `next_offset`."""

    topic: str
    partition: int
    epoch: int
    first_offset: int
    next_offset: int


def advance(connection: Connection, steps: Sequence[Step]) -> list[int]:
    """The partitions (each once) are in the projections up to their `next_offset`: the first thing in the transaction that
    applies what was read of them.

    The offsets that are returned are those of the first record of each that is not yet applied; those before it are repeats,
    and from `next_offset` on there are none. Raises FencedError and GapError, having changed nothing.
    """
    places = [(step.topic, step.partition) for step in steps]
    mine = tuple_(positions.c.topic, positions.c.partition).in_(places)
    ordered = select(positions).where(mine).order_by(positions.c.topic, positions.c.partition)
    held = {(row.topic, row.partition): row for row in connection.execute(ordered.with_for_update())}
    for step in steps:
        row = held.get((step.topic, step.partition))
        if row is None or row.epoch != step.epoch:
            raise FencedError(step.topic, step.partition)
        if step.first_offset > row.next_offset:
            raise GapError(row.next_offset, step.first_offset)
    applied = [held[place].next_offset for place in places]
    further = [step for step, offset in zip(steps, applied, strict=True) if step.next_offset > offset]
    names = ("topic", "partition", "epoch", "next_offset")
    upsert(connection, positions, [{name: getattr(step, name) for name in names} for step in further])
    return [min(offset, step.next_offset) for step, offset in zip(steps, applied, strict=True)]
