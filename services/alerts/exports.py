"""The figures of a period as files: JSON, CSV (for Excel) and the bulletin's text. Pure: figures in, bytes out."""

import csv
import io
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from services.alerts.bulletin import bulletin
from shared.figures import COUNTS, RATES, Counts, Figures, Period, Row
from shared.registry import Registry
from shared.times import isoformat

HEADERS = {
    "received": "接到留言",
    "rejected": "不予受理",
    "withdrawn": "撤回",
    "accountable": "应办",
    "on_time": "按时办结",
    "late": "逾期办结",
    "overdue": "逾期未办结",
    "pending": "在办未逾期",
    "breached": "曾逾期",
    "suspended": "其中中止",
    "reply_on_time": "按时答复",
    "reply_late": "逾期答复",
    "reply_overdue": "逾期未答复",
    "completion_rate": "办结率(%)",
    "on_time_rate": "按时办结率(%)",
    "reply_on_time_rate": "按时答复率(%)",
    "refusal_rate": "不予受理率(%)",
    "provisional": "其中时限暂定",
}

DEFINITIONS = {
    "period": "按留言接到之日（北京时间）归入统计期",
    "accountable": "应办 = 接到留言 − 不予受理 − 撤回；逾期之后才不予受理或撤回的仍为应办，计入逾期办结",
    "identity": "应办 = 按时办结 + 逾期办结 + 逾期未办结 + 在办未逾期",
    "completion_rate": "办结率 = （按时办结 + 逾期办结）÷ 应办",
    "on_time_rate": "按时办结率 = 按时办结 ÷ （按时办结 + 逾期办结 + 逾期未办结）",
    "reply_on_time_rate": "按时答复率 = 按时答复 ÷ （按时答复 + 逾期答复 + 逾期未答复），只看应办件的第一轮",
    "refusal_rate": "不予受理率 = 不予受理 ÷ 接到留言",
    "breached": "曾逾期：应办件中任何一轮的办结时限曾经逾期的",
    "suspended": "其中中止：在办未逾期中，时钟暂停的",
    "provisional": "其中时限暂定：时限落在尚无放假通知的日子，通知公布后重新计算",
    "rounding": "百分比按精确分数四舍五入到两位小数；分母为 0 时没有比率，记为 —",
    "total": "合计由各平台的件数相加得出，不由比率平均",
}

FORMATS = {"json": "application/json", "csv": "text/csv", "text": "text/plain"}
DASH = "—"


class Report(Struct, frozen=True):
    """What is exported: figures as of an instant, with the ruleset that they were computed with."""

    period: Period
    as_of: datetime
    ruleset: str
    figures: Figures


def figures_json(counts: Counts, provisional: int) -> dict[str, Any]:
    return {**{name: getattr(counts, name) for name in (*COUNTS, *RATES)}, "provisional": provisional}


def row_json(row: Row) -> dict[str, Any]:
    own = {"platform": row.platform, "name": row.name, "county": row.county}
    return {**own, **figures_json(row.counts, row.provisional)}


def report_json(report: Report) -> dict[str, Any]:
    return {
        "period": report.period.text,
        "as_of": isoformat(report.as_of),
        "ruleset": report.ruleset,
        "rows": [row_json(row) for row in report.figures.rows],
        "total": figures_json(report.figures.total, report.figures.total_provisional),
        "definitions": DEFINITIONS,
    }


def export(report: Report, kind: str, registry: Registry) -> bytes:
    """The file's bytes; `kind` is one of FORMATS. Equal reports give equal bytes."""
    if kind == "json":
        return msgspec.json.format(msgspec.json.encode(report_json(report)), indent=2) + b"\n"
    if kind == "csv":
        return _csv(report, registry)
    return (bulletin(report.period, report.figures) + "\n").encode()


def _csv(report: Report, registry: Registry) -> bytes:
    """UTF-8 with BOM, which is what makes Excel read Chinese; the definitions stand below the table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["平台", "县区", *HEADERS.values()])
    for row in report.figures.rows:
        writer.writerow([row.name, registry.county_names[row.county], *_cells(row.counts, row.provisional)])
    writer.writerow(["合计", "", *_cells(report.figures.total, report.figures.total_provisional)])
    writer.writerow([])
    writer.writerow(["统计期", report.period.title])
    writer.writerow(["统计截止时间", isoformat(report.as_of)])
    writer.writerow(["规则版本", report.ruleset])
    for definition in DEFINITIONS.values():
        writer.writerow(["口径", definition])
    return text.getvalue().encode("utf-8-sig")


def _cells(counts: Counts, provisional: int) -> list[str]:
    numbers = [str(getattr(counts, name)) for name in COUNTS]
    return [*numbers, *(getattr(counts, name) or DASH for name in RATES), str(provisional)]
