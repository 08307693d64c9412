"""Timing: medians of repeated runs, one core where one core is claimed, and synthetic events."""

import contextlib
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from shared.events import Received, ReceivedData
from shared.times import SHANGHAI, isoformat

TEXT = "您好，我想咨询一下南伞镇到勐捧镇的公路什么时候可以修好，现在路面坑洼不平，下雨天出行很不方便，希望有关部门尽快处理。"
PLATFORMS = ("lincang", "linxiang", "yunxian", "fengqing", "yongde", "zhenkang", "gengma", "cangyuan", "shuangjiang")
CATEGORIES = ("simple_inquiry", "inquiry", "help", "complaint", "suggestion", "correction")
START = datetime(2022, 1, 1, tzinfo=SHANGHAI)


def seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def median(values: list[float]) -> float:
    return statistics.median(values)


def pin(processor: int) -> None:
    """Keep this thread, and what it starts from now on, on one processor, where the system can."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {processor})


@contextmanager
def one_core(processor: int = 0) -> Iterator[None]:
    """`pin`, and as before afterwards; what was started meanwhile stays there."""
    if not hasattr(os, "sched_getaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    pin(processor)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def used(pid: int) -> float:
    """Seconds of a processor that a process has used until now (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="liuyan-bench-") as name:
        yield Path(name)


def event(subject: str, number: int, name: str, platform: str, time: datetime, **data: object) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": f"{subject}-{number}",
        "source": f"/platforms/{platform}",
        "type": f"liuyan.message.{name}.v1",
        "subject": subject,
        "time": isoformat(time),
        "data": data,
    }


def lives(cases: int, seed: int = 1) -> list[dict[str, object]]:
    """The events of so many cases, four each (received, accepted, replied, completed), in order of time over two years."""
    rnd = random.Random(seed)  # noqa: S311
    found: list[tuple[datetime, dict[str, object]]] = []
    for i in range(cases):
        subject, platform = f"m-{i}", rnd.choice(PLATFORMS)
        at = START + timedelta(seconds=rnd.randrange(86_400 * 730))
        steps: tuple[tuple[str, float, dict[str, object]], ...] = (
            ("received", 0.0, {"category": rnd.choice(CATEGORIES), "title": "关于公路维修的咨询", "content": TEXT}),
            ("accepted", 2.0, {}),
            ("replied", rnd.choice((20, 50, 200)), {"content": f"您反映的问题已核实。{TEXT}"}),
            ("completed", rnd.choice((210, 300)), {}),
        )
        for number, (name, hours, data) in enumerate(steps):
            moment = at + timedelta(hours=hours)
            found.append((moment, event(subject, number, name, platform, moment, **data)))
    found.sort(key=lambda item: item[0])
    return [item for _, item in found]


def receptions(cases: int, time: Callable[[int], datetime], category: Callable[[int], str]) -> list[Received]:
    """So many settled receptions, spread over the platforms."""
    return [
        Received(
            specversion="1.0",
            id=f"r-{i}",
            source=f"/platforms/{PLATFORMS[i % len(PLATFORMS)]}",
            subject=f"s-{i}",
            time=time(i),
            data=ReceivedData(category=category(i), title="关于公路维修的咨询"),
        )
        for i in range(cases)
    ]


def write_lines(file: Path, events: list[dict[str, object]]) -> None:
    with file.open("wb") as out:
        out.writelines(msgspec.json.encode(item) + b"\n" for item in events)
