"""CloudEvents lines from a file through the door into the log, then into the projections. Bad lines go to the dead letters.

The log is written in large durable steps first; cases are evaluated once each afterwards. Interrupted at any point, the
same command finishes the work: what is in the log is recognised, what is not projected yet is projected at the next start.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from services.ingest.door import Door
from services.ingest.port import Taken
from services.ingest.refusals import Refusal, RefusalReason, RefusedError
from services.ingest.strictjson import MAX_BODY, parse_json
from services.standalone.apply import take
from services.standalone.database import Database
from services.standalone.log import bury
from shared.events import Event
from shared.records import DeadLetter

LINES_A_STEP = 20_000
BYTES_A_STEP = 32 * 1024 * 1024
TURN_SECONDS = 0.1  # between steps: a service beside gets its turn to write; SQLite's waiters look every 0.1 s at least


TOO_LONG = Refusal(RefusalReason.TOO_LARGE, "", f"一行超过 {MAX_BODY // 1024} KiB，请核对文件")


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
    with file.open("rb") as opened:
        for number, (step, size) in enumerate(_steps(_lines(opened))):
            if number:
                time.sleep(TURN_SECONDS)
            _one_step(step, file.name, database, door, now(), total)
            progress(size)
    return total


def _lines(file: BinaryIO) -> Iterator[tuple[bytes | None, int]]:
    """Each line and its bytes; None instead of one that is too long, which is never held in memory."""
    while line := file.readline(MAX_BODY + 1):
        size = len(line)
        if size <= MAX_BODY or line.endswith(b"\n"):
            yield line, size
            continue
        while (more := file.readline(MAX_BODY)) and not more.endswith(b"\n"):
            size += len(more)
        yield None, size + len(more)


def _steps(lines: Iterable[tuple[bytes | None, int]]) -> Iterator[tuple[list[tuple[int, bytes | None]], int]]:
    """Numbered lines and their bytes, as many as go into one transaction."""
    step: list[tuple[int, bytes | None]] = []
    total = 0
    for number, (line, size) in enumerate(lines, 1):
        step.append((number, line))
        total += size
        if len(step) == LINES_A_STEP or total >= BYTES_A_STEP:
            yield step, total
            step, total = [], 0
    if step:
        yield step, total


def _one_step(
    step: list[tuple[int, bytes | None]], name: str, database: Database, door: Door, now: datetime, total: Replayed
) -> None:
    events: list[Event] = []
    origins: list[str] = []
    letters: list[DeadLetter] = []
    for number, line in step:
        total.lines += 1
        text = b"" if line is None else line.strip()
        if line is not None and not text:
            total.blank += 1
            continue
        settled = TOO_LONG if line is None else _settle(door, text)
        if isinstance(settled, Refusal):
            digest = f"（sha256 {hashlib.sha256(text).hexdigest()[:16]}）" if text else ""
            detail = f"{settled.pointer or '整行'}：{settled.detail}{digest}"
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
