"""What stands on a case's page: what happened, what of it counted, and how each deadline comes about."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from services.alerts.app import CaseFile
from services.alerts.duty.pages import span, until
from services.alerts.journal import Recorded
from services.alerts.notices.acknowledging import Acknowledgement
from shared.case import Case, Outcome, Round, Status, Verdict
from shared.rules import Ruleset
from shared.times import show
from shared.zh import EVENTS, REASONS


class Step(Struct, frozen=True):
    """An event of the timeline. `text`: what was written; `ignored`: why it does not count."""

    id: str
    time: datetime
    word: str
    details: tuple[str, ...]
    text: str
    ignored: str | None


class Held(Struct, frozen=True):
    """The time that a holder had."""

    holder: str
    start: datetime
    end: datetime | None
    time: str


class Pass(Struct, frozen=True):
    """A round with the explanations of its two targets."""

    number: int
    round: Round
    explanations: tuple[Any, ...]


class CasePage(Struct, frozen=True):
    """`tone`: alarm, warning or plain, of `sentence`, which says how the case stands."""

    file: CaseFile
    tone: str
    sentence: str
    steps: tuple[Step, ...]
    held: tuple[Held, ...]
    passes: tuple[Pass, ...]


class Said(Struct, frozen=True):
    """What somebody said when they acknowledged so many alerts at once."""

    person: str
    at: datetime
    note: str
    alerts: int


class Seen(Struct, frozen=True):
    """The alerts that stand, how many of them nobody has seen, and who has seen each alert of the case, by its number."""

    standing: tuple[Recorded, ...]
    by: Mapping[int, Sequence[Acknowledgement]]
    unseen: int
    said: tuple[Said, ...]


def case_page(file: CaseFile, rules: Ruleset, now: datetime) -> CasePage:
    case = file.case
    reasons = {ignored.id: REASONS[ignored.reason] for ignored in case.ignored}
    tone, sentence = _standing(case, now)
    return CasePage(
        file=file,
        tone=tone,
        sentence=sentence,
        steps=tuple(_step(event, reasons.get(event.id), rules) for event in file.events),
        held=tuple(
            Held(rules.registry.holder_name(t.holder), t.start, t.end, span((t.end or now) - t.start))
            for t in case.holders
        ),
        passes=tuple(
            Pass(number, current, tuple(e for e in file.explanation if e.round == number))
            for number, current in enumerate(case.rounds, 1)
        ),
    )


def seen_alerts(alerts: Sequence[Recorded], known: Iterable[Acknowledgement]) -> Seen:
    """`known`: all acknowledgements of the case, in their order."""
    by: dict[int, list[Acknowledgement]] = {alert.id: [] for alert in alerts}
    said: Counter[tuple[str, datetime, str]] = Counter()
    for each in known:
        by.setdefault(each.alert, []).append(each)
        said[each.person, each.at, each.note] += 1
    standing = tuple(alert for alert in alerts if alert.cleared_at is None)
    unseen = sum(not by[alert.id] for alert in standing)
    return Seen(standing, by, unseen, tuple(Said(*what, number) for what, number in said.items()))


def _standing(case: Case, now: datetime) -> tuple[str, str]:
    if case.status is Status.AWAITING_RECEPTION:
        return "warning", "还没有收到这件留言的接到登记，收到之后才计算时限。"
    target = case.rounds[-1].targets.complete
    if case.outcome is Outcome.OVERDUE and target.due_at:
        return "alarm", f"逾期未办结：{show(target.due_at, target.due_day)} 到期，{until(target.due_at, now)}。"
    if not case.is_open:
        closed = f"，{show(case.closed_at)}" if case.closed_at else ""
        words = {
            Outcome.ON_TIME: "按时办结",
            Outcome.LATE: "已结束，曾经逾期",
            Outcome.REJECTED: "不予受理",
            Outcome.WITHDRAWN: "已撤回",
        }
        return (
            "warning" if case.outcome is Outcome.LATE else "plain"
        ), f"{words.get(case.outcome or Outcome.ON_TIME, '已结束')}{closed}。"
    if target.verdict is Verdict.PAUSED or target.due_at is None:
        return "plain", "中止：时钟已停，恢复之后重新算出截止时间。"
    tone = "warning" if target.due_day == now.date() else "plain"
    return tone, f"在办：{show(target.due_at, target.due_day)} 到期，{until(target.due_at, now)}。"


def _step(event: Any, ignored: str | None, rules: Ruleset) -> Step:
    data = msgspec.to_builtins(event.data)
    return Step(
        event.id, event.time, EVENTS[event.name], tuple(_details(event.name, data, rules)), _text(data), ignored
    )


def _text(data: dict[str, Any]) -> str:
    return "\n".join(str(data[name]) for name in ("title", "content", "reason", "note") if data.get(name))


def _details(name: str, data: dict[str, Any], rules: Ruleset) -> Iterable[str]:
    if name in ("received", "recategorized"):
        yield f"类别：{rules.policies.category_name(data.get('category', ''))}"
    if data.get("category_given"):
        yield f"平台写的类别：{data['category_given']}"
    if name == "transferred":
        yield f"转给 {rules.registry.holder_name(data['to'])}"
    if name == "extended":
        yield f"延长 {data['working_days']} 个工作日"
    if data.get("approved_by"):
        yield f"批准：{data['approved_by']}"
    if data.get("interim"):
        yield "阶段性答复，不算最终答复"
    if name == "rated":
        yield f"{data['score']} 分"
