"""Commands about cases: case, cases, deadline."""

from datetime import datetime

import click

from services.alerts.app import case_file_json
from services.alerts.queries import all_keys
from services.alerts.sql import chunks
from services.commands.common import (
    INSTANT,
    as_of_option,
    db_option,
    now,
    print_json,
    ruleset,
)
from services.commands.journal import alert_line
from services.commands.stores import opened_store
from services.compose.cases import calculate, open_file, recaller
from services.sla.explain import Explanation, explain
from shared.case import Case, Target, encode_case
from shared.commandline import fail, one_line, settings
from shared.helptext import ChineseCommand
from shared.rules import Ruleset
from shared.times import isoformat, show
from shared.workdays import WEEKDAYS
from shared.zh import OUTCOMES, STATUSES, TARGETS, VERDICTS


@click.command("case", cls=ChineseCommand)
@click.argument("key", metavar="平台/留言编号")
@as_of_option
@db_option
@click.option("--json", "as_json", is_flag=True, help="以 JSON 输出全部内容")
def case_command(key: str, as_of: datetime | None, db: str | None, as_json: bool) -> None:
    """一个办件：状态、各轮时限与判定，截止时间逐日说明。"""
    found = settings()
    rules = ruleset(found)
    instant = as_of or now()
    with opened_store(db, found) as store:
        store.require_same_rules(rules)
        with store.reading() as connection:
            file = (
                open_file(store.histories, connection, rules, key, instant)
                if key.partition("/")[0] in rules.registry
                else None
            )
    if file is None:
        fail(f"截至 {show(instant)} 没有办件 {key[:100]}：请核对写法（平台标识/留言编号，如 zhenkang/zk-000123）")
    if as_json:
        print_json(case_file_json(file, instant))
        return
    _print_case(file.case, rules)
    for alert in file.alerts:
        click.echo(f"提醒  {alert_line(alert)}")
    _print_explanations(explain(file.case, rules))


def _print_case(case: Case, rules: Ruleset) -> None:
    lines = [
        ("办件", case.key),
        ("平台", f"{rules.registry[case.platform].name}（{rules.registry[case.platform].county_name}）"),
        ("标题", case.title or ""),
        ("类别", rules.policies.category_name(case.category) if case.category else "—"),
        ("状态", STATUSES[case.status]),
        ("结果", OUTCOMES[case.outcome] if case.outcome else "—"),
        ("接到", show(case.received_at) if case.received_at else "—"),
        ("承办", rules.registry.holder_name(case.holder) if case.holder else "—"),
    ]
    for name, text in lines:
        click.echo(f"{name}  {one_line(text)}")
    for number, current in enumerate(case.rounds, 1):
        for name, target in (("reply", current.targets.reply), ("complete", current.targets.complete)):
            click.echo(f"第{number}轮{TARGETS[name]}  截止 {_due(target)}  {VERDICTS[target.verdict]}{_met(target)}")
    for ignored in case.ignored:
        click.echo(f"不计  {ignored.id}  {ignored.reason}")


def _due(target: Target) -> str:
    if target.due_at is None:
        return "已暂停" if target.met_at is None else "（中止中办结）"
    return show(target.due_at, target.due_day) + ("（暂定）" if target.provisional else "")


def _met(target: Target) -> str:
    return f"（{show(target.met_at)}）" if target.met_at else ""


def _print_explanations(explanations: list[Explanation]) -> None:
    for found in explanations:
        click.echo(f"\n第{found.round}轮{TARGETS[found.target]}，自 {show(found.anchor)} 起算；依据：{found.source}")
        for day in found.days:
            count = f"第{day.number}个工作日" if day.counted and day.hours is None else ""
            hours = f"计 {day.hours:g} 小时" if day.hours else ""
            mark = "" if day.confirmed else "（暂定：尚无通知确认）"
            source = f"  依据：{day.source}" if day.source else ""
            line = f"  {day.date} {WEEKDAYS[day.date.weekday()]}  {day.reason}  {count}{hours}{mark}{source}"
            click.echo(line.rstrip())
        if found.due_at is not None:
            click.echo(f"  → {show(found.due_at, found.days[-1].date)} 到期")


@click.command("cases", cls=ChineseCommand)
@as_of_option
@click.option("--platform", metavar="平台", help="只列这个平台的办件")
@db_option
@click.option("--jsonl", is_flag=True, help="每行一个办件的 JSON")
def cases_command(as_of: datetime | None, platform: str | None, db: str | None, jsonl: bool) -> None:
    """全部办件：按平台登记顺序、再按留言编号。"""
    found = settings()
    rules = ruleset(found)
    if platform is not None and platform not in rules.registry:
        raise click.BadParameter(
            f"没有平台 {platform}；已登记的有 {'、'.join(rules.registry.slugs)}", param_hint="--platform"
        )
    instant = as_of or now()
    with opened_store(db, found) as store:
        store.bring_up_to_date(rules)
        with store.reading() as connection:
            for keys in chunks(all_keys(connection, rules.registry, platform)):
                for case in recaller(store.histories, rules)(connection, keys, instant):
                    if jsonl:
                        click.echo(encode_case(case).decode())
                    else:
                        outcome = OUTCOMES[case.outcome] if case.outcome else "—"
                        click.echo(f"{case.key}\t{STATUSES[case.status]}\t{outcome}\t{one_line(case.title or '')}")


@click.command("deadline", cls=ChineseCommand)
@click.option("--category", required=True, metavar="类别", help="类别标识，如 simple_inquiry")
@click.option(
    "--received", required=True, type=INSTANT, metavar="时刻", help="接到的时刻，如 2026-02-13T10:00:00+08:00"
)
@click.option("--platform", metavar="平台", help="平台标识：决定用哪个县区的日历（默认登记表的第一个平台）")
@click.option("--json", "as_json", is_flag=True, help="以 JSON 输出")
def deadline_command(category: str, received: datetime, platform: str | None, as_json: bool) -> None:
    """一件留言何时到期，逐日说明。"""
    found = settings()
    rules = ruleset(found)
    platform = platform or rules.registry.slugs[0]
    if platform not in rules.registry:
        raise click.BadParameter(
            f"没有平台 {platform}；已登记的有 {'、'.join(rules.registry.slugs)}", param_hint="--platform"
        )
    known = rules.policies.known_categories
    if category not in known:
        raise click.BadParameter(f"没有类别 {category}；可用的有 {'、'.join(sorted(known))}", param_hint="--category")
    calculated = calculate(rules, category, received, platform)
    case, explanations = calculated.case, calculated.explanation
    targets = case.rounds[0].targets
    if not as_json:
        name = rules.policies.category_name(category)
        click.echo(f"{name}，{show(received)} 由{rules.registry[platform].name}接到")
        for label, target in (("reply", targets.reply), ("complete", targets.complete)):
            click.echo(f"{TARGETS[label]}截止 {_due(target)}")
        _print_explanations(explanations)
        return
    print_json(
        {
            "category": category,
            "platform": platform,
            "received": isoformat(received),
            "due_at": targets.complete.due_at,
            "due_day": targets.complete.due_day,
            "provisional": targets.complete.provisional,
            "targets": {
                each.target: {
                    "due_at": target.due_at,
                    "due_day": target.due_day,
                    "provisional": target.provisional,
                    "source": each.source,
                    "policy": each.policy,
                    "explanation": each.days,
                }
                for each, target in zip(explanations, (targets.reply, targets.complete), strict=True)
            },
            "explanation": explanations[-1].days,
            "ruleset": rules.hash,
        }
    )
