"""The distributed form as a whole, on a real Kafka and PostgreSQL: the same events give the same cases and figures as in one process."""

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.events import Event, decode_event, encode_event
from shared.records import decode_record
from shared.rules import Ruleset
from shared.times import SHANGHAI
from shared.topics import CASES, MESSAGES, message_key
from tests.builders import shuffled
from tests.chaos.load import rules_by_the_minute, urgent
from tests.clusterkit import Cluster, cluster
from tests.enginekit import Alert, Deck, deck
from tests.kafkakit import records
from tests.noticekit import configured
from tests.receivers import Receiver, receiver
from tests.service import until
from tests.stories import season
from tests.test_scenarios import FILES, Scenario, differences, rules_of, scenarios

pytestmark = pytest.mark.slow

CASES_PUSHED = 10_500


@pytest.fixture
def alone(rules: Ruleset) -> Iterator[Cluster]:
    with cluster(rules) as found:
        yield found


def embedded(found: Deck, events: Sequence[Event], step: int = 2_000) -> dict[str, Any]:
    """What one process makes of the events."""
    for start in range(0, len(events), step):
        found.push(*events[start : start + step])
    found.sweep()
    return found.snapshot()


def test_fifty_thousand_events_give_the_same_in_both_forms(alone: Cluster, rules: Ruleset) -> None:
    """With duplicates, shuffled, over HTTP, by two portals at once, two processors and two replicas of alerts."""
    events = season(rules, CASES_PUSHED, seed=4)
    pushed = shuffled([*events, *events[: len(events) // 5]], seed=5)
    assert len(events) > 45_000
    assert len(pushed) > 50_000
    for kind, name in (
        ("ingest", "ingest"),
        ("sla", "sla-1"),
        ("sla", "sla-2"),
        ("alerts", "alerts-1"),
        ("alerts", "alerts-2"),
    ):
        alone.start(kind, name)
    alone.ready("ingest", "alerts-1", "alerts-2")
    half = len(pushed) // 2
    portals = [threading.Thread(target=alone.push, args=(part,)) for part in (pushed[:half], pushed[half:])]
    for portal in portals:
        portal.start()
    for portal in portals:
        portal.join()
    alone.settle()
    now = datetime.now(SHANGHAI)
    distributed = alone.deck(now)
    with deck(rules, now) as one:
        wanted, got = embedded(one, events), distributed.snapshot()
        for what, value in wanted.items():
            assert got[what] == value, what
        months = {f"2026-{month:02}" for month in range(1, 5)}
        assert distributed.standings_now(months) == one.standings_now(months)
        assert distributed.tally_gaps() == one.tally_gaps()
    distributed.close()
    assert alone.letters() == set()
    assert [process.stop() for process in alone.processes.values()] == [0] * 5, alone.tails()


def test_an_answer_that_waits_in_the_topic_keeps_its_case_from_being_flagged(tmp_path: Path) -> None:
    """No processor runs while two deadlines pass; one of the cases was answered in time. Only the other is ever flagged."""
    rules, environ = rules_by_the_minute(tmp_path)
    with cluster(rules) as found:
        found.environ = environ
        for kind in ("ingest", "sla", "alerts"):
            found.start(kind, kind)
        found.ready("ingest", "sla", "alerts")
        due = datetime.now(SHANGHAI) + timedelta(seconds=6)
        (answered, _), (unanswered, _), _ = urgent("wait", 3, due)
        found.push([answered[0], *unanswered])
        found.settle()
        assert found.processes.pop("sla").stop() == 0
        found.push(answered[1:])
        passed = due + timedelta(seconds=3)
        until(lambda: datetime.now(SHANGHAI) > passed, "the deadline has passed")
        assert _overdue(found) == set()
        found.start("sla", "sla")
        found.settle()
        assert _overdue(found) == {unanswered[0].key}


def _overdue(found: Cluster) -> set[str]:
    """The cases that were ever flagged."""
    with closing(found.deck(datetime.now(SHANGHAI))) as looked:
        return {alert.key for alert in looked.alerts() if alert.rung == "overdue"}


def test_two_replicas_tell_of_each_alert_once_and_of_what_came_late(tmp_path: Path) -> None:
    """The same notices as in one process: whichever replica flags, routes and sends."""
    rules, environ = rules_by_the_minute(tmp_path)
    with receiver() as there, cluster(rules) as found:
        found.environ = environ | configured(tmp_path, there)
        for kind, name in (("ingest", "ingest"), ("sla", "sla"), ("alerts", "alerts-1"), ("alerts", "alerts-2")):
            found.start(kind, name)
        found.ready("ingest", "sla", "alerts-1", "alerts-2")
        due = datetime.now(SHANGHAI) + timedelta(seconds=6)
        stories = list(urgent("tell", 60, due))
        found.push([event for first, _ in stories for event in first])
        found.settle()
        late = [event for _, then in stories for event in then]
        passed = due + timedelta(seconds=1)
        until(lambda: datetime.now(SHANGHAI) > passed, "the deadlines have passed")
        found.settle()
        until(lambda: _told(there)["raised"] == len(_journal(found)), "each alert is told")
        assert {alert.key for alert in _journal(found)} == {first[0].key for first, then in stories if len(first) == 1}
        found.push(late)
        found.settle()
        until(lambda: _told(there)["cleared"] == len(_journal(found, cleared=True)), "each correction is told")
        assert {alert.key for alert in _journal(found, cleared=True)} == {event.key for event in late}
        assert [process.stop() for process in found.processes.values()] == [0] * 4, found.tails()
        assert _told(there) == {"raised": len(_journal(found)), "cleared": len(_journal(found, cleared=True))}
        assert len({post.headers["webhook-id"] for post in there.posts}) == len(there.posts)


def _told(there: Receiver) -> Counter[str]:
    """Of how many alerts so far."""
    told: Counter[str] = Counter()
    for post in list(there.posts):
        for part in post.json["data"]["parts"]:
            told[part["what"]] += part["total"]
    return told


def _journal(found: Cluster, cleared: bool = False) -> list[Alert]:
    """The alerts that were ever raised, or of these the cleared ones."""
    with closing(found.deck(datetime.now(SHANGHAI))) as looked:
        return [alert for alert in looked.alerts() if alert.cleared or not cleared]


# The scenarios


def test_every_scenario_by_the_distributed_form(tmp_path: Path) -> None:
    """All events at once, each scenario with names of its own; then, under each ruleset in turn, what its scenarios expect."""
    numbered = [(f"n{number:03}.", stem, scenario) for number, (stem, scenario) in enumerate(scenarios())]
    by_rules: dict[str, list[tuple[str, str, Scenario]]] = {}
    for entry in numbered:
        by_rules.setdefault(rules_of(entry[1], entry[2].ruleset).hash, []).append(entry)
    _, stem, first = numbered[0]
    with cluster(rules_of(stem, first.ruleset)) as found:
        _feed(found, [_renamed(prefix, raw) for prefix, _, scenario in numbered for raw in scenario.events])
        problems: list[str] = []
        for hashed, entries in by_rules.items():
            found.rules = rules_of(entries[0][1], entries[0][2].ruleset)
            environ = _files(entries[0], tmp_path / hashed)
            found.start("sla", "sla", **environ)
            found.start("alerts", "alerts", **environ)
            found.settle()
            problems += _compare(found, entries)
            until(lambda: _rulesets(found) == {found.rules.hash}, "the processor's records are of these rules too")
            found.stop()
        assert not problems, "\n".join(problems)


def _rulesets(found: Cluster) -> set[str]:
    """Those of the newest records of the stream."""
    newest = {r.key: decode_record(r.value) for r in records(found.kafka, CASES.name)}
    return {record.ruleset for record in newest.values()}


def _renamed(prefix: str, raw: Any) -> Event:
    told = json.loads(bytes(raw))
    told |= {"id": prefix + told["id"], "subject": prefix + told["subject"]}
    return decode_event(json.dumps(told).encode())


def _feed(found: Cluster, events: Sequence[Event]) -> None:
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=found.kafka, enable_idempotence=True, acks="all")
    for event in events:
        producer.send(MESSAGES.name, encode_event(event), message_key(event))
    producer.flush()
    producer.close()


def _files(entry: tuple[str, str, Scenario], folder: Path) -> dict[str, str]:
    """The settings of a ruleset, its files written."""
    _, stem, scenario = entry
    if scenario.ruleset is None:
        return {}
    folder.mkdir()
    texts = FILES[stem].rulesets[scenario.ruleset]
    environ = {}
    for name, lines in (("policy", texts.policy), ("calendar", texts.calendar)):
        if lines is not None:
            (folder / f"{name}.toml").write_text("\n".join(lines), encoding="utf-8")
            environ[f"LIUYAN_{name.upper()}"] = str(folder / f"{name}.toml")
    return environ


def _compare(found: Cluster, entries: Sequence[tuple[str, str, Scenario]]) -> list[str]:
    problems = []
    looked = found.deck(datetime.now(SHANGHAI))
    listed: dict[str, list[str]] = {}
    for prefix, stem, scenario in entries:
        for expectation in scenario.expect:
            if expectation.as_of not in listed:
                as_of = datetime.fromisoformat(expectation.as_of).astimezone(SHANGHAI)
                listed[expectation.as_of] = [case.decode() for case in looked.encoded(as_of)]
            mine = [json.loads(case.replace(prefix, "")) for case in listed[expectation.as_of] if f"/{prefix}" in case]
            one = [] if expectation.case is None else [expectation.case]
            wanted = one if expectation.cases is None else expectation.cases
            place = f"{stem}: {scenario.name} as of {expectation.as_of}: "
            problems += [place + line for line in differences(wanted, mine)]
    looked.close()
    return problems
