"""The bulletin's sentence (通报), as the city publishes it (pure)."""

from shared.figures import Figures, Period


def bulletin(period: Period, figures: Figures) -> str:
    """One paragraph: how many messages each platform received, and, of those with any, how many are overdue."""
    rows, total = figures.rows, figures.total
    received = "、".join(f"{row.name}{row.counts.received}条" for row in rows)
    first = (
        f"全市开设网民留言平台的政府网站和专栏共{len(rows)}个，{period.title}共接到网民留言{total.received}条，"
        f"其中：{received}。"
    )
    if total.accountable == 0:
        return f"{first}通过监测，无应办留言。"
    overdue = "、".join(f"{row.name}逾期未办结留言{row.counts.overdue}条" for row in rows if row.counts.overdue)
    uncertain = figures.total_provisional
    note = f"其中{uncertain}条的时限涉及尚未公布放假安排的日期，为暂定。" if uncertain else ""
    return f"{first}通过监测，{overdue or '无逾期未办结留言'}，办结率为{total.completion_rate}%。{note}"
