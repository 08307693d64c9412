"""What both demonstrations show: the quarter's table with the bulletin's sentence, and a simulated portal that goes on pushing."""

import threading
from collections.abc import Callable
from datetime import datetime

from rich.console import Console

from services.alerts.bulletin import bulletin
from services.alerts.exports import Report
from services.alerts.people.accounts import add_account, new_account
from services.alerts.people.audit import Action, record
from services.alerts.people.guard import People
from services.alerts.people.passwords import generate
from services.alerts.people.viewer import Role
from services.alerts.standings import figures_of
from services.compose.cases import Histories, recaller
from services.compose.client import PushError
from services.compose.demo.quarter import AS_OF, QUARTER, story_cases
from services.compose.simulate import Portal, run
from services.compose.terminal import print_report
from shared.database import Connections
from shared.figures import Period
from shared.rules import Ruleset
from shared.times import show

PER_MINUTE = 6.0
PLATFORM = "yunxian"


def show_quarter(database: Connections, histories: Histories, rules: Ruleset, console: Console) -> None:
    """The table per platform and the bulletin's sentence, as of 2022-04-11."""
    period = Period.parse(QUARTER)
    with database.reading() as connection:
        figures = figures_of(connection, recaller(histories, rules), rules.registry, period.months, AS_OF, AS_OF)
    print_report(Report(period, AS_OF, rules.hash, figures), console)
    console.print(bulletin(period, figures), soft_wrap=True)
    console.print("\n值得一看的办件（liuyan case 平台/留言编号 --db 数据库）：")
    for key, sentence in story_cases().items():
        console.print(f"  {key}  {sentence}", soft_wrap=True, highlight=False)


def make_accounts(people: People, rules: Ruleset) -> list[str]:
    """An officer of the city and one of a county, with passwords of their own: the lines that tell them."""
    zhenkang = rules.registry["zhenkang"]
    lines = []
    for name, person, role, county, seen in (
        ("zhiban", "演示值班员", Role.CITY, None, "全市"),
        ("zhenkang", f"{zhenkang.name}演示员", Role.COUNTY, zhenkang.county, f"只看{zhenkang.county_name}"),
    ):
        password, now = generate(), people.now()
        account = new_account(name, person, role, county, rules.registry, people.passwords.hash(password), now)
        with people.database.writing() as connection:
            add_account(connection, account)
            record(connection, now, None, Action.ACCOUNT_CREATED, name, "演示", role)
        lines.append(f"登录账号（{person}，{seen}）  {name}  密码 {password}")
    return lines


def push_live(url: str, key: str, now: Callable[[], datetime], console: Console) -> threading.Event:
    """Start the simulated portal in a thread; set the returned event to stop it."""
    stop = threading.Event()
    portal = Portal(url, key, PLATFORM, now, seed=49, stop=stop)

    def story() -> None:
        try:
            run(portal, PER_MINUTE, None, stop, lambda subject: console.print(
                f"[{show(now())}] 推送 云县 {PLATFORM}/{subject}", highlight=False, markup=False
            ))  # fmt: skip
        except PushError as error:
            if not stop.is_set():
                console.print(f"模拟平台停下了：{error}", style="red", markup=False)

    threading.Thread(target=story, name="portal", daemon=True).start()
    return stop
