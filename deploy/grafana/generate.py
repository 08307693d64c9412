"""Writes Grafana's dashboards: the city, a county, and the program itself.

    python -m deploy.grafana.generate --duty-page https://duty.example/

They hold for every city: names of platforms and counties come from the metrics. They read what rules.yml records, so Prometheus
needs those rules too.
"""

import json
from collections.abc import Callable
from pathlib import Path

import click
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard, DashboardLinkType, VariableSort

from deploy.grafana.panels import SOURCE, Panel, bars, chosen, graph, number, rows, states

FOLDER = Path(__file__).parent / "dashboards"
DUTY_PAGE = "http://127.0.0.1:8000/"

CASES = 'max by (platform, outcome) (liuyan_period_cases{{period="$period", outcome=~"{outcomes}"}})'
TIMELY = CASES.format(outcomes="on_time")
CLOSED = CASES.format(outcomes="on_time|late")
ENDED = CASES.format(outcomes="on_time|late|overdue")
ACCOUNTABLE = CASES.format(outcomes="on_time|late|overdue|pending")
RECEIVED = CASES.format(outcomes=".+")

LAG = "max by (service, topic, partition) (liuyan_consumer_lag_records)"
"""Each sla tells all partitions; each alerts, those that it reads."""


def ratio(part: str, whole: str, by: str = "", where: str = "") -> str:
    """Of sums, never of ratios; nothing where the denominator is 0."""
    return f"{added(part, by, where)} / ({added(whole, by, where)} > 0)"


def added(cases: str, by: str = "", where: str = "") -> str:
    """The sum of figures by platform, over the platforms that `where` chooses, by a label of their names."""
    if not (by or where):
        return f"sum({cases})"
    return f"sum by ({by}) ({cases} * on (platform) group_left ({by}) platform:liuyan_info:max{where})"


def alerts(where: str) -> Panel:
    shown = f"max by (alertname, severity, county_name, name, service) (ALERTS{{{where}}})"
    names = {"alertname": "提醒", "severity": "级别", "county_name": "县区", "name": "平台", "service": "服务"}
    return rows("正在提醒", {"在": shown}, names).height(8)


def period() -> dashboards.QueryVariable:
    return chosen("period", "统计期", "label_values(liuyan_period_cases, period)", VariableSort.ALPHABETICAL_DESC)


def city() -> tuple[list[dashboards.QueryVariable], list[Panel]]:
    by = "name, county_name"
    return [period()], [
        number("逾期未办结", "sum(platform:liuyan_overdue_cases:sum)", red_from=1),
        number("今日到期", "sum(platform:liuyan_due_today_cases:sum)"),
        number("接到（$period）", added(RECEIVED)),
        number("办结率（$period）", ratio(CLOSED, ACCOUNTABLE), "percentunit", decimals=2),
        number("按时办结率（$period）", ratio(TIMELY, ENDED), "percentunit", decimals=2),
        number("暂定的截止时间", "max(liuyan_provisional_cases)"),
        rows(
            "各平台（$period）",
            {
                "接到": added(RECEIVED, by),
                "今日到期": f"sum by ({by}) (platform:liuyan_due_today_cases:sum)",
                "逾期未办结": f"sum by ({by}) (platform:liuyan_overdue_cases:sum)",
                "办结率": ratio(CLOSED, ACCOUNTABLE, by),
                "按时办结率": ratio(TIMELY, ENDED, by),
            },
            {"county_name": "县区", "name": "平台"},
            percent=("办结率", "按时办结率"),
        ),
        graph("逾期未办结", "platform:liuyan_overdue_cases:sum", "{{name}}"),
        graph("今日到期", "platform:liuyan_due_today_cases:sum", "{{name}}"),
        bars(
            "没有任何事件的工作日",
            "max by (platform) (liuyan_platform_silent_working_days)"
            " * on (platform) group_left (name) platform:liuyan_info:max",
            "{{name}}",
        ),
        bars(
            "日计数多于收到的件数",
            "max by (platform) (liuyan_tally_gap) * on (platform) group_left (name) platform:liuyan_info:max",
            "{{name}}",
        ),
        alerts('alertstate="firing", scope=~"county|city"'),
    ]


def county() -> tuple[list[dashboards.QueryVariable], list[Panel]]:
    where = '{county_name="$county"}'
    counties = chosen("county", "县区", "label_values(liuyan_platform_info, county_name)", VariableSort.DISABLED)
    by_category = "sum by (category) (max by (platform, category) ({name}) * on (platform) group_left () {info})"
    info = f"platform:liuyan_info:max{where}"
    return [counties, period()], [
        number("逾期未办结", f"sum(platform:liuyan_overdue_cases:sum{where})", red_from=1),
        number("今日到期", f"sum(platform:liuyan_due_today_cases:sum{where})"),
        number("接到（$period）", added(RECEIVED, "county_name", where)),
        number("办结率（$period）", ratio(CLOSED, ACCOUNTABLE, "county_name", where), "percentunit", decimals=2),
        number("按时办结率（$period）", ratio(TIMELY, ENDED, "county_name", where), "percentunit", decimals=2),
        number(
            "最早的逾期到期于",
            f"1000 * min((max by (platform) (liuyan_oldest_overdue_timestamp_seconds) > 0) * on (platform) {info})",
            "dateTimeAsLocal",
        ),
        graph("逾期未办结，按类别", by_category.format(name="liuyan_overdue_cases", info=info), "{{category}}"),
        graph("今日到期，按类别", by_category.format(name="liuyan_due_today_cases", info=info), "{{category}}"),
        graph(
            "办件（$period），按结果",
            f"sum by (outcome) ({RECEIVED} * on (platform) group_left () {info})",
            "{{outcome}}",
        ),
        graph(
            "一天里收到的事件",
            f"sum by (type) (max by (platform, type) (increase(liuyan_events_total[1d])) * on (platform) group_left () {info})",
            "{{type}}",
        ),
        bars(
            "没有任何事件的工作日",
            f"max by (platform) (liuyan_platform_silent_working_days) * on (platform) group_left (name) {info}",
            "{{name}}",
        ),
        bars(
            "有事件而没有接到留言的办件",
            f"max by (platform) (liuyan_awaiting_reception_cases) * on (platform) group_left (name) {info}",
            "{{name}}",
        ),
        alerts('alertstate="firing", scope="county", county_name="$county"'),
    ]


def pipeline() -> tuple[list[dashboards.QueryVariable], list[Panel]]:
    late = "histogram_quantile({part}, sum by (le) (increase(liuyan_overdue_flag_delay_seconds_bucket[1h])))"
    return [], [
        states("存活（/livez）", "max by (service) (liuyan_live)", "{{service}}"),
        states("就绪（/readyz）", "max by (service) (liuyan_ready)", "{{service}}"),
        states("目标应答", 'up{job="liuyan"}', "{{instance}}"),
        number("离上次到期检查", "time() - max(liuyan_sweep_timestamp_seconds)", "s", red_from=120),
        number("未计入的时长", "time() - max(liuyan_horizon_timestamp_seconds)", "s", red_from=300),
        number("积压（条）", f"sum({LAG})", red_from=1000),
        number("死信", "sum(max by (reason) (liuyan_dead_letters_total))"),
        number("日历确认到", "1000 * max(liuyan_calendar_confirmed_until_timestamp_seconds)", "dateTimeAsLocal"),
        number("暂定的截止时间", "max(liuyan_provisional_cases)"),
        graph("积压", f"sum by (service, topic) ({LAG})", "{{service}} {{topic}}"),
        graph("未计入的时长", "time() - max(liuyan_horizon_timestamp_seconds)", "", "s"),
        graph(
            "收到的事件（每秒）",
            "sum by (type) (max by (platform, type) (rate(liuyan_events_total[$__rate_interval])))",
            "{{type}}",
        ),
        graph(
            "拒收（每秒），按原因",
            "sum by (reason) (rate(liuyan_events_refused_total[$__rate_interval]))",
            "{{reason}}",
        ),
        graph("一小时的死信，按原因", "max by (reason) (increase(liuyan_dead_letters_total[1h]))", "{{reason}}"),
        graph("到期多久以后标记（99%，一小时）", late.format(part="0.99"), "", "s"),
        graph("内存", 'process_resident_memory_bytes{job="liuyan"}', "{{instance}}", "bytes"),
        graph(
            "处理器（核）",
            'rate(process_cpu_seconds_total{job="liuyan"}[$__rate_interval])',
            "{{instance}}",
        ),
        alerts('alertstate="firing", scope="pipeline"'),
    ]


TITLES: dict[str, tuple[str, Callable[[], tuple[list[dashboards.QueryVariable], list[Panel]]]]] = {
    "liuyan-city": ("留言办理：全市", city),
    "liuyan-county": ("留言办理：县区", county),
    "liuyan-pipeline": ("留言办理：系统运行", pipeline),
}


def build(uid: str, duty_page: str = DUTY_PAGE) -> Dashboard:
    title, make = TITLES[uid]
    board = dashboards.Dashboard(title).uid(uid).tags(["liuyan"]).timezone("Asia/Shanghai").time("now-7d", "now")
    board.refresh("1m").readonly().week_start("monday")
    board.link(_link("值班页", DashboardLinkType.LINK).url(duty_page).target_blank(True).icon("external link"))
    board.link(_link("其他面板", DashboardLinkType.DASHBOARDS).tags(["liuyan"]).keep_time(True))
    variables, panels = make()
    for variable in variables:
        board.with_variable(variable)
    for number_, panel in enumerate(panels, 1):
        board.with_panel(panel.id(number_).datasource(SOURCE))
    return board.build()


def _link(title: str, kind: DashboardLinkType) -> dashboards.DashboardLink:
    return dashboards.DashboardLink(title).type(kind).placement("")  # above the panels


def text(uid: str, duty_page: str = DUTY_PAGE) -> str:
    """The file as it is written."""
    return json.dumps(build(uid, duty_page), cls=JSONEncoder, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


@click.command()
@click.option("--duty-page", default=DUTY_PAGE, show_default=True, metavar="网址", help="面板上“值班页”指向哪里")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=FOLDER, metavar="文件夹", help="写到哪里"
)
def main(duty_page: str, out: Path) -> None:
    """写出 Grafana 的面板（JSON）。"""
    out.mkdir(parents=True, exist_ok=True)
    for uid in TITLES:
        (out / f"{uid}.json").write_text(text(uid, duty_page), encoding="utf-8")


if __name__ == "__main__":
    main()
