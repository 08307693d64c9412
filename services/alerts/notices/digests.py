"""Many alerts as one message to one receiver (pure): counts, the oldest of them, what stands, and where to look."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from services.alerts.notices.routing import CORRECTIONS
from services.alerts.rungs import NEXT_RUNG
from shared.times import show
from shared.zh import CLEARED, RUNGS, TARGETS

What = Literal["raised", "repeated", "cleared"]
ORDER: tuple[What, ...] = ("raised", "repeated", "cleared")
OLDEST = 10


class Entry(Struct, frozen=True, omit_defaults=True):
    """One alert of a digest. `holder`: the name of who has the case. `reason`: how it was cleared."""

    key: str
    what: What
    rung: str
    target: str
    round: int
    due_at: datetime
    raised_at: datetime
    holder: str | None = None
    reason: str | None = None


class Part(Struct, frozen=True):
    """What happened to `total` alerts: so many of each rung, so many cleared for each reason, and the `oldest` of them."""

    what: What
    total: int
    rungs: Mapping[str, int]
    reasons: Mapping[str, int]
    oldest: Sequence[Entry]


class Standing(Struct, frozen=True):
    """How many alerts of a rung stand in the county, and since when."""

    total: int
    since: datetime


class Digest(Struct, frozen=True):
    """A message, as it is kept and as a webhook gets it. `standing`: of each rung that the message is about."""

    county: str
    county_name: str
    created_at: datetime
    parts: Sequence[Part]
    standing: Mapping[str, Standing]
    page: str | None = None


def make_digest(
    county: str,
    county_name: str,
    at: datetime,
    parts: Sequence[Part],
    standing: Mapping[str, Standing],
    page: str | None = None,
) -> Digest:
    """Of what stands only the rungs that the parts are about."""
    about = {rung for part in parts for rung in part.rungs}
    return Digest(county, county_name, at, parts, {r: s for r, s in standing.items() if r in about}, page)


def make_part(what: What, counts: Mapping[tuple[str, str | None], int], oldest: Sequence[Entry]) -> Part:
    """`counts`: how many of a rung, and of what was cleared, for a reason. `oldest`: the first `OLDEST` in the order of deadlines."""
    rungs, reasons = Counter[str](), Counter[str]()
    for (rung, reason), number in counts.items():
        rungs[rung] += number
        if what == "cleared" and reason is not None:
            reasons[reason] += number
    return Part(
        what, rungs.total(), {r: rungs[r] for r in NEXT_RUNG if rungs[r]}, dict(sorted(reasons.items())), oldest
    )


HEADS = {"raised": "新提醒", "repeated": "再次提醒（尚未确认）", "cleared": "解除"}


def title(digest: Digest) -> str:
    """One line: what and how many, for whom."""
    told = []
    for part in digest.parts:
        words = {"raised": "", "repeated": "再次提醒：", "cleared": "解除："}[part.what]
        told.append(words + "、".join(f"{RUNGS[rung]} {number} 条" for rung, number in part.rungs.items()))
    return f"网民留言提醒 {digest.county_name}：{'；'.join(told)}"


def lines(digest: Digest) -> list[str]:
    """The message for people, a line each, without the title; markdown."""
    found: list[str] = []
    for part in digest.parts:
        rungs = "、".join(f"{RUNGS[rung]} {number}" for rung, number in part.rungs.items())
        found.append(f"**{HEADS[part.what]} {part.total} 条**（{rungs}）")
        if wrong := sum(number for reason, number in part.reasons.items() if reason in CORRECTIONS):
            found.append(f"更正：其中 {wrong} 条此前的提醒不再成立")
        found += [f"- {line(entry)}" for entry in part.oldest]
        if part.total > len(part.oldest):
            found.append(f"- 另有 {part.total - len(part.oldest)} 条未列出（以上为最早到期的）")
    return found


def line(entry: Entry) -> str:
    """One alert, without anything that a citizen wrote."""
    due = show(entry.due_at, (entry.due_at - timedelta(microseconds=1)).date())
    reason = f"，{CLEARED.get(entry.reason, entry.reason)}" if entry.reason else ""
    holder = f"，承办：{plain(entry.holder)}" if entry.holder else ""
    return f"{entry.key} 第{entry.round}轮{TARGETS[entry.target]} {RUNGS[entry.rung]}（截止 {due}）{holder}{reason}"


def plain(text: str) -> str:
    """A name that others wrote, so that it is only text in a messenger's markdown."""
    return "".join(
        " " if character in "\r\n\t" else character for character in text if character not in "*_`[]()<>#~|\\@"
    )


def link(digest: Digest) -> str | None:
    """Where to look: the duty page."""
    return None if digest.page is None else f"[打开值班页面]({digest.page})"


def markdown(digest: Digest, limit: int) -> str:
    """Title, lines and link in at most `limit` bytes; what does not fit is left out and said to be."""
    head, body, end = f"**{title(digest)}**", lines(digest), link(digest)
    tail = [] if end is None else [end]
    text = "\n".join([head, *body, *tail])
    while len(text.encode()) > limit and body:
        body.pop()
        text = "\n".join([head, *body, "……（内容过长，其余请看值班页面）", *tail])
    return text if len(text.encode()) <= limit else text.encode()[:limit].decode(errors="ignore")
