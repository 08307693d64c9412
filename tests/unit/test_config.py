"""The deployment's files: what is shipped, what is refused and how, and the hash of the rules that they make.

Covers shared/config.py, shared/deployment.py, shared/policy.py, shared/registry.py and shared/rules.py.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config import ConfigError, parse_calendar, parse_policy, parse_registry
from shared.deployment import load_ruleset, read_text
from shared.policy import Budget, Category, OfficeHours, Policy, Rungs
from shared.registry import MUNICIPAL
from shared.rules import Ruleset

SHIPPED = load_ruleset()

# SPEC §2: slug, name, county slug, county, GB/T 2260.
PLATFORMS = [
    ("lincang", "市政府", "municipal", "市本级", None),
    ("gongan", "市公安局", "municipal", "市本级", None),
    ("linxiang", "临翔区", "linxiang", "临翔区", "530902"),
    ("yunxian", "云县", "yunxian", "云县", "530922"),
    ("fengqing", "凤庆县", "fengqing", "凤庆县", "530921"),
    ("yongde", "永德县", "yongde", "永德县", "530923"),
    ("zhenkang", "镇康县", "zhenkang", "镇康县", "530924"),
    ("gengma", "耿马自治县", "gengma", "耿马自治县", "530926"),
    ("cangyuan", "沧源自治县", "cangyuan", "沧源自治县", "530927"),
    ("shuangjiang", "双江自治县", "shuangjiang", "双江自治县", "530925"),
]

# SPEC §6: slug, name, reply, complete, whether a final reply also completes.
CATEGORIES = [
    ("simple_inquiry", "简单咨询", 1, 1, True),
    ("correction", "纠错", 3, 3, True),
    ("inquiry", "一般咨询", 5, 5, True),
    ("suggestion", "意见建议", 5, 10, False),
    ("help", "求助", 5, 10, False),
    ("complaint", "投诉举报", 5, 15, False),
]

REGISTRY = """\
city = "临沧市"
[[platform]]
slug = "gengma"
name = "耿马自治县"
county = "gengma"
county_name = "耿马自治县"
[[platform]]
slug = "lincang"
name = "市政府"
county = "municipal"
county_name = "市本级"
"""
ANOTHER_PLATFORM = """\
[[platform]]
slug = "gongan"
name = "市公安局"
county = "municipal"
county_name = "市本级"
"""
HEAD = """\
[[policy]]
source = "试行办法"
default_category = "a"
"""
CATEGORY = """\
[policy.categories.a]
name = "甲"
source = "试行办法"
reply = 1
complete = 2
"""
POLICY = HEAD + CATEGORY
LATER = POLICY.replace("[[policy]]", "[[policy]]\neffective_from = 2022-07-01")
NOTICE = """\
[[notice]]
year = 2027
source = "国办发明电〔2026〕0号"
rest = ["2027-01-01", "2027-02-08"]
work = ["2027-02-20"]
"""
LOCAL = """\
[[local]]
county = "gengma"
date = "2026-04-15"
rest = true
name = "泼水节"
source = "县政府办通知"
"""


def edit(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


def head(line: str) -> str:
    """A policy with one more line before its categories."""
    return f"{HEAD}{line}\n{CATEGORY}"


def rules(registry: str = REGISTRY, policy: str = POLICY, calendar: str = "") -> Ruleset:
    platforms = parse_registry(registry)
    return Ruleset(platforms, parse_policy(policy), parse_calendar(calendar, platforms))


def parse_calendar_text(text: str, name: str) -> object:
    return parse_calendar(text, SHIPPED.registry, name)


def refusal(parse: Callable[[str, str], object], text: str) -> str:
    """The message of a refused text, after the file's name."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "市里的/配置.toml")
    name, _, message = str(caught.value).partition("：")
    assert name == "市里的/配置.toml"
    assert len(message.splitlines()) == 1
    return message


# What is shipped


def test_the_shipped_platforms_are_the_ten_of_the_contract_in_its_order() -> None:
    assert [(p.slug, p.name, p.county, p.county_name, p.code) for p in SHIPPED.registry] == PLATFORMS
    assert SHIPPED.registry.city == "临沧市"


def test_the_shipped_categories_and_their_days_are_those_of_the_contract() -> None:
    (policy,) = SHIPPED.policies.versions
    shipped = [(c.slug, c.name, c.reply, c.complete, c.reply_completes) for c in policy.categories.values()]
    assert shipped == [(slug, name, Budget(r), Budget(c), completes) for slug, name, r, c, completes in CATEGORIES]
    assert list(policy.categories) == [slug for slug, *_ in CATEGORIES]
    assert policy.categories["simple_inquiry"].source == "临政办字〔2022〕49号"
    assert all(category.source for category in policy.categories.values())


def test_the_other_shipped_rules_are_those_of_the_contract() -> None:
    (policy,) = SHIPPED.policies.versions
    assert policy.effective_from is None
    assert policy.cutoff == 24 * 60
    assert policy.default_category == "inquiry"
    assert (policy.max_extensions, policy.max_extension_days, policy.max_suspensions) == (1, 10, 2)
    assert policy.office_hours == OfficeHours(((510, 720), (870, 1080)))
    assert policy.rungs == Rungs(time(9, 0), (1, 3), 30)


def test_the_shipped_calendar_adds_nothing_to_the_national_one() -> None:
    platforms = parse_registry(REGISTRY)
    assert SHIPPED.calendars.fingerprint() == parse_calendar("", platforms).fingerprint()
    assert SHIPPED.calendars.national.confirmed_years == frozenset(range(2001, 2027))
    assert SHIPPED.calendar_of("gengma") is SHIPPED.calendars.national


def test_the_example_in_the_shipped_calendar_is_usable_once_its_marks_are_taken_away() -> None:
    text, name = read_text(None, "calendar.toml")
    shown = "\n".join(line.removeprefix("# ") for line in text.splitlines() if "=" in line or "[[" in line)
    calendars = parse_calendar(shown, SHIPPED.registry, name)
    assert 2027 in calendars.national.confirmed_years
    assert calendars.of("gengma").day(date(2027, 4, 15)).reason == "泼水节"


def test_what_a_policy_does_not_say_is_as_the_contract_has_it() -> None:
    (policy,) = parse_policy(POLICY).versions
    assert policy == Policy(
        effective_from=None,
        source="试行办法",
        cutoff=24 * 60,
        default_category="a",
        categories={"a": Category("a", "甲", Budget(1), Budget(2), reply_completes=False, source="试行办法")},
        max_extensions=1,
        max_extension_days=10,
        max_suspensions=2,
        office_hours=None,
        rungs=Rungs(time(9, 0), (1, 3), 30),
    )


def test_everything_that_a_policy_may_say_is_read() -> None:
    text = """\
[[policy]]
effective_from = 2022-07-01
source = "办法"
default_category = "b-2_x"
cutoff = "17:30"
max_extensions = 0
max_extension_days = 250
max_suspensions = 0
office_hours = ["08:30-12:00", "12:00-17:30"]
[policy.alerts]
morning = "08:00"
escalate_after = [2, 5]
suspended_long_days = 366
[policy.categories.b-2_x]
name = "乙"
source = "办法"
reply_hours = 3.5
complete_hours = 4
reply_completes = true
keywords = ["路灯", "井盖"]
"""
    assert parse_policy(text).versions == (
        Policy(
            effective_from=date(2022, 7, 1),
            source="办法",
            cutoff=17 * 60 + 30,
            default_category="b-2_x",
            categories={
                "b-2_x": Category(
                    slug="b-2_x",
                    name="乙",
                    reply=Budget(3.5, "hours"),
                    complete=Budget(4, "hours"),
                    reply_completes=True,
                    source="办法",
                    keywords=("路灯", "井盖"),
                )
            },
            max_extensions=0,
            max_extension_days=250,
            max_suspensions=0,
            office_hours=OfficeHours(((510, 720), (720, 1050))),
            rungs=Rungs(time(8, 0), (2, 5), 366),
        ),
    )


def test_a_policy_made_without_a_file_has_the_same_defaults() -> None:
    (policy,) = parse_policy(POLICY).versions
    assert Policy(policy.effective_from, policy.source, policy.cutoff, "a", policy.categories) == policy


@pytest.mark.parametrize(
    "text",
    [
        edit(POLICY, "complete = 2", "complete = 250"),
        edit(
            edit(head('office_hours = ["00:00-24:00"]'), "reply", "reply_hours"),
            "complete = 2",
            "complete_hours = 2000",
        ),
        edit(
            edit(head('office_hours = ["08:30-12:00"]'), "reply = 1", "reply_hours = 0.5"), "complete", "complete_hours"
        ),
        head("max_extensions = 4\nmax_extension_days = 1\nmax_suspensions = 100"),
        head('cutoff = "00:01"'),
        head('alerts = {morning = "00:00", escalate_after = [1, 250], suspended_long_days = 1}'),
        head('alerts = {morning = "23:59", escalate_after = [249, 250], suspended_long_days = 366}'),
    ],
)
def test_the_widest_values_that_a_policy_may_hold_are_read(text: str) -> None:
    assert len(parse_policy(text).versions) == 1


def test_a_notice_may_reach_from_25_december_of_the_year_before_to_its_own_last_day() -> None:
    text = edit(edit(NOTICE, "2027-01-01", "2026-12-25"), "2027-02-20", "2027-12-31")
    calendar = parse_calendar(text, SHIPPED.registry).national
    assert not calendar.is_working(date(2026, 12, 25))
    assert calendar.day(date(2027, 12, 31)).reason == "调休上班"


@pytest.mark.parametrize("written", ['effective_from = "2022-07-01"', "effective_from = 2022-07-01"])
def test_a_day_may_be_written_as_a_toml_date_or_as_text(written: str) -> None:
    assert parse_policy(head(written)).versions[0].effective_from == date(2022, 7, 1)


def test_a_category_may_say_that_a_reply_does_not_complete_although_both_targets_are_equal() -> None:
    text = edit(POLICY, "complete = 2", "complete = 1\nreply_completes = false")
    assert not parse_policy(text).versions[0].categories["a"].reply_completes


def test_a_calendar_file_lays_its_notices_and_local_days_over_the_library() -> None:
    calendars = parse_calendar(NOTICE + LOCAL, SHIPPED.registry)
    assert calendars.national.day(date(2027, 2, 20)).source == "国办发明电〔2026〕0号"
    assert not calendars.of("gengma").is_working(date(2026, 4, 15))
    assert calendars.of("yunxian").is_working(date(2026, 4, 15))


def test_a_local_day_may_be_a_working_day() -> None:
    text = edit(edit(LOCAL, "rest = true", "work = true\nrest = false"), "2026-04-15", "2026-04-18")
    assert parse_calendar(text, SHIPPED.registry).of("gengma").is_working(date(2026, 4, 18))


# What is refused. A fragment is what the message must hold, its parts in order, with ~ between them.

REGISTRY_REFUSALS = {
    "no toml": ("city", "不是合法的 TOML"),
    "a key twice": (REGISTRY.replace("city", 'city = "x"\ncity', 1), "不是合法的 TOML~line 2"),
    "an unknown item at the top": ('title = "x"\n' + REGISTRY, "顶层~title~city、platform"),
    "no city": (edit(REGISTRY, 'city = "临沧市"', ""), "缺少 city"),
    "an empty city": (edit(REGISTRY, "临沧市", ""), "缺少 city"),
    "a city that is no text": (edit(REGISTRY, '"临沧市"', "530900"), "缺少 city"),
    "no platform": ('city = "临沧市"', "至少要有一个 [[platform]]"),
    "an empty list of platforms": ('city = "临沧市"\nplatform = []', "至少要有一个 [[platform]]"),
    "one table instead of a list": ('city = "临沧市"\n[platform]\nslug = "x"', "[[platform]]"),
    "a platform that is no table": ('city = "临沧市"\nplatform = [3]', "第 1 个 [[platform]]"),
    "no name": (edit(REGISTRY, 'name = "市政府"\n', ""), "第 2 个 [[platform]]~name"),
    "no county name": (edit(REGISTRY, 'county_name = "市本级"\n', ""), "第 2 个 [[platform]]~county_name"),
    "an unknown item of a platform": (REGISTRY + 'colour = "red"\n', "第 2 个 [[platform]]~colour"),
    "a code that is no text": (REGISTRY + "code = 530900\n", "第 2 个 [[platform]]~code"),
    "a slug in capitals": (edit(REGISTRY, 'slug = "lincang"', 'slug = "Lincang"'), "平台标识 'Lincang'~小写"),
    "a slug with a slash": (edit(REGISTRY, 'slug = "lincang"', 'slug = "lin/cang"'), "平台标识 'lin/cang'"),
    "a slug with a line break": (edit(REGISTRY, 'slug = "lincang"', r'slug = "lin\n"'), "平台标识"),
    "an empty slug": (edit(REGISTRY, 'slug = "lincang"', 'slug = ""'), "平台标识 ''"),
    "a slug of 33 letters": (edit(REGISTRY, 'slug = "lincang"', f'slug = "{"x" * 33}"'), "平台标识"),
    "a slug twice": (edit(REGISTRY, 'slug = "lincang"', 'slug = "gengma"'), "平台标识 gengma 出现了两次"),
    "a county with a space": (edit(REGISTRY, '"municipal"', '"muni cipal"'), "县区标识 'muni cipal'~小写"),
    "a county of two names": (edit(REGISTRY, '"municipal"', '"gengma"'), "县区 gengma 有两个不同的名称"),
}

POLICY_REFUSALS = {
    "no toml": ("[[policy]", "不是合法的 TOML"),
    "a date that does not exist": (head("effective_from = 2022-02-30"), "不是合法的 TOML"),
    "nothing": ("", "至少要有一个 [[policy]]"),
    "an empty list of versions": ("policy = []", "至少要有一个 [[policy]]"),
    "an unknown item at the top": ('title = "x"\n' + POLICY, "顶层~title"),
    "one table instead of a list": (edit(HEAD, "[[policy]]", "[policy]"), "[[policy]]"),
    "an unknown item of a version": (head("max_extension = 3"), "第 1 个 [[policy]]~max_extension，~max_extensions"),
    "no source": (edit(POLICY, 'source = "试行办法"\ndefault', "default"), "第 1 个 [[policy]] 缺少 source"),
    "an empty source": (edit(POLICY, '"试行办法"\ndefault', '""\ndefault'), "第 1 个 [[policy]] 缺少 source"),
    "a source that is no text": (edit(POLICY, '"试行办法"\ndefault', "49\ndefault"), "第 1 个 [[policy]] 缺少 source"),
    "no categories": (HEAD, "第 1 个 [[policy]] 没有任何类别"),
    "categories that are no table": (HEAD + "categories = 3", "第 1 个 [[policy]] 没有任何类别"),
    "a category that is no table": (HEAD + "categories = {a = 3}", "第 1 个 [[policy]]"),
    "a category in capitals": (POLICY + CATEGORY.replace(".a]", ".B]"), "第 1 个 [[policy]] 类别标识 'B'~小写"),
    "the second version is named": (POLICY + edit(LATER, "complete = 2", ""), "第 2 个 [[policy]] 的类别 a~complete"),
    "an unknown item of a category": (POLICY + "replys = 1", "的类别 a~replys~reply_hours"),
    "a category without a name": (edit(POLICY, 'name = "甲"\n', ""), "的类别 a 缺少 name"),
    "a category with an empty name": (edit(POLICY, '"甲"', '""'), "的类别 a 缺少 name"),
    "a category without a source": (edit(POLICY, '甲"\nsource = "试行办法"', '甲"'), "的类别 a 缺少 source"),
    "no target to reply": (edit(POLICY, "reply = 1\n", ""), "的类别 a 须写 reply 或 reply_hours"),
    "no target to complete": (edit(POLICY, "complete = 2\n", ""), "的类别 a 须写 complete 或 complete_hours"),
    "days and hours": (POLICY + "reply_hours = 4", "的类别 a 须写 reply 或 reply_hours，二者必居其一"),
    "zero days": (edit(POLICY, "reply = 1", "reply = 0"), "的类别 a reply 应为 1–250 的整数"),
    "251 days": (edit(POLICY, "complete = 2", "complete = 251"), "的类别 a complete 应为 1–250 的整数"),
    "half a day": (edit(POLICY, "reply = 1", "reply = 0.5"), "的类别 a reply 应为 1–250 的整数"),
    "days as text": (edit(POLICY, "reply = 1", 'reply = "1"'), "的类别 a reply 应为 1–250 的整数"),
    "days as a truth value": (edit(POLICY, "reply = 1", "reply = true"), "的类别 a reply 应为 1–250 的整数"),
    "zero hours": (edit(POLICY, "reply = 1", "reply_hours = 0"), "的类别 a reply_hours 应为大于 0 的小时数"),
    "hours without end": (edit(POLICY, "reply = 1", "reply_hours = inf"), "的类别 a reply_hours 应为"),
    "hours that are no number": (edit(POLICY, "reply = 1", "reply_hours = nan"), "的类别 a reply_hours 应为"),
    "2001 hours": (edit(POLICY, "complete = 2", "complete_hours = 2001"), "的类别 a complete_hours 应为"),
    "hours as text": (edit(POLICY, "reply = 1", 'reply_hours = "4"'), "的类别 a reply_hours 应为"),
    "hours as a truth value": (edit(POLICY, "reply = 1", "reply_hours = true"), "的类别 a reply_hours 应为"),
    "mixed units": (edit(POLICY, "reply = 1", "reply_hours = 4"), "的类别 a 的两个时限须同用工作日或同用小时"),
    "reply after complete": (edit(POLICY, "reply = 1", "reply = 3"), "的类别 a 的答复时限不能长于办结时限"),
    "reply_completes that is no truth value": (POLICY + "reply_completes = 1", "的类别 a"),
    "keywords that are no list": (POLICY + 'keywords = "路灯"', "的类别 a"),
    "a keyword that is no text": (POLICY + "keywords = [1]", "的类别 a"),
    "hours without office hours": (
        edit(edit(POLICY, "reply = 1", "reply_hours = 4"), "complete = 2", "complete_hours = 4"),
        "第 1 个 [[policy]] 有按小时计的类别，须写 office_hours",
    ),
    "office hours as text": (head('office_hours = "08:30-12:00"'), "第 1 个 [[policy]] office_hours 应为"),
    "no office hours in the list": (head("office_hours = []"), "第 1 个 [[policy]] office_hours 应为"),
    "office hours that are no times": (head('office_hours = ["上午"]'), "第 1 个 [[policy]] office_hours 应写成"),
    "office hours without an end": (head('office_hours = ["08:30"]'), "第 1 个 [[policy]] office_hours 应写成"),
    "office hours as a number": (head("office_hours = [8]"), "第 1 个 [[policy]] office_hours 应写成"),
    "office hours that end when they start": (head('office_hours = ["08:30-08:30"]'), "08:30-08:30 结束不晚于开始"),
    "office hours that end before": (head('office_hours = ["18:00-08:30"]'), "18:00-08:30 结束不晚于开始"),
    "office hours out of order": (
        head('office_hours = ["14:30-18:00", "08:30-12:00"]'),
        "第 1 个 [[policy]] office_hours 须按先后排列，互不重叠",
    ),
    "office hours that overlap": (head('office_hours = ["08:30-12:00", "11:59-18:00"]'), "互不重叠"),
    "a negative limit": (head("max_extensions = -1"), "第 1 个 [[policy]] max_extensions 应为 0–4 的整数"),
    "too many extensions": (head("max_extensions = 5"), "max_extensions 应为 0–4 的整数"),
    "a limit that is a truth value": (head("max_extensions = true"), "max_extensions 应为 0–4 的整数"),
    "extensions of no day": (head("max_extension_days = 0"), "max_extension_days 应为 1–250 的整数"),
    "extensions of 251 days": (head("max_extension_days = 251"), "max_extension_days 应为 1–250 的整数"),
    "suspensions as text": (head('max_suspensions = "2"'), "max_suspensions 应为 0–100 的整数"),
    "101 suspensions": (head("max_suspensions = 101"), "max_suspensions 应为 0–100 的整数"),
    "a cutoff as a toml time": (head("cutoff = 17:30:00"), "第 1 个 [[policy]] cutoff 应写成~24:00"),
    "a cutoff without a zero": (head('cutoff = "8:30"'), "cutoff 应写成"),
    "a cutoff after midnight": (head('cutoff = "24:01"'), "cutoff 应写成"),
    "a cutoff with 60 minutes": (head('cutoff = "17:60"'), "cutoff 应写成"),
    "a cutoff of 00:00": (head('cutoff = "00:00"'), "第 1 个 [[policy]] cutoff 不能是 00:00~24:00"),
    "no default category": (edit(POLICY, 'default_category = "a"\n', ""), "default_category None 不在本版本的类别之中"),
    "an unknown default category": (edit(POLICY, 'ry = "a"', 'ry = "b"'), "default_category 'b' 不在本版本的类别之中"),
    "effective from a text": (head('effective_from = "七月"'), "第 1 个 [[policy]] effective_from"),
    "effective from an hour": (head("effective_from = 2022-07-01T00:00:00"), "第 1 个 [[policy]] effective_from"),
    "an unknown item of alerts": (head("alerts = {evening = 1}"), "第 1 个 [[policy]] alerts~evening~morning"),
    "a morning at 24:00": (head('alerts = {morning = "24:00"}'), "第 1 个 [[policy]] alerts morning 须早于 24:00"),
    "a morning as a number": (head("alerts = {morning = 9}"), "第 1 个 [[policy]] alerts morning 应写成"),
    "one rung of escalation": (head("alerts = {escalate_after = [1]}"), "第 1 个 [[policy]] alerts escalate_after"),
    "escalation at once": (head("alerts = {escalate_after = [0, 3]}"), "escalate_after 应为递增的两个工作日数"),
    "escalation twice the same day": (head("alerts = {escalate_after = [3, 3]}"), "escalate_after 应为递增"),
    "escalation after 251 days": (head("alerts = {escalate_after = [1, 251]}"), "escalate_after 应为递增"),
    "a long suspension as text": (head('alerts = {suspended_long_days = "x"}'), "alerts suspended_long_days"),
    "a long suspension of no day": (head("alerts = {suspended_long_days = 0}"), "suspended_long_days 应为 1–366"),
    "a long suspension of 367 days": (head("alerts = {suspended_long_days = 367}"), "suspended_long_days 应为 1–366"),
    "a second version without a day": (POLICY + POLICY, "只有第一个 [[policy]] 可以不写 effective_from"),
    "versions out of order": (LATER + LATER.replace("07-01", "06-30"), "[[policy]] 须按 effective_from 由早到晚排列"),
    "two versions of the same day": (LATER + LATER, "[[policy]] 须按 effective_from 由早到晚排列"),
}

CALENDAR_REFUSALS = {
    "no toml": ("[[notice]]\nyear = ", "不是合法的 TOML"),
    "an unknown item at the top": ("[[holiday]]", "顶层~holiday~local、notice"),
    "one notice instead of a list": (edit(NOTICE, "[[notice]]", "[notice]"), "[[notice]]"),
    "a notice that is no table": ("notice = [2027]", "第 1 个 [[notice]]"),
    "a notice without a year": (edit(NOTICE, "year = 2027\n", ""), "第 1 个 [[notice]]~year"),
    "a year as text": (edit(NOTICE, "year = 2027", 'year = "2027"'), "第 1 个 [[notice]]~year"),
    "an unknown item of a notice": (NOTICE + 'name = "x"\n', "第 1 个 [[notice]]~name"),
    "a day that does not exist": (edit(NOTICE, "2027-02-08", "2027-02-29"), "第 1 个 [[notice]]~rest"),
    "a day in another form": (edit(NOTICE, "2027-02-20", "2027-2-20"), "第 1 个 [[notice]]~work"),
    "a day with an hour": (edit(NOTICE, '"2027-02-20"', "2027-02-20T00:00:00"), "第 1 个 [[notice]]~work"),
    "the second notice is named": (NOTICE + edit(NOTICE, "rest", "off"), "第 2 个 [[notice]]~off"),
    "an empty source": (edit(NOTICE, "国办发明电〔2026〕0号", ""), "2027 年的 [[notice]] 缺少 source"),
    "no day off": (edit(NOTICE, '"2027-01-01", "2027-02-08"', ""), "2027 年的 [[notice]] 没有放假日 rest"),
    "a day off of the next year": (
        edit(NOTICE, "2027-02-08", "2028-01-01"),
        "2027 年的 [[notice]] 的 2028-01-01 不在 2026-12-25 至 2027-12-31 之间",
    ),
    "a worked day before Christmas": (
        edit(NOTICE, "2027-02-20", "2026-12-24"),
        "2027 年的 [[notice]] 的 2026-12-24 不在 2026-12-25 至 2027-12-31 之间",
    ),
    "a day both off and worked": (
        edit(NOTICE, "2027-02-20", "2027-02-08"),
        "2027 年的 [[notice]] 的 2027-02-08 既放假又上班",
    ),
    "one local day instead of a list": (edit(LOCAL, "[[local]]", "[local]"), "[[local]]"),
    "a local day that is no table": ("local = [3]", "第 1 个 [[local]]"),
    "an unknown item of a local day": (LOCAL + "working = true\n", "第 1 个 [[local]]~working~rest"),
    "neither off nor worked": (edit(LOCAL, "rest = true\n", ""), "第 1 个 [[local]] 须写 rest = true 或 work = true"),
    "said to be not off": (edit(LOCAL, "rest = true", "rest = false"), "第 1 个 [[local]] 须写 rest = true"),
    "both off and worked": (LOCAL + "work = true\n", "第 1 个 [[local]] 须写 rest = true 或 work = true，二者必居其一"),
    "off as a text": (edit(LOCAL, "rest = true", 'rest = "true"'), "第 1 个 [[local]] 须写 rest = true"),
    "a local day without a day": (edit(LOCAL, 'date = "2026-04-15"\n', ""), "第 1 个 [[local]]~date"),
    "a local day that does not exist": (edit(LOCAL, "04-15", "04-31"), "第 1 个 [[local]]~date"),
    "a county of another city": (edit(LOCAL, '"gengma"', '"dali"'), "第 1 个 [[local]] 的县区 dali 不在平台登记表中"),
    "a local day with an empty name": (edit(LOCAL, "泼水节", ""), "第 1 个 [[local]] 缺少 name 或 source"),
    "a local day with an empty source": (edit(LOCAL, "县政府办通知", ""), "第 1 个 [[local]] 缺少 name 或 source"),
    "the second local day is named": (LOCAL + edit(LOCAL, '"gengma"', '"dali"'), "第 2 个 [[local]]~dali"),
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


@pytest.mark.xfail(
    reason="ends in an exception other than ConfigError", raises=(AttributeError, RecursionError, TypeError, ValueError)
)
@pytest.mark.parametrize(
    ("parse", "text"),
    [
        pytest.param(parse_registry, 'city = "x"\nplatform = 3', id="platforms: a number instead of tables"),
        pytest.param(parse_policy, "policy = 3", id="policy: a number instead of tables"),
        pytest.param(parse_policy, "policy = [3]", id="policy: a list of numbers"),
        pytest.param(parse_policy, edit(POLICY, 'ry = "a"', 'ry = ["a"]'), id="policy: a list as default category"),
        pytest.param(parse_policy, head("alerts = 3"), id="policy: alerts that are a number"),
        pytest.param(parse_policy, head('alerts = ["morning"]'), id="policy: alerts that are a list"),
        pytest.param(parse_policy, f"policy = {'1' * 5000}", id="policy: a number of 5000 digits"),
        pytest.param(parse_policy, f"policy = {'[' * 5000}", id="policy: a list that is too deep"),
        pytest.param(parse_calendar_text, "notice = 3", id="calendar: notices that are a number"),
        pytest.param(parse_calendar_text, "local = 3", id="calendar: local days that are a number"),
        pytest.param(parse_calendar_text, edit(NOTICE, "year = 2027", "year = 0"), id="calendar: the year 0"),
        pytest.param(parse_calendar_text, edit(NOTICE, "year = 2027", "year = 10000"), id="calendar: the year 10000"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_like_any_other(parse: Callable[[str, str], object], text: str) -> None:
    assert refusal(parse, text)


@pytest.mark.xfail(reason="what the file says is put into the message as it is", raises=AssertionError)
@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_policy, head(r'"max\nextensions" = 1')),
        (parse_calendar_text, edit(LOCAL, '"gengma"', r'"geng\nma"')),
    ],
    ids=["policy: an unknown item", "calendar: a county"],
)
def test_a_line_break_in_a_value_does_not_break_the_message(parse: Callable[[str, str], object], text: str) -> None:
    assert refusal(parse, text)


@pytest.mark.xfail(reason="accepted", raises=pytest.fail.Exception)
@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_registry, edit(REGISTRY, '"市政府"', '""')),
        (parse_registry, edit(REGISTRY, '"市本级"', '""')),
        (parse_calendar_text, edit(LOCAL, "2026-04-15", "2126-04-15")),
        (parse_calendar_text, NOTICE.replace("2027", "2127")),
    ],
    ids=["a platform without a name", "a county without a name", "a local day of 2126", "a notice of 2127"],
)
def test_a_value_that_can_have_no_meaning_is_refused(parse: Callable[[str, str], object], text: str) -> None:
    assert refusal(parse, text)


# The deployment's files


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_files_that_are_given_replace_the_shipped_ones(tmp_path: Path) -> None:
    ruleset = load_ruleset(
        write(tmp_path / "p.toml", REGISTRY), write(tmp_path / "r.toml", POLICY), write(tmp_path / "c.toml", LOCAL)
    )
    assert ruleset.registry.slugs == ("gengma", "lincang")
    assert ruleset.policies.known_categories == {"a"}
    assert not ruleset.calendar_of("gengma").is_working(date(2026, 4, 15))
    assert ruleset.hash == rules(calendar=LOCAL).hash


def test_the_first_problem_of_every_file_is_told_a_line_each(tmp_path: Path) -> None:
    policy, calendar = write(tmp_path / "r.toml", HEAD), write(tmp_path / "c.toml", "[[holiday]]")
    with pytest.raises(ConfigError) as caught:
        load_ruleset(None, policy, calendar)
    lines = str(caught.value).splitlines()
    assert [line.partition("：")[0] for line in lines] == [str(policy), str(calendar)]


@pytest.mark.parametrize("broken", ["platforms", "policy", "calendar"])
def test_one_broken_file_is_enough_to_refuse_the_deployment(tmp_path: Path, broken: str) -> None:
    path = write(tmp_path / "broken.toml", "[")
    with pytest.raises(ConfigError) as caught:
        load_ruleset(**{broken: path})
    assert str(caught.value).startswith(f"{path}：不是合法的 TOML")
    assert len(str(caught.value).splitlines()) == 1


def test_a_calendar_is_not_judged_without_its_platforms(tmp_path: Path) -> None:
    platforms, calendar = write(tmp_path / "p.toml", ""), write(tmp_path / "c.toml", LOCAL)
    with pytest.raises(ConfigError) as caught:
        load_ruleset(platforms, None, calendar)
    assert str(caught.value) == f"{platforms}：缺少 city（城市名称）"


def test_a_file_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path) -> None:
    gbk = tmp_path / "gbk.toml"
    gbk.write_bytes(REGISTRY.encode("gbk"))
    for path in (tmp_path / "missing.toml", tmp_path, gbk):
        with pytest.raises(ConfigError) as caught:
            load_ruleset(platforms=path)
        assert str(caught.value).startswith(f"{path}：读不出来")
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.xfail(reason="the byte order mark that Windows editors write is called invalid TOML", raises=ConfigError)
def test_a_file_saved_by_a_windows_editor_is_read(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(REGISTRY, encoding="utf-8-sig")
    assert load_ruleset(platforms=path).registry.slugs == ("gengma", "lincang")


# The registry


def test_the_registry_is_asked_by_slug_and_listed_in_order() -> None:
    registry = parse_registry(REGISTRY)
    assert len(registry) == 2
    assert [platform.slug for platform in registry] == list(registry.slugs) == ["gengma", "lincang"]
    assert "gengma" in registry
    assert "dali" not in registry
    assert registry["lincang"].name == "市政府"
    assert registry.county("lincang") == MUNICIPAL
    assert registry.county_names == {"gengma": "耿马自治县", "municipal": "市本级"}
    with pytest.raises(KeyError):
        registry["dali"]


def test_a_holder_is_shown_by_the_platform_name_or_by_its_own() -> None:
    registry = parse_registry(REGISTRY)
    assert registry.holder_name("lincang") == "市政府"
    assert registry.holder_name("市住建局") == "市住建局"


# Versions of the policy


THREE_VERSIONS = (
    POLICY
    + LATER.replace("甲", "甲（新）").replace("complete = 2", "complete = 3")
    + LATER.replace("2022-07-01", "2023-01-01").replace("categories.a", "categories.b").replace('"a"', '"b"')
)


@pytest.mark.parametrize(
    ("day", "version"),
    [
        (date(2001, 1, 1), 0),
        (date(2022, 6, 30), 0),
        (date(2022, 7, 1), 1),
        (date(2022, 12, 31), 1),
        (date(2023, 1, 1), 2),
        (date(2049, 12, 31), 2),
    ],
)
def test_a_version_holds_from_its_day_until_the_day_before_the_next(day: date, version: int) -> None:
    ruleset = rules(policy=THREE_VERSIONS)
    assert ruleset.policy_on(day) is ruleset.policies.versions[version]


def test_the_first_version_reaches_back_also_when_it_names_a_day() -> None:
    history = parse_policy(LATER)
    assert history.on(date(2001, 1, 1)) is history.versions[0]


def test_a_category_unknown_to_a_version_counts_as_its_default_one() -> None:
    policies = rules(policy=THREE_VERSIONS).policies
    assert policies.known_categories == {"a", "b"}
    newest, oldest = policies.on(date(2023, 1, 1)), policies.on(date(2022, 1, 1))
    assert newest.category("a") is newest.categories["b"]
    assert oldest.category("b") is oldest.categories["a"]
    assert oldest.category("a") is oldest.categories["a"]
    assert SHIPPED.policy_on(date(2022, 3, 1)).category("weather").slug == "inquiry"


def test_a_category_is_called_as_the_newest_version_that_knows_it_calls_it() -> None:
    policies = rules(policy=THREE_VERSIONS).policies
    assert policies.category_name("a") == "甲（新）"
    assert policies.category_name("b") == "甲"
    assert policies.category_name("weather") == "weather"


# Office hours

HOURS = OfficeHours(((510, 720), (870, 1080)))


@pytest.mark.parametrize(
    ("clock", "minutes"),
    [
        ("00:00", 0), ("08:30", 0), ("08:31", 1), ("12:00", 210), ("13:00", 210), ("14:30", 210), ("18:00", 420),
        ("23:59", 420),
    ],
)  # fmt: skip
def test_office_time_passes_within_office_hours_only(clock: str, minutes: int) -> None:
    since = timedelta(hours=int(clock[:2]), minutes=int(clock[3:]))
    assert HOURS.elapsed(since) == minutes * 60_000_000


@given(st.integers(1, HOURS.micros_a_day))
def test_office_time_is_reached_at_the_first_moment_by_which_it_has_passed(micros: int) -> None:
    moment = HOURS.reached(micros)
    assert HOURS.elapsed(moment) == micros
    assert HOURS.elapsed(moment - timedelta(microseconds=1)) == micros - 1


def test_a_day_has_no_more_office_time_than_its_hours() -> None:
    assert HOURS.micros_a_day == 7 * 3600 * 1_000_000
    assert HOURS.reached(HOURS.micros_a_day) == timedelta(hours=18)
    with pytest.raises(ValueError, match="more office time than a day has"):
        HOURS.reached(HOURS.micros_a_day + 1)


# The hash

OTHER_RULES: dict[str, dict[str, Any]] = {
    "the days of a category": {"policy": edit(POLICY, "complete = 2", "complete = 3")},
    "reply_completes": {"policy": POLICY + "reply_completes = true\n"},
    "another category": {"policy": POLICY + CATEGORY.replace(".a]", ".b]")},
    "the cutoff": {"policy": head('cutoff = "17:30"')},
    "office hours": {"policy": head('office_hours = ["08:30-12:00"]')},
    "other office hours": {"policy": head('office_hours = ["08:30-12:01"]')},
    "max_extensions": {"policy": head("max_extensions = 2")},
    "max_extension_days": {"policy": head("max_extension_days = 11")},
    "max_suspensions": {"policy": head("max_suspensions = 3")},
    "the rungs": {"policy": head("alerts = {escalate_after = [1, 4]}")},
    "the day from which a policy holds": {"policy": LATER},
    "a second version": {"policy": POLICY + LATER},
    "a notice": {"calendar": NOTICE},
    "a day off in a notice": {"calendar": edit(NOTICE, "2027-02-08", "2027-02-09")},
    "a worked day in a notice": {"calendar": edit(NOTICE, "2027-02-20", "2027-02-21")},
    "a local day": {"calendar": LOCAL},
    "a local day of another county": {"calendar": edit(LOCAL, '"gengma"', '"municipal"')},
    "another local day": {"calendar": edit(LOCAL, "04-15", "04-16")},
    "the county of a platform": {"registry": edit(REGISTRY, '"municipal"', '"city"')},
    "another platform": {"registry": REGISTRY + ANOTHER_PLATFORM},
}


def test_every_change_of_the_rules_changes_the_hash() -> None:
    hashes = {"nothing": rules().hash} | {what: rules(**files).hash for what, files in OTHER_RULES.items()}
    same = {what: [other for other in hashes if hashes[other] == hashes[what] and other != what] for what in hashes}
    assert {what: others for what, others in same.items() if others} == {}


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"registry": "# 平台\n\n" + REGISTRY.replace(" = ", "=") + "\n"},
        {"policy": "# 规则\n" + POLICY.replace(" = ", "   =   ").replace("\n", "  # 注\n")},
        {"policy": HEAD + "categories = {a = {complete = 2, reply = 1, source = '试行办法', name = '甲'}}"},
        {"policy": head('cutoff = "24:00"\nmax_extensions = 1\nalerts = {morning = "09:00"}')},
        {"calendar": "# 日历\n\n"},
        {"registry": edit(REGISTRY, '"临沧市"', '"某市"')},
    ],
    ids=[
        "equal input",
        "comments of platforms",
        "comments of policy",
        "another way to write it",
        "defaults written out",
        "comments of calendar",
        "the name of the city",
    ],
)
def test_what_changes_no_rule_leaves_the_hash_unchanged(files: dict[str, str]) -> None:
    assert rules(**files).hash == rules().hash


def test_comments_and_the_order_in_which_a_notice_lists_its_days_leave_the_hash_unchanged() -> None:
    reordered = edit(NOTICE, '"2027-01-01", "2027-02-08"', '\n  "2027-02-08",  # 春节\n  "2027-01-01",\n')
    assert rules(calendar=reordered).hash == rules(calendar=NOTICE).hash


def test_the_order_of_categories_leaves_the_hash_unchanged() -> None:
    other = CATEGORY.replace(".a]", ".b]")
    assert rules(policy=HEAD + other + CATEGORY).hash == rules(policy=HEAD + CATEGORY + other).hash


def test_the_hash_is_sixteen_hexadecimal_digits() -> None:
    assert len(SHIPPED.hash) == 16
    assert set(SHIPPED.hash) <= set("0123456789abcdef")


def test_another_process_with_another_hash_seed_computes_the_same_hash() -> None:
    script = "from shared.deployment import load_ruleset; print(load_ruleset().hash)"
    root = Path(__file__).parents[2]
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout.strip() == SHIPPED.hash
