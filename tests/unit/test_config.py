"""The deployment's files: what is shipped, what is read, and the hash of the rules that they make.

Covers shared/config/, shared/deployment.py, shared/policy.py, shared/registry.py and shared/rules.py.
"""

import os
import subprocess
import sys
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
from tests.configtexts import (
    ANOTHER_PLATFORM,
    CATEGORY,
    HEAD,
    HOURS_POLICY,
    KEYWORDS,
    LATER,
    LOCAL,
    NOTICE,
    POLICY,
    REGISTRY,
    edit,
    head,
)

SHIPPED = load_ruleset()

# Slug, name, county slug, county, GB/T 2260.
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

# Slug, name, reply, complete, whether a final reply also completes.
CATEGORIES = [
    ("simple_inquiry", "简单咨询", 1, 1, True),
    ("correction", "纠错", 3, 3, True),
    ("inquiry", "一般咨询", 5, 5, True),
    ("suggestion", "意见建议", 5, 10, False),
    ("help", "求助", 5, 10, False),
    ("complaint", "投诉举报", 5, 15, False),
]


def rules(registry: str = REGISTRY, policy: str = POLICY, calendar: str = "") -> Ruleset:
    platforms = parse_registry(registry)
    return Ruleset(platforms, parse_policy(policy), parse_calendar(calendar, platforms))


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
        edit(edit(HOURS_POLICY, "= 2", "= 0.01"), "3.5", "1750"),
        POLICY + 'keywords = ["路灯", "路灯"]',
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


@pytest.mark.parametrize("year", [2001, 2059])
def test_the_first_and_the_last_year_of_the_calendar_may_have_notices_and_local_days(year: int) -> None:
    text = edit(NOTICE.replace("2027", str(year)), f"{year}-01-01", f"{year}-01-02")
    text += edit(LOCAL, "2026-04-15", f"{year}-01-01") + edit(LOCAL, "2026-04-15", f"{year}-12-31")
    calendars = parse_calendar(text, SHIPPED.registry)
    assert calendars.national.day(date(year, 2, 20)).working
    assert calendars.of("gengma").day(date(year, 12, 31)).reason == "泼水节"


def test_two_counties_may_have_a_local_day_on_the_same_date() -> None:
    calendars = parse_calendar(LOCAL + edit(LOCAL, '"gengma"', '"cangyuan"'), SHIPPED.registry)
    assert not calendars.of("gengma").is_working(date(2026, 4, 15))
    assert not calendars.of("cangyuan").is_working(date(2026, 4, 15))


def test_a_keyword_may_go_to_another_category_in_a_later_version() -> None:
    later = LATER.replace("categories.a", "categories.b").replace('"a"', '"b"')
    policies = parse_policy(POLICY + KEYWORDS + later + KEYWORDS)
    assert [p.categories[p.default_category].keywords for p in policies.versions] == [("路灯", "井盖")] * 2


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


def test_a_calendar_that_is_wrong_in_itself_is_told_together_with_its_platforms(tmp_path: Path) -> None:
    platforms, calendar = write(tmp_path / "p.toml", ""), write(tmp_path / "c.toml", "x")
    with pytest.raises(ConfigError) as caught:
        load_ruleset(platforms, None, calendar)
    assert [line.partition("：")[0] for line in str(caught.value).splitlines()] == [str(platforms), str(calendar)]


def test_the_counties_of_a_calendar_are_not_judged_without_its_platforms(tmp_path: Path) -> None:
    platforms, calendar = write(tmp_path / "p.toml", ""), write(tmp_path / "c.toml", LOCAL)
    with pytest.raises(ConfigError) as caught:
        load_ruleset(platforms, None, calendar)
    assert str(caught.value) == f"{platforms}：city：应为非空文字，没有写"


def test_a_file_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path) -> None:
    gbk = tmp_path / "gbk.toml"
    gbk.write_bytes(REGISTRY.encode("gbk"))
    unreadable = {
        tmp_path / "missing.toml": "没有这个文件，请核对路径",
        tmp_path: "这是一个目录，请写文件的路径",
        gbk / "p.toml": "路径中有一段不是目录，请核对路径",
        gbk: "不是 UTF-8 编码，请另存为 UTF-8",
        tmp_path / ("x" * 300): "系统打不开它，请核对路径",
    }
    for path, reason in unreadable.items():
        with pytest.raises(ConfigError) as caught:
            load_ruleset(platforms=path)
        assert str(caught.value) == f"{path}：读不出来：{reason}"


@pytest.mark.parametrize("name", ["a\nb.toml", "a\0b.toml"])
def test_a_path_that_cannot_be_printed_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_ruleset(platforms=tmp_path / name)
    assert str(caught.value).startswith(f"{str(tmp_path / name)!r}：读不出来：")
    assert str(caught.value).isprintable()


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
    "another category": {"policy": POLICY + CATEGORY.replace(".a]", ".b]").replace("甲", "乙")},
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
    "the source of a notice": {"calendar": edit(NOTICE, "0号", "1号")},
    "a local day": {"calendar": LOCAL},
    "the name of a local day": {"calendar": edit(LOCAL, "泼水节", "泼水节（补）")},
    "the source of a local day": {"calendar": edit(LOCAL, "县政府办通知", "县政府通知")},
    "a local day that is worked": {"calendar": edit(LOCAL, "rest", "work")},
    "hours instead of days": {"policy": HOURS_POLICY},
    "the hours of a category": {"policy": edit(HOURS_POLICY, "3.5", "3.6")},
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
    other = CATEGORY.replace(".a]", ".b]").replace("甲", "乙")
    assert rules(policy=HEAD + other + CATEGORY).hash == rules(policy=HEAD + CATEGORY + other).hash


def test_whole_hours_leave_the_hash_unchanged_however_they_are_written() -> None:
    written = [edit(HOURS_POLICY, "= 2", f"= {hours}") for hours in ("2", "2.0", "2e0", "0x2")]
    assert len({rules(policy=text).hash for text in written}) == 1
    (policy,) = parse_policy(HOURS_POLICY).versions
    assert type(policy.categories["a"].reply.amount) is float
    assert type(parse_policy(POLICY).versions[0].categories["a"].reply.amount) is int


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
