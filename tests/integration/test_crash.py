"""kill -9 at any point: every event answered 202 is there, none twice, and all that is counted equals a recount.

The points are found by running once without a kill: what the engine's `step` names, and every statement that changes the
database. Besides, kills at random times, with the seed in the test's output.
"""

import http.client
import json
import random
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from services.ingest.keys import create_key
from shared.events import Event, encode_event
from shared.rules import Ruleset
from shared.times import isoformat
from tests.builders import at, event
from tests.crashkit import PATIENCE, Crashes, crashing
from tests.enginekit import Deck, expected_rows, expected_snapshot, folder, fresh_file, tally

pytestmark = pytest.mark.slow

NOW = at("03-31 12:00")
PORTALS = 8
PLATFORMS = ["zhenkang", "gengma"]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where possible: what is killed here is the process, and not the machine with its disk."""
    with folder() as where:
        yield where


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashes]:
    with crashing("tests.crashchild", tmp_path_factory.mktemp("crashes")) as found:
        yield found


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """An empty database with keys, to be copied, and the keys."""
    file = fresh_file(tmp_path_factory.mktemp("keyed"))
    with opened(file, None) as found, found.database.writing() as connection:
        keys = {platform: create_key(connection, platform, NOW)[1] for platform in PLATFORMS}
    return file, keys


@contextmanager
def opened(file: Path, rules: Ruleset | None, now: datetime = NOW) -> Iterator[Deck]:
    found = Deck(file, rules, now)  # type: ignore[arg-type]
    try:
        yield found
    finally:
        found.close()


# A flood of pushes


def flood_of(cases: int) -> list[list[Event]]:
    """Pushes: single events and batches, of two platforms, with duplicates among them, in a mixed order."""
    chance = random.Random(cases)  # noqa: S311 - an order, not a secret
    pushes: list[list[Event]] = []
    for number in range(cases):
        platform, subject = PLATFORMS[number % 2], f"c{number:04}"

        def of_case(name: str, time_: str, p: str = platform, s: str = subject, **data: Any) -> Event:
            return event(f"{s}-{name}", name, time_, platform=p, subject=s, **data)

        story: list[Event] = [of_case("received", f"03-2{number % 9} 09:00", category="simple_inquiry")]
        story += [of_case("accepted", "03-30 10:00")] * (number % 3 > 0)
        story += [of_case("completed", f"03-3{number % 2} 11:00")] * (number % 4 > 0)
        story += [tally(f"t{number}", NOW, f"2022-03-{number % 28 + 1:02}", number, platform)] * (number % 5 == 0)
        pushes += [story] if number % 7 == 0 else [[one] for one in story]
    pushes += [list(push) for push in chance.sample(pushes, len(pushes) // 10)]
    chance.shuffle(pushes)
    return pushes


class Portal:
    """Pushes over one connection until the service is gone."""

    def __init__(self, port: int, keys: dict[str, str]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._keys = keys

    def push(self, events: list[Event]) -> bool:
        """Whether all were answered 202; raises what http.client raises when the service is gone."""
        single = len(events) == 1
        body = b"[" + b",".join(map(encode_event, events)) + b"]"
        kind = "cloudevents" if single else "cloudevents-batch"
        headers = {
            "Content-Type": f"application/{kind}+json",
            "Authorization": f"Bearer {self._keys[events[0].platform]}",
        }
        self._connection.request("POST", "/v1/events", body[1:-1] if single else body, headers)
        answer = self._connection.getresponse()
        said = answer.read()
        assert answer.status in (202, 503), said
        return answer.status == 202

    def close(self) -> None:
        self._connection.close()


def flood(port: int, keys: dict[str, str], pushes: list[list[Event]]) -> tuple[set[str], list[list[Event]]]:
    """Push from several portals at once: the idents answered 202, and the pushes that were not answered."""
    waiting = iter(pushes)
    lock = threading.Lock()
    answered: set[str] = set()
    unanswered: list[list[Event]] = []

    def portal() -> None:
        connection = Portal(port, keys)
        try:
            while True:
                with lock:
                    push = next(waiting, None)
                if push is None:
                    return
                try:
                    sure = connection.push(push)
                except (OSError, http.client.HTTPException):
                    with lock:
                        unanswered.append(push)
                    return
                with lock:
                    if sure:
                        answered.update(f"{e.platform}/{e.id}" for e in push)
                    else:
                        unanswered.append(push)
        finally:
            connection.close()

    with ThreadPoolExecutor(PORTALS) as portals:
        for done in [portals.submit(portal) for _ in range(PORTALS)]:
            done.result()
    return answered, [*unanswered, *waiting]


def until_flagged(file: Path, rules: Ruleset, port: int) -> None:
    """Wait until all that is due is flagged, or the service is gone."""
    end = time.monotonic() + PATIENCE
    with opened(file, rules) as found:
        while (wake := found.next_wake()) is not None and wake <= NOW:
            assert time.monotonic() < end, "what is due is not flagged"
            time.sleep(0.01)
            try:
                socket.create_connection(("127.0.0.1", port), PATIENCE).close()
            except OSError:
                return


def finish(
    crashes: Crashes, file: Path, keys: dict[str, str], rules: Ruleset, pushes: list[list[Event]], answered: set[str],
    unanswered: list[list[Event]], what: str,
) -> None:  # fmt: skip
    """Restart, look, push the unanswered again, stop in order, and compare everything with a recount."""
    with opened(file, rules) as found:
        logged = Counter(found.logged())
        assert answered <= logged.keys(), f"{what}: answered 202 and lost: {sorted(answered - logged.keys())}"
    started = crashes.begin(file=str(file), now=isoformat(NOW))
    with opened(file, rules) as found:
        assert found.differences() == [], what
    again, left = flood(started["port"], keys, unanswered)
    assert left == [], what
    until_flagged(file, rules, started["port"])
    assert crashes.end(started, signal.SIGTERM) == 0, what
    everything = [e for push in pushes for e in push]
    with opened(file, rules) as found:
        logged = Counter(found.logged())
        assert answered | again <= logged.keys(), what
        assert set(logged.values()) == {1}, what
        assert logged.keys() == {f"{e.platform}/{e.id}" for e in everything}, what
        assert found.differences() == [], what
        assert found.dead_letters() == [], what
        actual, expected = found.snapshot(), expected_snapshot(everything, rules, NOW)
        for name in expected.keys() - {"alerts"}:
            assert actual[name] == expected[name], f"{what}: {name}"
        assert {a for a in found.standing_alerts() if a.rung != "due_today"} == expected["alerts"], what


def test_a_flood_killed_at_every_point(
    crashes: Crashes, keyed: tuple[Path, dict[str, str]], rules: Ruleset, tmp_path: Path
) -> None:
    empty, keys = keyed
    pushes = flood_of(40)

    def run(**job: Any) -> tuple[Path, int, set[str], list[list[Event]]]:
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.db"
        shutil.copy(empty, file)
        started = crashes.begin(file=str(file), now=isoformat(NOW), **job)
        if "status" in started:
            return file, started["status"], set(), pushes
        answered, unanswered = flood(started["port"], keys, pushes)
        if not unanswered:
            until_flagged(file, rules, started["port"])
        status = crashes.end(started, signal.SIGTERM if not unanswered else None)
        return file, status, answered, unanswered

    seen = tmp_path / "seen.json"
    file, status, answered, unanswered = run(seen=str(seen))
    assert (status, unanswered) == (0, [])
    points: dict[str, int] = json.loads(seen.read_text())
    assert {"started", "gathered", "projected", "committed", "answered", "swept"} <= points.keys()
    assert {"sql INSERT events", "sql INSERT cases", "sql INSERT figures", "sql COMMIT"} <= points.keys()
    finish(crashes, file, keys, rules, pushes, answered, unanswered, "no kill")
    killed = 0
    chosen = [(point, number) for point in points for number in ((2,) if point.startswith("sql") else (1, 3))]
    chosen = sorted({(point, min(number, points[point])) for point, number in chosen})
    for point, number in chosen:
        what = f"killed at {point}, {number}"
        file, status, answered, unanswered = run(point=point, number=number)
        assert status in (-signal.SIGKILL, 0), what  # 0: with other timing it is passed less often
        killed += status != 0
        finish(crashes, file, keys, rules, pushes, answered, unanswered, what)
    assert killed >= len(chosen) * 3 // 4


def test_a_flood_killed_at_random_times(
    crashes: Crashes, keyed: tuple[Path, dict[str, str]], rules: Ruleset, tmp_path: Path
) -> None:
    empty, keys = keyed
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311 - an order, not a secret
    pushes = flood_of(200)
    for number in range(6):
        file = tmp_path / f"{number}.db"
        shutil.copy(empty, file)
        delay = chance.uniform(0.2, 0.8)
        started = crashes.begin(file=str(file), now=isoformat(NOW), kill_after=delay)
        answered, unanswered = flood(started["port"], keys, pushes) if "port" in started else (set(), pushes)
        assert crashes.end(started) == -signal.SIGKILL
        finish(crashes, file, keys, rules, pushes, answered, unanswered, f"seed {seed}, {number}, after {delay:.3f} s")


def test_a_flood_ended_by_sigterm_loses_nothing_that_was_accepted(
    crashes: Crashes, keyed: tuple[Path, dict[str, str]], rules: Ruleset, tmp_path: Path
) -> None:
    """It stops in order under full load: exit code 0, soon, and everything answered 202 is there."""
    empty, keys = keyed
    pushes = flood_of(400)
    file = Path(shutil.copy(empty, tmp_path / "stopped.db"))
    started = crashes.begin(file=str(file), now=isoformat(NOW))
    stopper = threading.Timer(0.3, crashes.send, (signal.SIGTERM,))
    stopper.start()
    begun = time.monotonic()
    answered, unanswered = flood(started["port"], keys, pushes)
    stopper.join()
    assert crashes.end(started) == 0
    assert time.monotonic() - begun < 15
    assert answered
    finish(crashes, file, keys, rules, pushes, answered, unanswered, "SIGTERM")


# Replay


def test_a_replay_killed_anywhere_is_finished_by_the_same_command(
    crashes: Crashes, rules: Ruleset, tmp_path: Path
) -> None:
    """Killed at every kind of point and at random times, again and again on the same file; then once to the end."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311 - an order, not a secret
    everything = [e for push in flood_of(300) for e in push]
    lines = tmp_path / "x.jsonl"
    bad = b'{"id": "1"}\n'
    lines.write_bytes(bad + b"".join(encode_event(e) + b"\n" for e in everything))
    small = {"lines": 120, "cases": 70}
    alone = {"turn": 0.0}  # no service beside it is given its turn between the steps

    def replay(file: Path, **job: Any) -> tuple[dict[str, Any], list[str]]:
        command = ["replay", str(lines), "--db", str(file)]
        return crashes.begin(command=command, **small, **job), command

    def finish_replay(file: Path, what: str) -> None:
        check_replayed(file, everything, rules, finished=False)
        started, command = replay(file, **alone)
        assert crashes.end(started) == 0, what
        check_replayed(file, everything, rules, finished=True)
        assert crashes.end(crashes.begin(command=["reconcile", *command[2:]])) == 0, what

    seen = tmp_path / "seen.json"
    started, _ = replay(tmp_path / "once.db", seen=str(seen), **alone)
    assert crashes.end(started) == 0
    points: dict[str, int] = json.loads(seen.read_text())
    assert {"sql INSERT events", "sql INSERT cases", "sql COMMIT"} <= points.keys()
    for point, passed in points.items():
        for number in {1, passed // 2 + 1}:
            file = tmp_path / f"{len(list(tmp_path.iterdir()))}.db"
            started, _ = replay(file, point=point, number=number, **alone)
            assert crashes.end(started) == -signal.SIGKILL
            finish_replay(file, f"killed at {point}, {number}")
    file = tmp_path / "random.db"
    for _ in range(6):
        started, _ = replay(file, kill_after=chance.uniform(0, 0.4))
        assert crashes.end(started) in (-signal.SIGKILL, 0)
    finish_replay(file, f"seed {seed}")


def check_replayed(file: Path, events: list[Event], rules: Ruleset, finished: bool) -> None:
    if not file.exists():
        assert not finished
        return
    with opened(file, rules, datetime.now(NOW.tzinfo)) as found:
        logged = Counter(found.logged()) if finished or has_tables(found) else Counter()
        assert logged.keys() <= {f"{e.platform}/{e.id}" for e in events}
        assert set(logged.values()) <= {1}
        if not finished:
            return
        assert logged.keys() == {f"{e.platform}/{e.id}" for e in events}
        assert found.differences() == []
        found.sweep()
        assert found.read_cases() == expected_rows(events, rules, found.now)


def has_tables(found: Deck) -> bool:
    with found.database.reading() as connection:
        return bool(connection.exec_driver_sql("SELECT count(*) FROM sqlite_master WHERE name = 'progress'").scalar())


# A sweep


def test_a_sweep_killed_at_every_point_records_each_rung_once(crashes: Crashes, rules: Ruleset, tmp_path: Path) -> None:
    """500 cases fall due in one instant, in batches of 60; the sweep is killed, and goes on at the next start."""
    events: list[Event] = [
        event(
            f"s{i}", "received", "03-31 09:00", subject=f"s{i:03}", category="simple_inquiry" if i % 3 else "correction"
        )
        for i in range(500)
    ]
    after = at("04-08 10:00")
    full = fresh_file(tmp_path, "full.db")
    with opened(full, rules, NOW) as found:
        found.push(*events)
        found.close()
    seen = tmp_path / "seen.json"

    def run(file: Path, **job: Any) -> int:
        started = crashes.begin(file=str(file), now=isoformat(after), batch=60, **job)
        if "status" in started:
            return int(started["status"])
        if "point" not in job:
            with opened(file, rules, after) as found:
                end = time.monotonic() + PATIENCE
                while (wake := found.next_wake()) is not None and wake <= after:
                    assert time.monotonic() < end
                    time.sleep(0.01)
        return crashes.end(started, None if "point" in job else signal.SIGTERM)

    def check(file: Path, what: str) -> None:
        with opened(file, rules, after) as found:
            assert found.differences() == [], what
            assert found.read_cases() == expected_rows(events, rules, after), what
            recorded = Counter(alert[:-1] for alert in found.alerts())
            assert set(recorded.values()) == {1}, what
            rungs = Counter(alert.rung for alert in found.alerts())
            assert rungs == {"due_today": 1_000, "overdue": 1_000, "escalated-1": 1_000, "escalated-2": 666}, what

    once = shutil.copy(full, tmp_path / "once.db")
    assert run(once, seen=str(seen)) == 0
    check(once, "no kill")
    points: dict[str, int] = json.loads(seen.read_text())
    assert {"swept", "sql INSERT alerts", "sql UPDATE targets", "sql UPDATE cases", "sql COMMIT"} <= points.keys()
    for point in points.keys() - {"started"}:
        file = shutil.copy(full, tmp_path / "killed.db")
        for number in (1, points[point] // 2 or 1):
            assert run(file, point=point, number=number) == -signal.SIGKILL, point
        assert run(file) == 0
        check(file, f"killed at {point}")
        for leftover in tmp_path.glob("killed.db*"):
            leftover.unlink()
