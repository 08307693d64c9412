"""What the reader of the deployment's files refuses: in one line, whatever a file holds, and naming the place."""

import json
import tomllib
from collections.abc import Callable, Iterator
from datetime import date, time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.config import ConfigError, parse_calendar, parse_policy, parse_registry
from shared.deployment import load_ruleset
from tests.configtexts import (
    ANOTHER_CATEGORY,
    CATEGORY,
    HEAD,
    HOURS_POLICY,
    KEYWORDS,
    LATER,
    LOCAL,
    NOTICE,
    POLICY,
    REGISTRY,
    RUNGS,
    edit,
    head,
)

SHIPPED = load_ruleset()


def parse_calendar_text(text: str, name: str) -> object:
    return parse_calendar(text, SHIPPED.registry, name)


def refusal(parse: Callable[[str, str], object], text: str) -> str:
    """The message of a refused text, after the file's name."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "市里的/配置.toml")
    name, _, message = str(caught.value).partition("：")
    assert name == "市里的/配置.toml"
    assert message.isprintable()  # so it is one line, too
    return message


# What is refused. A fragment is what the message must hold, its parts in order, with ~ between them.

REGISTRY_REFUSALS = {
    "no toml": ("city", "不是合法的 TOML"),
    "a key twice": (REGISTRY.replace("city", 'city = "x"\ncity', 1), "不是合法的 TOML：第 2 行~city"),
    "an unknown item at the top": ('title = "x"\n' + REGISTRY, "顶层~title~city、lamps、platform"),
    "two lamps with one word": (f'{REGISTRY}[lamps]\ngreen = "逾期"\n', "lamps~文字须各不相同"),
    "a lamp without a word": (f'{REGISTRY}[lamps]\nred = ""\n', "lamps~red：应为非空文字"),
    "yellow for ever": (f"{REGISTRY}[lamps]\nyellow_days = 31\n", "lamps~yellow_days"),
    "never silent": (f"{REGISTRY}[lamps]\nsilent_days = 0\n", "lamps~silent_days"),
    "an unknown lamp": (f'{REGISTRY}[lamps]\nblue = "x"\n', "lamps~blue"),
    "no city": (edit(REGISTRY, 'city = "临沧市"', ""), "city：应为非空文字，没有写"),
    "an empty city": (edit(REGISTRY, "临沧市", ""), "city：应为非空文字，现在是 ''"),
    "a city that is no text": (edit(REGISTRY, '"临沧市"', "530900"), "city：应为非空文字，现在是 530900"),
    "no platform": ('city = "临沧市"', "至少要有一个 [[platform]]"),
    "an empty list of platforms": ('city = "临沧市"\nplatform = []', "至少要有一个 [[platform]]"),
    "one table instead of a list": ('city = "临沧市"\n[platform]\nslug = "x"', "platform：应为~请写成 [[platform]]"),
    "a platform that is no table": (
        'city = "临沧市"\nplatform = [3]',
        "platform：应为~请写成 [[platform]]，现在是 [3]",
    ),
    "no name": (edit(REGISTRY, 'name = "市政府"\n', ""), "第 2 个 [[platform]]~name"),
    "no county name": (edit(REGISTRY, 'county_name = "市本级"\n', ""), "第 2 个 [[platform]]~county_name"),
    "an unknown item of a platform": (REGISTRY + 'colour = "red"\n', "第 2 个 [[platform]]~colour"),
    "a code that is no text": (REGISTRY + "code = 530900\n", "第 2 个 [[platform]]~code"),
    "a slug in capitals": (
        edit(REGISTRY, 'slug = "lincang"', 'slug = "Lincang"'),
        "第 2 个 [[platform]] 的 slug：应为小写~'Lincang'",
    ),
    "a slug with a slash": (edit(REGISTRY, 'slug = "lincang"', 'slug = "lin/cang"'), "的 slug：应为小写~'lin/cang'"),
    "a slug with a line break": (edit(REGISTRY, 'slug = "lincang"', r'slug = "lin\n"'), r"的 slug：应为小写~'lin\n'"),
    "an empty slug": (edit(REGISTRY, 'slug = "lincang"', 'slug = ""'), "的 slug：应为小写~''"),
    "a slug of 33 letters": (
        edit(REGISTRY, 'slug = "lincang"', f'slug = "{"x" * 33}"'),
        "的 slug：应为小写~最多 32 个",
    ),
    "a slug twice": (
        edit(REGISTRY, 'slug = "lincang"', 'slug = "gengma"'),
        "第 2 个 [[platform]] 的 slug：标识 gengma 出现了两次",
    ),
    "a county with a space": (
        edit(REGISTRY, '"municipal"', '"muni cipal"'),
        "第 2 个 [[platform]] 的 county：应为小写~'muni cipal'",
    ),
    "a number instead of tables": ('city = "x"\nplatform = 3', "platform：应为~请写成 [[platform]]，现在是 3"),
    "a number of 5000 digits": (f"city = {'1' * 5000}", "几千位的整数，请"),
    "a number of 5000 hexadecimal digits": (f"city = 0x{'f' * 5000}", "city：应为非空文字，现在是 太长的值"),
    "a list that is too deep": (f"city = {'[' * 5000}", "括号套得太深，请"),
    "a table that is too deep": (f"city = [{{{'a.' * 5000}a = 1}}]", "city：应为非空文字，现在是 太长的值"),
    "a value that is too long": (
        edit(REGISTRY, '"临沧市"', f"[{'7, ' * 1000}]"),
        "city：应为非空文字，现在是 [7, ~7,…",
    ),
    "an item that no editor shows": (f'{REGISTRY}"{"x" * 90}" = 1', "不认识的项 'xxx~…，可用的是"),
    "a platform without a name": (
        edit(REGISTRY, '"市政府"', '""'),
        "第 2 个 [[platform]] 的 name：应为非空文字，现在是 ''",
    ),
    "a platform with a blank name": (
        edit(REGISTRY, '"市政府"', '" \u3000"'),
        "的 name：应为非空文字，现在是 ' \\u3000'",
    ),
    "a county without a name": (edit(REGISTRY, '"市本级"', '""'), "的 county_name：应为非空文字，现在是 ''"),
    "an empty code": (REGISTRY + 'code = ""', "第 2 个 [[platform]] 的 code：应为非空文字"),
    "a county that is no text": (edit(REGISTRY, '"municipal"', "[]"), "第 2 个 [[platform]] 的 county：应为小写~[]"),
    "a county of two names": (
        edit(REGISTRY, '"municipal"', '"gengma"'),
        "第 2 个 [[platform]] 的 county_name：县区 gengma 有两个不同的名称~耿马自治县~市本级",
    ),
}

POLICY_REFUSALS = {
    "no toml": ("[[policy]", "不是合法的 TOML"),
    "a date that does not exist": (head("effective_from = 2022-02-30"), "不是合法的 TOML"),
    "nothing": ("", "至少要有一个 [[policy]]"),
    "an empty list of versions": ("policy = []", "至少要有一个 [[policy]]"),
    "an unknown item at the top": ('title = "x"\n' + POLICY, "顶层~title"),
    "one table instead of a list": (edit(HEAD, "[[policy]]", "[policy]"), "policy：应为~请写成 [[policy]]"),
    "an unknown item of a version": (head("max_extension = 3"), "第 1 个 [[policy]]~'max_extension'，~max_extensions"),
    "no source": (
        edit(POLICY, 'source = "试行办法"\ndefault', "default"),
        "第 1 个 [[policy]] 的 source：应为非空文字，没有写",
    ),
    "an empty source": (
        edit(POLICY, '"试行办法"\ndefault', '""\ndefault'),
        "第 1 个 [[policy]] 的 source：应为非空文字",
    ),
    "a source that is no text": (
        edit(POLICY, '"试行办法"\ndefault', "49\ndefault"),
        "第 1 个 [[policy]] 的 source：应为非空文字",
    ),
    "no categories": (HEAD, "第 1 个 [[policy]] 的 categories：没有任何类别~[policy.categories."),
    "categories that are no table": (
        HEAD + "categories = 3",
        "第 1 个 [[policy]] 的 categories：应为表~[policy.categories.~3",
    ),
    "a category that is no table": (
        HEAD + "categories = {a = 3}",
        "第 1 个 [[policy]] 的 categories 的 a：应为表~[policy.categories.a]~3",
    ),
    "a category in capitals": (
        POLICY + CATEGORY.replace(".a]", ".B]"),
        "第 1 个 [[policy]] 的 categories：类别标识 'B' 须为小写",
    ),
    "the second version is named": (POLICY + edit(LATER, "complete = 2", ""), "第 2 个 [[policy]] 的类别 a~complete"),
    "an unknown item of a category": (POLICY + "replys = 1", "的类别 a~replys~reply_hours"),
    "a category without a name": (edit(POLICY, 'name = "甲"\n', ""), "的类别 a 的 name：应为非空文字"),
    "a category with an empty name": (edit(POLICY, '"甲"', '""'), "的类别 a 的 name：应为非空文字"),
    "a category without a source": (
        edit(POLICY, '甲"\nsource = "试行办法"', '甲"'),
        "的类别 a 的 source：应为非空文字",
    ),
    "no target to reply": (edit(POLICY, "reply = 1\n", ""), "的类别 a：须写 reply 或 reply_hours"),
    "no target to complete": (edit(POLICY, "complete = 2\n", ""), "的类别 a：须写 complete 或 complete_hours"),
    "days and hours": (POLICY + "reply_hours = 4", "的类别 a：须写 reply 或 reply_hours，二者必居其一"),
    "zero days": (edit(POLICY, "reply = 1", "reply = 0"), "的类别 a 的 reply：应为 1–250 的整数"),
    "251 days": (edit(POLICY, "complete = 2", "complete = 251"), "的类别 a 的 complete：应为 1–250 的整数"),
    "half a day": (edit(POLICY, "reply = 1", "reply = 0.5"), "的类别 a 的 reply：应为 1–250 的整数"),
    "days as text": (edit(POLICY, "reply = 1", 'reply = "1"'), "的类别 a 的 reply：应为 1–250 的整数"),
    "days as a truth value": (edit(POLICY, "reply = 1", "reply = true"), "的类别 a 的 reply：应为 1–250 的整数"),
    "zero hours": (
        edit(POLICY, "reply = 1", "reply_hours = 0"),
        "的类别 a 的 reply_hours：应为 0.01–2000 的小时数，现在是 0",
    ),
    "hours without end": (
        edit(POLICY, "reply = 1", "reply_hours = inf"),
        "的类别 a 的 reply_hours：应为 0.01–2000 的小时数",
    ),
    "hours that are no number": (
        edit(POLICY, "reply = 1", "reply_hours = nan"),
        "的类别 a 的 reply_hours：应为 0.01–2000 的小时数",
    ),
    "2001 hours": (
        edit(POLICY, "complete = 2", "complete_hours = 2001"),
        "的类别 a 的 complete_hours：应为 0.01–2000 的小时数",
    ),
    "hours as text": (
        edit(POLICY, "reply = 1", 'reply_hours = "4"'),
        "的类别 a 的 reply_hours：应为 0.01–2000 的小时数",
    ),
    "hours as a truth value": (
        edit(POLICY, "reply = 1", "reply_hours = true"),
        "的类别 a 的 reply_hours：应为 0.01–2000 的小时数",
    ),
    "mixed units": (edit(POLICY, "reply = 1", "reply_hours = 4"), "的类别 a：两个时限须同用工作日或同用小时"),
    "reply after complete": (edit(POLICY, "reply = 1", "reply = 3"), "的类别 a：答复时限不能长于办结时限"),
    "reply_completes that is no truth value": (
        POLICY + "reply_completes = 1",
        "的类别 a 的 reply_completes：应为 true 或 false，现在是 1",
    ),
    "keywords that are no list": (POLICY + 'keywords = "路灯"', "的类别 a 的 keywords：应为非空文字的列表~'路灯'"),
    "a keyword that is no text": (POLICY + "keywords = [1]", "的类别 a 的 keywords：应为非空文字的列表~[1]"),
    "hours without office hours": (
        edit(edit(POLICY, "reply = 1", "reply_hours = 4"), "complete = 2", "complete_hours = 4"),
        "第 1 个 [[policy]] 的 office_hours：类别 a 按小时计，须写明办公时间",
    ),
    "office hours as text": (
        head('office_hours = "08:30-12:00"'),
        "第 1 个 [[policy]] 的 office_hours：应为办公时间的列表",
    ),
    "no office hours in the list": (
        head("office_hours = []"),
        "第 1 个 [[policy]] 的 office_hours：应为办公时间的列表",
    ),
    "office hours that are no times": (
        head('office_hours = ["上午"]'),
        '第 1 个 [[policy]] 的 office_hours：第 1 段应为 "08:30-12:00" 形式的时段',
    ),
    "office hours without an end": (
        head('office_hours = ["08:30"]'),
        '第 1 个 [[policy]] 的 office_hours：第 1 段应为 "08:30-12:00" 形式的时段',
    ),
    "office hours as a number": (
        head("office_hours = [8]"),
        '第 1 个 [[policy]] 的 office_hours：第 1 段应为 "08:30-12:00" 形式的时段',
    ),
    "office hours that end when they start": (head('office_hours = ["08:30-08:30"]'), "08:30-08:30 结束不晚于开始"),
    "office hours that end before": (head('office_hours = ["18:00-08:30"]'), "18:00-08:30 结束不晚于开始"),
    "office hours out of order": (
        head('office_hours = ["14:30-18:00", "08:30-12:00"]'),
        "第 1 个 [[policy]] 的 office_hours：第 2 段 08:30-12:00 早于前一段结束，须按先后排列，互不重叠",
    ),
    "office hours that overlap": (head('office_hours = ["08:30-12:00", "11:59-18:00"]'), "互不重叠"),
    "a negative limit": (head("max_extensions = -1"), "第 1 个 [[policy]] 的 max_extensions：应为 0–4 的整数"),
    "too many extensions": (head("max_extensions = 5"), " 的 max_extensions：应为 0–4 的整数"),
    "a limit that is a truth value": (head("max_extensions = true"), " 的 max_extensions：应为 0–4 的整数"),
    "extensions of no day": (head("max_extension_days = 0"), " 的 max_extension_days：应为 1–250 的整数"),
    "extensions of 251 days": (head("max_extension_days = 251"), " 的 max_extension_days：应为 1–250 的整数"),
    "suspensions as text": (head('max_suspensions = "2"'), " 的 max_suspensions：应为 0–100 的整数"),
    "101 suspensions": (head("max_suspensions = 101"), " 的 max_suspensions：应为 0–100 的整数"),
    "a cutoff as a toml time": (head("cutoff = 17:30:00"), "第 1 个 [[policy]] 的 cutoff：应为~24:00~17:30:00"),
    "a cutoff without a zero": (head('cutoff = "8:30"'), "的 cutoff：应为~形式的时刻"),
    "a cutoff after midnight": (head('cutoff = "24:01"'), "的 cutoff：应为~形式的时刻"),
    "a cutoff with 60 minutes": (head('cutoff = "17:60"'), "的 cutoff：应为~形式的时刻"),
    "a cutoff of 00:00": (head('cutoff = "00:00"'), "第 1 个 [[policy]] 的 cutoff：不能是 00:00~24:00"),
    "no default category": (edit(POLICY, 'default_category = "a"\n', ""), "default_category：应为非空文字，没有写"),
    "an unknown default category": (
        edit(POLICY, 'ry = "a"', 'ry = "b"'),
        "default_category：'b' 不在本版本的类别之中，应为 a 之一",
    ),
    "effective from a text": (head('effective_from = "七月"'), "第 1 个 [[policy]] 的 effective_from：应为日期"),
    "effective from an hour": (
        head("effective_from = 2022-07-01T00:00:00"),
        "第 1 个 [[policy]] 的 effective_from：应为日期",
    ),
    "an unknown item of alerts": (head("alerts = {evening = 1}"), "第 1 个 [[policy]] 的 alerts：~evening~morning"),
    "a morning at 24:00": (
        head('alerts = {morning = "24:00"}'),
        "第 1 个 [[policy]] 的 alerts 的 morning：须早于 24:00",
    ),
    "a morning as a number": (
        head("alerts = {morning = 9}"),
        "第 1 个 [[policy]] 的 alerts 的 morning：应为~形式的时刻",
    ),
    "one rung of escalation": (
        head("alerts = {escalate_after = [1]}"),
        "第 1 个 [[policy]] 的 alerts 的 escalate_after：应为递增~[1, 3]",
    ),
    "escalation at once": (head("alerts = {escalate_after = [0, 3]}"), "escalate_after：应为递增的两个工作日数"),
    "escalation twice the same day": (head("alerts = {escalate_after = [3, 3]}"), "escalate_after：应为递增"),
    "escalation after 251 days": (head("alerts = {escalate_after = [1, 251]}"), "escalate_after：应为递增"),
    "a long suspension as text": (
        head('alerts = {suspended_long_days = "x"}'),
        "alerts 的 suspended_long_days：应为 1–366 的整数",
    ),
    "a long suspension of no day": (head("alerts = {suspended_long_days = 0}"), "suspended_long_days：应为 1–366"),
    "a long suspension of 367 days": (head("alerts = {suspended_long_days = 367}"), "suspended_long_days：应为 1–366"),
    "a number instead of tables": ("policy = 3", "policy：应为~请写成 [[policy]]，现在是 3"),
    "a list of numbers": ("policy = [3]", "policy：应为~请写成 [[policy]]，现在是 [3]"),
    "a list as default category": (
        edit(POLICY, 'ry = "a"', 'ry = ["a"]'),
        "default_category：应为非空文字，现在是 ['a']",
    ),
    "alerts that are a number": (head("alerts = 3"), "的 alerts：应为表，请写成 [policy.alerts]，现在是 3"),
    "alerts that are a list": (head('alerts = ["morning"]'), "的 alerts：应为表，请写成 [policy.alerts]"),
    "alerts with two brackets": (
        POLICY + "[[policy.alerts]]",
        "的 alerts：应为表，请写成 [policy.alerts]，现在是 [{}]",
    ),
    "a category with two brackets": (
        edit(POLICY, "[policy.categories.a]", "[[policy.categories.a]]"),
        "第 1 个 [[policy]] 的 categories 的 a：应为表，请写成 [policy.categories.a]，现在是 [{",
    ),
    "a line break in an item": (head(r'"max\nextensions" = 1'), r"不认识的项 'max\nextensions'"),
    "a line break in a category": (POLICY + CATEGORY.replace(".a]", r'."b\n"]'), r"类别标识 'b\n' 须为小写"),
    "a line break in the default category": (edit(POLICY, 'ry = "a"', r'ry = "a\n"'), r"default_category：'a\n' 不在"),
    "full-width digits in a cutoff": (head('cutoff = "1７:30"'), "的 cutoff：应为~现在是 '1７:30'"),
    "full-width digits in office hours": (head('office_hours = ["08:30-1２:00"]'), "office_hours：第 1 段应为~1２:00"),
    "office hours with two ends": (head('office_hours = ["08:30-12:00-18:00"]'), "office_hours：第 1 段应为"),
    "office hours with a bad second item": (
        head('office_hours = ["08:30-12:00", "14:30"]'),
        "office_hours：第 2 段应为 \"08:30-12:00\" 形式的时段，现在是 '14:30'",
    ),
    "less than a minute": (
        edit(HOURS_POLICY, "= 2", "= 0.009"),
        "的 reply_hours：应为 0.01–2000 的小时数，现在是 0.009",
    ),
    "2000.5 hours": (edit(HOURS_POLICY, "3.5", "2000.5"), "的 complete_hours：应为 0.01–2000 的小时数，现在是 2000.5"),
    "hours of more than 250 office days": (
        edit(HOURS_POLICY, "3.5", "1750.01"),
        "第 1 个 [[policy]] 的 office_hours：类别 a 的 complete_hours 折合超过 250 个工作日",
    ),
    "an empty keyword": (POLICY + 'keywords = ["路灯", ""]', "keywords：应为非空文字的列表~['路灯', '']"),
    "a keyword of two categories": (
        POLICY + KEYWORDS + ANOTHER_CATEGORY + 'keywords = ["树木", "井盖"]',
        "第 1 个 [[policy]] 的类别 b 的 keywords：'井盖' 也是类别 a 的关键词，一个词只能属于一个类别",
    ),
    "a name of two categories": (
        POLICY + ANOTHER_CATEGORY.replace('"乙"', '"甲"'),
        "第 1 个 [[policy]] 的类别 b 的 name：'甲' 也是类别 a 的名称，请使名称各不相同",
    ),
    "escalation as truth values": (head("alerts = {escalate_after = [true, 3]}"), "escalate_after：应为递增~[True, 3]"),
    "a second version without a day": (POLICY + POLICY, "第 2 个 [[policy]] 的 effective_from：只有第一个"),
    "versions out of order": (
        LATER + LATER.replace("07-01", "06-30"),
        "第 2 个 [[policy]] 的 effective_from：~2022-07-01，请由早到晚排列",
    ),
    "two versions of the same day": (
        LATER + LATER,
        "第 2 个 [[policy]] 的 effective_from：~2022-07-01，请由早到晚排列",
    ),
}

CALENDAR_REFUSALS = {
    "no toml": ("[[notice]]\nyear = ", "不是合法的 TOML"),
    "an unknown item at the top": ("[[holiday]]", "顶层~holiday~local、notice"),
    "one notice instead of a list": (edit(NOTICE, "[[notice]]", "[notice]"), "notice：应为~请写成 [[notice]]"),
    "a notice that is no table": ("notice = [2027]", "notice：应为~请写成 [[notice]]"),
    "a notice without a year": (edit(NOTICE, "year = 2027\n", ""), "第 1 个 [[notice]]~year"),
    "a year as text": (edit(NOTICE, "year = 2027", 'year = "2027"'), "第 1 个 [[notice]]~year"),
    "an unknown item of a notice": (NOTICE + 'name = "x"\n', "第 1 个 [[notice]]~name"),
    "a day that does not exist": (edit(NOTICE, "2027-02-08", "2027-02-29"), "第 1 个 [[notice]]~rest"),
    "a day in another form": (edit(NOTICE, "2027-02-20", "2027-2-20"), "第 1 个 [[notice]]~work"),
    "a day with an hour": (edit(NOTICE, '"2027-02-20"', "2027-02-20T00:00:00"), "第 1 个 [[notice]]~work"),
    "the second notice is named": (NOTICE + edit(NOTICE, "rest", "off"), "第 2 个 [[notice]]~off"),
    "an empty source": (edit(NOTICE, "国办发明电〔2026〕0号", ""), "第 1 个 [[notice]] 的 source：应为非空文字"),
    "no day off": (edit(NOTICE, '"2027-01-01", "2027-02-08"', ""), "第 1 个 [[notice]] 的 rest：没有放假日"),
    "a day off of the next year": (
        edit(NOTICE, "2027-02-08", "2028-01-01"),
        "第 1 个 [[notice]] 的 rest：2028-01-01 不在 2026-12-25 至 2027-12-31 之间",
    ),
    "a worked day before Christmas": (
        edit(NOTICE, "2027-02-20", "2026-12-24"),
        "第 1 个 [[notice]] 的 work：2026-12-24 不在 2026-12-25 至 2027-12-31 之间",
    ),
    "a day both off and worked": (
        edit(NOTICE, "2027-02-20", "2027-02-08"),
        "第 1 个 [[notice]] 的 work：2027-02-08 既放假又上班",
    ),
    "one local day instead of a list": (edit(LOCAL, "[[local]]", "[local]"), "local：应为~请写成 [[local]]"),
    "notices that are a number": ("notice = 3", "notice：应为~请写成 [[notice]]，现在是 3"),
    "local days that are a number": ("local = 3", "local：应为~请写成 [[local]]，现在是 3"),
    "days off that are a number": (
        edit(NOTICE, '["2027-01-01", "2027-02-08"]', "3"),
        "第 1 个 [[notice]] 的 rest：应为日期的列表，~现在是 3",
    ),
    "a day off twice": (edit(NOTICE, "2027-02-08", "2027-01-01"), "第 1 个 [[notice]] 的 rest：2027-01-01 写了两次"),
    "a worked day twice": (
        edit(NOTICE, '"2027-02-20"', '"2027-02-20", 2027-02-20'),
        "第 1 个 [[notice]] 的 work：2027-02-20 写了两次",
    ),
    "the year as a truth value": (edit(NOTICE, "year = 2027", "year = true"), "第 1 个 [[notice]] 的 year：应为"),
    "a year that no date holds": (edit(NOTICE, "year = 2027", f"year = {10**30}"), "第 1 个 [[notice]] 的 year：应为"),
    "a worked day before the first of the calendar": (
        edit(NOTICE.replace("2027-", "2001-"), "year = 2027", "year = 2001").replace("2001-02-08", "2000-12-31"),
        "第 1 个 [[notice]] 的 rest：2000-12-31 不在 2001-01-01 至 2001-12-31 之间",
    ),
    "a local day that is no table": ("local = [3]", "local：应为~请写成 [[local]]"),
    "an unknown item of a local day": (LOCAL + "working = true\n", "第 1 个 [[local]]~working~rest"),
    "neither off nor worked": (edit(LOCAL, "rest = true\n", ""), "第 1 个 [[local]]：须写 rest = true 或 work = true"),
    "said to be not off": (edit(LOCAL, "rest = true", "rest = false"), "第 1 个 [[local]]：须写 rest = true"),
    "both off and worked": (
        LOCAL + "work = true\n",
        "第 1 个 [[local]]：须写 rest = true 或 work = true，二者必居其一",
    ),
    "off as a text": (edit(LOCAL, "rest = true", 'rest = "true"'), "第 1 个 [[local]] 的 rest：应为 true 或 false"),
    "a local day without a day": (edit(LOCAL, 'date = "2026-04-15"\n', ""), "第 1 个 [[local]]~date"),
    "a local day that does not exist": (edit(LOCAL, "04-15", "04-31"), "第 1 个 [[local]]~date"),
    "a county of another city": (
        edit(LOCAL, '"gengma"', '"dali"'),
        "第 1 个 [[local]] 的 county：'dali' 不在平台登记表中",
    ),
    "a local day with an empty name": (edit(LOCAL, "泼水节", ""), "第 1 个 [[local]] 的 name：应为非空文字"),
    "a local day with an empty source": (edit(LOCAL, "县政府办通知", ""), "第 1 个 [[local]] 的 source：应为非空文字"),
    "a county with a line break": (
        edit(LOCAL, '"gengma"', r'"geng\nma"'),
        r"第 1 个 [[local]] 的 county：'geng\nma' 不在",
    ),
    "a county that is no text": (edit(LOCAL, '"gengma"', '["gengma"]'), "第 1 个 [[local]] 的 county：应为非空文字"),
    "a local day of 2126": (
        edit(LOCAL, "2026-04-15", "2126-04-15"),
        "第 1 个 [[local]] 的 date：2126-04-15 不在日历的范围",
    ),
    "a local day of 2000": (edit(LOCAL, "2026-04-15", "2000-12-31"), "2001-01-01 至 2059-12-31"),
    "a local day of 2060": (edit(LOCAL, "2026-04-15", "2060-01-01"), "2001-01-01 至 2059-12-31"),
    "a local day twice": (LOCAL + LOCAL, "第 2 个 [[local]] 的 date：县区 gengma 的 2026-04-15 写了两次"),
    "a local day off and worked": (LOCAL + edit(LOCAL, "rest", "work"), "第 2 个 [[local]] 的 date：~写了两次"),
    "the second local day is named": (LOCAL + edit(LOCAL, '"gengma"', '"dali"'), "第 2 个 [[local]]~dali"),
}

CALENDAR_REFUSALS |= {
    f"a notice of {year}": (
        edit(NOTICE, "year = 2027", f"year = {year}"),
        f"第 1 个 [[notice]] 的 year：应为 2001–2059 的整数（年份），现在是 {year}",
    )
    for year in (-1, 0, 1, 2000, 2060, 2127, 9999, 10000)
}

REFUSALS = [
    pytest.param(parse, text, fragment, id=f"{kind}: {name}")
    for kind, parse, table in (
        ("platforms", parse_registry, REGISTRY_REFUSALS),
        ("policy", parse_policy, POLICY_REFUSALS),
        ("calendar", parse_calendar_text, CALENDAR_REFUSALS),
    )
    for name, (text, fragment) in table.items()
]


@pytest.mark.parametrize(("parse", "text", "fragment"), REFUSALS)
def test_a_broken_file_is_refused_in_one_line_that_names_file_and_place(
    parse: Callable[[str, str], object], text: str, fragment: str
) -> None:
    message = refusal(parse, text)
    position = 0
    for part in fragment.split("~"):
        position = message.find(part, position)
        assert position >= 0, message
        position += len(part)


# Whatever a file holds


def to_toml(value: object) -> str:
    """A value as TOML writes it; tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {to_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return value.isoformat() if isinstance(value, date | time) else repr(value)


def to_toml_file(tree: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(key)} = {to_toml(value)}\n" for key, value in tree.items())


VALUES = st.recursive(
    st.one_of(
        st.booleans(), st.integers(), st.floats(), st.text(), st.dates(), st.times(), st.datetimes(),
        st.sampled_from(["08:30", "24:00", "0８:30", "08:30-12:00", "2027-01-01", "a", "\n", ""]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b\n", "rest"]), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every list or table of the tree with a key of it."""
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, key
        if isinstance(value, dict | list):
            yield from places(value)


def read_or_refused(parse: Callable[[str, str], object], text: str) -> None:
    try:
        parse(text, "市里的/配置.toml")
    except ConfigError:
        refusal(parse, text)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([REGISTRY, POLICY + RUNGS + LATER + KEYWORDS, HOURS_POLICY, NOTICE + LOCAL]), st.data())
def test_a_file_with_any_item_left_out_or_of_any_value_is_read_or_refused(text: str, data: st.DataObject) -> None:
    tree = tomllib.loads(text)
    parse = parse_registry if text is REGISTRY else parse_calendar_text if "local" in text else parse_policy
    parse(to_toml_file(tree), "市里的/配置.toml")
    holder, key = data.draw(st.sampled_from(list(places(tree))))
    if data.draw(st.booleans()):
        del holder[key]
    else:
        holder[key] = data.draw(VALUES)
    read_or_refused(parse, to_toml_file(tree))


@settings(deadline=None, max_examples=300)
@given(st.text() | st.text("[]{}=\"'\\\n\r.,#-:+0123456789Tabcpolicy_ "))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_registry, parse_policy, parse_calendar_text):
        read_or_refused(parse, text)
