"""The table of figures on a terminal."""

from rich.console import Console
from rich.table import Table

from services.alerts.exports import Report
from shared.times import show


def print_report(report: Report, console: Console) -> None:
    """The table per platform on a terminal."""
    table = Table(title=f"{report.period.title}（截至 {show(report.as_of)}）")
    for name in (
        "平台",
        "接到",
        "应办",
        "按时\n办结",
        "逾期\n办结",
        "逾期\n未办结",
        "在办\n未逾期",
        "办结率",
        "按时\n办结率",
    ):
        table.add_column(name, justify="left" if name == "平台" else "right", no_wrap=True)
    rows = [(row.name, row.counts) for row in report.figures.rows] + [("合计", report.figures.total)]
    for name, c in rows:
        rates = [f"{rate}%" if rate else "—" for rate in (c.completion_rate, c.on_time_rate)]
        counts = (c.received, c.accountable, c.on_time, c.late, c.overdue, c.pending)
        style = "bold red" if c.overdue and name != "合计" else "bold" if name == "合计" else None
        table.add_row(name, *map(str, counts), *rates, style=style)
    console.print(table)
