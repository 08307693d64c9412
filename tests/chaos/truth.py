"""What must be there after any trouble, computed from what the portals were told and from the raw topic alone."""

from collections import Counter
from datetime import datetime
from typing import Any

import msgspec

from services.alerts.tables import alerts
from services.sla.processing import Message, process
from shared.events import Event
from shared.rules import Ruleset
from shared.times import SHANGHAI
from shared.topics import ALERTS, DEAD_LETTERS, MESSAGES
from tests.clusterkit import Cluster
from tests.enginekit import expected_snapshot
from tests.kafkakit import records

URGENT = "urgent"  # in the keys of cases that fall due while the test runs


def check(found: Cluster, acknowledged: set[str], rules: Ruleset) -> list[str]:
    """The differences, a line each: acknowledged events in the topic; tables as the topic says; letters; alerts once."""
    messages = [
        Message(r.key, r.value, f"{r.topic}/{r.partition}/{r.offset}") for r in records(found.kafka, MESSAGES.name)
    ]
    done = process({}, messages, rules)
    events: list[Event] = [event for record in done.records for event in record.events]
    problems = [f"acknowledged and not in the topic: {ident}" for ident in sorted(acknowledged - _idents(events))]
    now = datetime.now(SHANGHAI)
    deck = found.deck(now)
    got, wanted = deck.snapshot(), expected_snapshot(events, rules, now)
    problems += [
        f"{what} differ: {_first_difference(wanted[what], got[what])}" for what in wanted if got[what] != wanted[what]
    ]
    standing = [alert for alert in deck.alerts() if alert.cleared is None]
    problems += [f"stands twice: {alert}" for alert, times in Counter(standing).items() if times > 1]
    urgent = Counter(alert._replace(cleared=None) for alert in deck.alerts() if URGENT in alert.key)
    problems += [f"flagged {times} times: {alert}" for alert, times in urgent.items() if times > 1]
    journal = deck.read(alerts)
    deck.close()
    problems += _letters(found, {letter.origin for letter in done.letters})
    return problems + _published(found, journal)


def _idents(events: list[Event]) -> set[str]:
    return {f"{event.platform}/{event.id}" for event in events}


def _letters(found: Cluster, wanted: set[str]) -> list[str]:
    in_topic = {str(msgspec.json.decode(r.value)["origin"]) for r in records(found.kafka, DEAD_LETTERS.name)}
    kept = {origin for origin, _ in found.letters()}
    lines = [f"no dead letter in the topic for {origin}" for origin in sorted(wanted - in_topic)]
    lines += [f"a dead letter for what can be used: {origin}" for origin in sorted(in_topic - wanted)]
    return lines + [f"dead letters in the table differ: {origin}" for origin in sorted(in_topic ^ kept)]


def _published(found: Cluster, journal: list[dict[str, Any]]) -> list[str]:
    """Each alert that is not quiet stands in its topic once as raised and, when it was cleared, once as cleared."""
    told = Counter(str(msgspec.json.decode(r.value)["id"]) for r in records(found.kafka, ALERTS.name))
    lines = [f"published {times} times: {identifier}" for identifier, times in told.items() if times > 1]
    loud = [row for row in journal if not row["quiet"]]
    wanted = {_notice(row, "raised") for row in loud} | {_notice(row, "cleared") for row in loud if row["cleared_at"]}
    lines += [f"never published: {identifier}" for identifier in sorted(wanted - told.keys())]
    return lines + [f"published and not in the journal: {identifier}" for identifier in sorted(told.keys() - wanted)]


def _notice(row: dict[str, Any], what: str) -> str:
    names = ("key", "round", "target", "rung", "due_at", "raised_at")
    return "/".join([*(str(row[name]) for name in names), what])


def _first_difference(wanted: Any, got: Any) -> str:
    if isinstance(wanted, dict):
        names = sorted((n for n in wanted.keys() | got.keys() if wanted.get(n) != got.get(n)), key=str)
        return f"{names[0]}: {wanted.get(names[0])} is {got.get(names[0])} (of {len(names)})"
    if isinstance(wanted, (set, frozenset)):
        return f"missing {sorted(map(str, wanted - got))[:1]}, too much {sorted(map(str, got - wanted))[:1]}"
    pairs = [(one, other) for one, other in zip(wanted, got, strict=False) if one != other]
    return f"{len(wanted)} wanted, {len(got)} found, {pairs[:1]}"
