"""The bulletin's sentence: correct Chinese for none, one and several overdue platforms, and for every kind of period."""

import json
from pathlib import Path

import pytest

from services.alerts.bulletin import bulletin
from shared.figures import Figures, Period, Standing, tabulate
from shared.rules import Ruleset

PUBLISHED = json.loads((Path(__file__).parent.parent / "acceptance" / "q1-2022.json").read_text(encoding="utf-8"))
NONE = "、".join(
    f"{name}0条"
    for name in [
        "市政府",
        "市公安局",
        "临翔区",
        "云县",
        "凤庆县",
        "永德县",
        "镇康县",
        "耿马自治县",
        "沧源自治县",
        "双江自治县",
    ]
)


def figures(rules: Ruleset, **cases: tuple[int, int, int]) -> Figures:
    """platform=(closed, overdue, rejected)."""
    standings = {
        Standing(platform, "2022-02", "help", outcome, outcome == "overdue", False, "on_time", False): number
        for platform, numbers in cases.items()
        for outcome, number in zip(("on_time", "overdue", "rejected"), numbers, strict=True)
    }
    return tabulate(standings, rules.registry, ["2022-02"])


def test_the_published_sentence_to_the_letter(rules: Ruleset) -> None:
    overdue = PUBLISHED["overdue"]
    cases = {p: (n - overdue.get(p, 0), overdue.get(p, 0), 0) for p, n in PUBLISHED["received"].items()}
    assert bulletin(Period.parse("2022Q1"), figures(rules, **cases)) == PUBLISHED["sentence"]


@pytest.mark.parametrize(
    ("text", "title"),
    [("2022-02", "2022年2月"), ("2022-12", "2022年12月"), ("2022Q1", "2022年第一季度"), ("2022Q4", "2022年第四季度"), ("2022", "2022年")],
)  # fmt: skip
def test_the_period_is_named_as_people_do(text: str, title: str, rules: Ruleset) -> None:
    assert f"专栏共10个，{title}共接到网民留言1条，其中：" in bulletin(
        Period.parse(text), figures(rules, yunxian=(1, 0, 0))
    )


def test_nothing_overdue(rules: Ruleset) -> None:
    told = bulletin(Period.parse("2022-02"), figures(rules, lincang=(3, 0, 0), yunxian=(1, 0, 0)))
    assert told == (
        "全市开设网民留言平台的政府网站和专栏共10个，2022年2月共接到网民留言4条，其中：市政府3条、市公安局0条、临翔区0条、云县1条、"
        "凤庆县0条、永德县0条、镇康县0条、耿马自治县0条、沧源自治县0条、双江自治县0条。通过监测，无逾期未办结留言，办结率为100.00%。"
    )


def test_several_overdue_in_the_order_of_the_registry(rules: Ruleset) -> None:
    told = bulletin(
        Period.parse("2022-02"), figures(rules, shuangjiang=(0, 1, 0), lincang=(2, 2, 0), yunxian=(1, 0, 0))
    )
    assert told.endswith("。通过监测，市政府逾期未办结留言2条、双江自治县逾期未办结留言1条，办结率为50.00%。")


def test_everything_overdue(rules: Ruleset) -> None:
    told = bulletin(Period.parse("2022-02"), figures(rules, lincang=(0, 2, 0)))
    assert told.endswith("。通过监测，市政府逾期未办结留言2条，办结率为0.00%。")


def test_no_messages_at_all(rules: Ruleset) -> None:
    told = bulletin(Period.parse("2022-02"), figures(rules))
    assert told == (
        f"全市开设网民留言平台的政府网站和专栏共10个，2022年2月共接到网民留言0条，其中：{NONE}。通过监测，无应办留言。"
    )


def test_only_rejected_messages_have_no_rate(rules: Ruleset) -> None:
    told = bulletin(Period.parse("2022-02"), figures(rules, lincang=(0, 0, 2)))
    assert "共接到网民留言2条" in told
    assert told.endswith("。通过监测，无应办留言。")
    assert "None" not in told
