"""The part of the distributed form's reconciliation about what only it has: records, identities and dead letters."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, bindparam, select

from services.alerts.sql import chunks
from services.alerts.stream.tables import identities, records
from services.distributed.rawlog import Entry, RawLog, origin
from shared.events import Event, encode_event
from shared.topics import CASES, MESSAGES

_decode_events = msgspec.json.Decoder(tuple[Event, ...]).decode
_decode_ids = msgspec.json.Decoder(frozenset[str]).decode
_RECORDS = select(records).where(records.c.key.in_(bindparam("keys", expanding=True)))
_HOLDERS = select(identities).where(identities.c.ident.in_(bindparam("idents", expanding=True)))
_PAGE = select(identities).where(identities.c.ident > bindparam("after")).order_by(identities.c.ident).limit(10_000)


class Judged(Struct, frozen=True):
    """The topic, and up to where (by partition) all of it has to be in the snapshot; what came later may be or not."""

    log: RawLog
    required: Mapping[int, int]

    def is_required(self, partition: int, offset: int) -> bool:
        return offset < self.required.get(partition, 0)


def compare_stream(connection: Connection, judged: Judged, known: Mapping[str, str]) -> list[str]:
    """The differences. Afterwards the log uses what has to be counted: not what is refused, nor what is not in the snapshot yet.

    `known`: origin and reason of the dead letters that are kept.
    """
    log = judged.log
    expected = {origin(*place): reason for place, reason in log.unusable.items()}
    conflicts = set(log.conflicts())
    expected |= {origin(*place): "conflict" for place in conflicts}
    optional = {origin(*place) for place in log.unusable.keys() | conflicts if not judged.is_required(*place)}
    found: list[str] = []
    keys = log.all_keys()
    for chunk in chunks(keys):
        comparison = _Comparison(connection, judged, chunk)
        for key in chunk:
            found += comparison.compare(key)
        log.take_out(comparison.not_counted)
        expected |= dict.fromkeys(comparison.refused, "conflict")
    logged = set(keys)
    for key in connection.execute(select(records.c.key).order_by(records.c.key)).scalars():
        if key not in logged:
            found.append(f"{key}：有记录，主题中却没有它的事件")
    found += _superfluous(connection, log)
    found += _compare_letters(expected, optional, known)
    return found


class _Comparison:
    """Some keys' records with their events in the topic. `not_counted` and `refused` (the origins of letters) are of all of them."""

    def __init__(self, connection: Connection, judged: Judged, keys: Iterable[str]) -> None:
        self._judged, wanted = judged, list(keys)
        self._rows = {row.key: row for row in connection.execute(_RECORDS, {"keys": wanted})}
        self._raw: dict[str, dict[str, Entry]] = {key: {} for key in wanted}
        for entry in judged.log.entries(wanted):
            self._raw[entry.key][entry.id] = entry
        self._holders: dict[str, str] = {}
        for chunk in chunks(_ident(key, name) for key, entries in self._raw.items() for name in entries):
            self._holders |= {row.ident: row.key for row in connection.execute(_HOLDERS, {"idents": chunk})}
        pairs = {(holder, ident.partition("/")[2]) for ident, holder in self._holders.items()}
        self._true = judged.log.holds(pairs)
        self.not_counted: list[Entry] = []
        self.refused: list[str] = []

    def compare(self, key: str) -> Iterator[str]:
        raw, row = self._raw[key], self._rows.get(key)
        kept = {} if row is None else {event.id: encode_event(event) for event in _decode_events(row.events)}
        last = max((raw[name].offset for name in kept if name in raw), default=-1)
        refused = set()
        for name, entry in sorted(raw.items()):
            if name not in kept and entry.offset > last and not self._judged.is_required(entry.partition, entry.offset):
                self.not_counted.append(entry)  # it came after the snapshot
                continue
            if name not in kept:
                yield f"{key}：主题中有事件 {name}，它的记录中没有"
            elif kept[name] != entry.body:
                yield f"{key}：记录中的事件 {name} 与主题中的内容不同"
            holder = self._holders.get(_ident(key, name))
            if holder is None:
                if name in kept:
                    yield f"{key}：事件 {name} 没有登记"
            elif (holder, name) not in self._true:
                yield f"{key}：事件 {name} 登记在 {holder} 之下，主题中却没有"
            elif holder != key:
                refused.add(name)
                self.not_counted.append(entry)
                self.refused.append(f"{CASES.name}/{key}#{name}")
        yield from (f"{key}：记录中有事件 {name}，主题中却没有" for name in sorted(kept.keys() - raw.keys()))
        marked = _decode_ids(row.refused) if row is not None and row.refused is not None else frozenset[str]()
        for name in sorted(marked ^ (refused & kept.keys())):
            yield f"{key}：事件 {name} 记为{'' if name in marked else '未'}拒收，与登记不符"


def _ident(key: str, name: str) -> str:
    """An event's identity: its platform and its id."""
    return f"{key.partition('/')[0]}/{name}"


def _superfluous(connection: Connection, log: RawLog) -> Iterator[str]:
    """Identities that no event in the topic has."""
    after = ""
    while page := connection.execute(_PAGE, {"after": after}).all():
        pairs = {row.ident: (row.key, row.ident.partition("/")[2]) for row in page}
        there = log.holds(pairs.values())
        yield from (
            f"{key}：登记了事件 {name}，主题中却没有" for key, name in pairs.values() if (key, name) not in there
        )
        after = page[-1].ident


def _compare_letters(expected: Mapping[str, str], optional: set[str], known: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(expected):
        if name not in known and name not in optional:
            yield f"死信 {name}（{expected[name]}）没有保存"
        elif name in known and known[name] != expected[name]:
            yield f"死信 {name}：保存的原因是 {known[name]}，应为 {expected[name]}"
    for name in sorted(known.keys() - expected.keys()):
        of_events = name.startswith(f"{MESSAGES.name}/")
        of_records = name.startswith(f"{CASES.name}/") and known[name] == "conflict"
        if of_events or of_records:
            yield f"死信 {name}（{known[name]}）：主题中的这条事件是可以使用的"
