"""CloudEvents lines from a file through the door into the log, then into the projections. Bad lines go to the dead letters.

The log is written in large durable steps first; cases are evaluated once each afterwards. Interrupted at any point, the
same command finishes the work: what is in the log is recognised, what is not projected yet is projected at the next start.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from services.ingest.door import Door
from services.ingest.port import Taken
from services.ingest.refusals import Refusal, RefusedError
from services.ingest.strictjson import parse_json
from services.standalone.apply import take
from services.standalone.database import Database
from services.standalone.log import DeadLetter, bury
from shared.events import Event

LINES_A_STEP = 20_000


class Replayed(Struct):
    """How many lines there were, and what became of them; the numbers add up to `lines`."""

    lines: int = 0
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    bad: int = 0
    blank: int = 0


def replay(
    file: Path, database: Database, door: Door, now: Callable[[], datetime], progress: Callable[[int], None]
) -> Replayed:
    """All lines into the log and the dead letters. `progress` is told the bytes read. Raises OSError."""
    total = Replayed()
    with file.open("rb") as lines:
        for step in _steps(lines):
            _one_step(step, file.name, database, door, now(), total)
            progress(sum(len(line) for _, line in step))
    return total


def _steps(lines: Iterable[bytes]) -> Iterator[list[tuple[int, bytes]]]:
    step: list[tuple[int, bytes]] = []
    for number, line in enumerate(lines, 1):
        step.append((number, line))
        if len(step) == LINES_A_STEP:
            yield step
            step = []
    if step:
        yield step


def _one_step(
    step: list[tuple[int, bytes]], name: str, database: Database, door: Door, now: datetime, total: Replayed
) -> None:
    events: list[Event] = []
    origins: list[str] = []
    letters: list[DeadLetter] = []
    for number, line in step:
        total.lines += 1
        text = line.strip()
        if not text:
            total.blank += 1
            continue
        settled = _settle(door, text)
        if isinstance(settled, Refusal):
            digest = hashlib.sha256(text).hexdigest()[:16]
            detail = f"{settled.pointer or '整行'}：{settled.detail}（sha256 {digest}）"
            letters.append(DeadLetter(f"{name}:{number}", settled.reason, detail))
        else:
            events.append(settled)
            origins.append(f"{name}:{number}")
    with database.writing() as connection:
        answers = take(connection, events, origins, now)
        bury(connection, letters, now)
    total.bad += len(letters)
    total.accepted += answers.count(Taken.ACCEPTED)
    total.duplicates += answers.count(Taken.DUPLICATE)
    total.conflicts += answers.count(Taken.CONFLICT)


def _settle(door: Door, text: bytes) -> Event | Refusal:
    try:
        return door.settle(parse_json(text))
    except RefusedError as refused:
        return refused.refusal
