"""notices.toml: what it may hold, and that everything wrong with it is told at once, without a secret."""

import base64
from typing import Any

import pytest

from services.alerts.notices.config import KEYS, parse_notices
from services.alerts.notices.routing import RUNGS, Mailbox, Notices, Secret, Web
from shared.config import ConfigError
from shared.rules import Ruleset

WHSEC = "whsec_" + base64.b64encode(bytes(24)).decode()
FILES = {"hook": WHSEC + "\n", "robot": "https://127.0.0.1/robot?key=hush", "bad": "no\nline", "short": "whsec_aGk="}
ENVIRON = {"HOOK": WHSEC, "ROBOT": "https://127.0.0.1/robot?key=hush", "PASSWORD": "hush"}
HOOK = '[[channel]]\nname = "hook"\nkind = "webhook"\nurl = "http://127.0.0.1/"\nsecret_file = "hook"\n'
MAIL = (
    '[[channel]]\nname = "mail"\nkind = "email"\nhost = "127.0.0.1"\nfrom = "a@city.example"\nto = ["b@city.example"]\n'
)
ROBOT = '[[channel]]\nname = "robot"\nkind = "wecom"\nurl_env = "ROBOT"\n'


def read_file(name: str) -> str:
    if name not in FILES:
        raise FileNotFoundError(name)
    return FILES[name]


def parse(text: str, rules: Ruleset) -> Notices:
    return parse_notices(text, rules.registry, ENVIRON, read_file)


def test_machines_hear_of_everything_at_any_hour_and_people_in_duty_hours(rules: Ruleset) -> None:
    found = parse(HOOK + ROBOT + MAIL, rules)
    hook, robot, mail = found.channels
    assert (hook.urgent, hook.clearings, hook.repeat_minutes) == (RUNGS, "all", None)
    assert (robot.urgent, robot.clearings, robot.rungs) == (frozenset(), "corrections", RUNGS)
    assert hook.to == Web(Secret("http://127.0.0.1/"), Secret(WHSEC))
    assert mail.to == Mailbox("127.0.0.1", 465, "tls", "a@city.example", ("b@city.example",))
    assert found.hours.spans == ((510, 1080),)
    assert found.page is None
    assert found.keep_days == 400


def test_everything_can_be_said(rules: Ruleset) -> None:
    text = (
        'page = "https://127.0.0.1/"\nduty_hours = ["08:00-12:00", "15:00-18:00"]\nkeep_days = 90\n'
        + HOOK
        + 'counties = ["zhenkang"]\nholders = ["交通局"]\nrungs = ["overdue"]\nurgent = []\nclearings = "corrections"\n'
        "digest_seconds = 60\nrepeat_minutes = 120\nrepeat_times = 5\n"
    )
    whole = parse(text, rules)
    assert whole.keep_days == 90
    (found,) = whole.channels
    assert (found.counties, found.holders, found.rungs, found.urgent) == (
        {"zhenkang"},
        {"交通局"},
        {"overdue"},
        frozenset(),
    )
    assert (found.clearings, found.digest_seconds, found.repeat_minutes, found.repeat_times) == (
        "corrections",
        60,
        120,
        5,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "至少要有一个 [[channel]]"),
        ("x = 1", "不认识的项"),
        ("keep_days = 0\n" + HOOK, "1–36500 的整数（天）"),
        (HOOK.replace("webhook", "sms"), "没有 'sms' 这一种"),
        (HOOK + HOOK, "hook 出现了两次"),
        (HOOK + 'counties = ["x"]', "没有县区 'x'"),
        (HOOK + "counties = []", "是空的"),
        (HOOK + 'rungs = ["late"]', "没有提醒级别 'late'"),
        (HOOK + 'urgent = ["late"]', "没有提醒级别 'late'"),
        (HOOK + 'clearings = "some"', "all 或 corrections"),
        (HOOK + "repeat_times = 2", "还须写 repeat_minutes"),
        (HOOK + "repeat_minutes = 0", "1–10000"),
        (HOOK + "digest_seconds = 4000", "0–3600"),
        (HOOK + 'to = ["b@city.example"]', "webhook 没有 to 这些项"),
        (HOOK.replace("http:", "ftp:"), "http:// 或 https://"),
        (HOOK.replace("//127", "//me:hush@127"), "不含用户名和密码"),
        (HOOK.replace('"hook"\n', '"gone"\n').replace('name = "gone"', 'name = "hook"'), "读不出这个文件"),
        (HOOK.replace('secret_file = "hook"', 'secret_file = "bad"'), "一行可见的 ASCII 字符"),
        (HOOK.replace('secret_file = "hook"', 'secret_file = "short"'), "whsec_ 加 Base64"),
        (HOOK.replace('secret_file = "hook"', ""), "须写 secret_file 或 secret_env"),
        (HOOK + 'secret_env = "HOOK"', "二者必居其一"),
        (HOOK.replace('secret_file = "hook"', 'secret_env = "NONE"'), "没有环境变量 'NONE'"),
        (HOOK.replace('secret_file = "hook"', 'secret_env = "LIUYAN_HOOK"'), "不以 LIUYAN_ 开头"),
        (ROBOT.replace("url_env", "url"), "wecom 没有 url 这些项"),
        (ROBOT.replace('url_env = "ROBOT"', ""), "须写 url_file 或 url_env"),
        (ROBOT.replace('"ROBOT"', '"PASSWORD"'), "内容不是 http:// 或 https:// 开头的地址"),
        (MAIL.replace('["b@city.example"]', "[]"), "至少要有一个收件地址"),
        (MAIL.replace("b@city.example", "somebody"), "不是电子邮件地址"),
        (MAIL + 'user = "a"', "须一同写"),
        (MAIL + 'user = "a"\npassword_env = "PASSWORD"\nsecurity = "none"', "不加密的连接上不能登录"),
        (MAIL + 'security = "ssl"', "tls、starttls 或 none"),
        ('duty_hours = ["18:00-08:00"]\n' + HOOK, "结束不晚于开始"),
        ('page = "duty"\n' + HOOK, "page"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(text: str, said: str, rules: Ruleset) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text, rules)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert "hush" not in str(error.value)
    assert str(error.value).startswith("notices.toml：")


def test_all_problems_are_told_at_once(rules: Ruleset) -> None:
    text = (
        'page = "x"\nduty_hours = []\n' + HOOK.replace("http:", "x:") + ROBOT.replace("wecom", "x") + MAIL + "port = 0"
    )
    with pytest.raises(ConfigError) as error:
        parse(text, rules)
    assert len(str(error.value).splitlines()) == 5


@pytest.mark.parametrize("value", [Secret("hush"), Web(Secret("hush"), Secret("hush"))])
def test_a_secret_is_shown_nowhere(value: Any) -> None:
    assert "hush" not in f"{value} {value!r} {[value]}"


def test_every_kind_has_a_sender() -> None:
    from services.alerts.notices.channels import SENDERS

    assert SENDERS.keys() == KEYS.keys()
