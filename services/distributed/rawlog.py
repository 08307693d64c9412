"""The topic of events as a table, for recounting: a SQLite file in a folder that is gone afterwards.

Read by nobody's group, and judged by its own means: who came first in the partition stands, the same again is a duplicate, anything
else a conflict. What cannot be used has to be among the dead letters, under its place in the topic.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    bindparam,
    create_engine,
    delete,
    exists,
    insert,
    select,
    true,
    tuple_,
    update,
)

from services.alerts.sql import chunks, run_many
from services.sla.partitions import partition_of
from shared.events import CaseEvent, Event, decode_event, encode_event
from shared.records import ForeignError, read_event, record_key
from shared.rules import Ruleset
from shared.topics import MESSAGES

PAGE = 10_000

_metadata = MetaData()
_messages = Table(
    "messages",
    _metadata,
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("body", LargeBinary, nullable=False, comment="canonical"),
    Column("used", Boolean, nullable=False, comment="counted: what came first, unless it is taken out"),
)
Index("messages_key", _messages.c.key, _messages.c.id, _messages.c.offset)
_earlier = _messages.alias("earlier")

Place = tuple[int, int]
"""Partition and offset."""


class Entry(NamedTuple):
    """An event that came first with its id under its key."""

    partition: int
    offset: int
    key: str
    id: str
    body: bytes


def origin(partition: int, offset: int) -> str:
    """As dead letters name a message of the topic."""
    return f"{MESSAGES.name}/{partition}/{offset}"


class RawLog:
    """Filled by `add`, then judged by `judge`; `unusable`: the reason of each message that cannot be used."""

    def __init__(self, folder: Path, rules: Ruleset) -> None:
        self._rules = rules
        engine = create_engine(f"sqlite:///{folder / 'topic.db'}")
        self._connection = engine.connect()
        for pragma in ("journal_mode=OFF", "synchronous=OFF"):  # it is read by nobody else, and thrown away
            self._connection.exec_driver_sql(f"PRAGMA {pragma}")
        _metadata.create_all(self._connection)
        self._engine = engine
        self.unusable: dict[Place, str] = {}

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()

    def add(self, partition: int, records: Iterable[Any]) -> None:
        """Kafka's records of a partition, each once."""
        rows = []
        for record in records:
            found = self._read(partition, record)
            if isinstance(found, str):
                self.unusable[partition, record.offset] = found
                continue
            rows.append(
                {
                    "partition": partition, "offset": record.offset, "key": record_key(found), "id": found.id,
                    "body": encode_event(found), "used": False,
                }
            )  # fmt: skip
        if rows:
            run_many(self._connection, _ADD, rows)

    def _read(self, partition: int, record: Any) -> Event | str:
        try:
            event = read_event(record.value)
        except ForeignError:
            return "undecodable"
        if event.platform not in self._rules.registry:
            return "unknown_platform"
        if record.key != record_key(event).encode():
            return "wrong_key"
        return event if partition_of(record.key, MESSAGES.partitions) == partition else "wrong_partition"

    def judge(self, refused: Mapping[Place, str], since: Mapping[int, int]) -> None:
        """What came first is used, of what is at `since` (by partition) or later. `refused`: messages that could not be used when
        they came, with the reason, though they could now."""
        for (partition, offset), reason in refused.items():
            place = and_(_messages.c.partition == partition, _messages.c.offset == offset)
            if self._connection.execute(delete(_messages).where(place)).rowcount:
                self.unusable[partition, offset] = reason
        for partition, start in since.items():
            mine = and_(_messages.c.partition == partition, _messages.c.offset >= start)
            self._connection.execute(update(_messages).where(mine, ~_ANOTHER_BEFORE).values(used=True))

    def conflicts(self) -> Iterator[Place]:
        """Messages that are not what came first under their id. To be asked before anything is taken out."""
        other = (_earlier.c.key == _messages.c.key) & (_earlier.c.id == _messages.c.id) & _earlier.c.used
        statement = select(_messages.c.partition, _messages.c.offset).join(_earlier, other)
        for row in self._connection.execute(statement.where(~_messages.c.used, _messages.c.body != _earlier.c.body)):
            yield row.partition, row.offset

    def all_keys(self) -> list[str]:
        """Those of the used events, in order, the platforms of the tallies among them."""
        used = select(_messages.c.key).where(_messages.c.used).distinct().order_by(_messages.c.key)
        return list(self._connection.execute(used).scalars())

    def entries(self, keys: Iterable[str]) -> Iterator[Entry]:
        """The used events of these keys."""
        for chunk in chunks(keys):
            for row in self._connection.execute(_BY_KEY, {"keys": chunk}):
                yield Entry(*row)

    def holds(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of the (key, id) that a message has."""
        wanted = set(pairs)
        found: set[tuple[str, str]] = set()
        for chunk in chunks(sorted({key for key, _ in wanted})):
            statement = select(_messages.c.key, _messages.c.id).where(_messages.c.key.in_(chunk))
            found |= wanted & {(row.key, row.id) for row in self._connection.execute(statement)}
        return found

    def take_out(self, entries: Iterable[Entry]) -> None:
        """They are not counted."""
        rows = [{"at_partition": entry.partition, "at_offset": entry.offset} for entry in entries]
        if rows:
            self._connection.execute(_TAKE_OUT, rows)

    def histories(self, keys: Iterable[str]) -> Iterator[tuple[str, list[CaseEvent]]]:
        """Each case's key with all its used events, in no particular order."""
        for chunk in chunks(keys):
            grouped: dict[str, list[CaseEvent]] = {key: [] for key in chunk}
            for entry in self.entries(chunk):
                grouped[entry.key].append(decode_event(entry.body))
            yield from grouped.items()

    def events(self, meanwhile: Connection) -> Iterator[Event]:
        """All used events. The other connection is used now and then: a server ends transactions in which nothing happens."""
        after: Place = (-1, -1)
        while page := self._connection.execute(_PAGE, {"partition": after[0], "offset": after[1]}).all():
            meanwhile.execute(select(true()))
            yield from (decode_event(row.body) for row in page if row.used)
            after = (page[-1].partition, page[-1].offset)


_ADD = insert(_messages).values({column.name: bindparam(column.name) for column in _messages.c})
_ANOTHER_BEFORE = exists().where(
    _earlier.c.key == _messages.c.key, _earlier.c.id == _messages.c.id, _earlier.c.offset < _messages.c.offset
)
_BY_KEY = select(*(_messages.c[name] for name in Entry._fields)).where(
    _messages.c.used, _messages.c.key.in_(bindparam("keys", expanding=True))
)
_TAKE_OUT = (
    update(_messages)
    .where(_messages.c.partition == bindparam("at_partition"), _messages.c.offset == bindparam("at_offset"))
    .values(used=False)
)
_PAGE = (
    select(_messages.c.partition, _messages.c.offset, _messages.c.body, _messages.c.used)
    .where(tuple_(_messages.c.partition, _messages.c.offset) > tuple_(bindparam("partition"), bindparam("offset")))
    .order_by(_messages.c.partition, _messages.c.offset)
    .limit(PAGE)
)
