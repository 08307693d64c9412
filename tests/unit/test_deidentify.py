"""What the first de-identifier masks and what it leaves alone. All persons and numbers are made up."""

import re
from datetime import date

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from stdnum.cn import ric

from services.ingest.deidentify import deidentify, mask_known

ZERO_WIDTH = "\u200b"
WIDE = str.maketrans("0123456789", "０１２３４５６７８９")
NARROW = str.maketrans("０１２３４５６７８９", "0123456789")

MASKED = [
    # mobiles
    ("请打13812345678找我，晚上都在。", "请打[手机号]找我，晚上都在。"),
    ("张三13812345678李四13912345678", "张三[手机号]李四[手机号]"),
    ("138-1234-5678、138 1234 5678、138.1234.5678", "[手机号]、[手机号]、[手机号]"),
    ("1381234 5678和138－1234－5678和138·1234·5678", "[手机号]和[手机号]和[手机号]"),
    ("+86 13812345678，86-13812345678，008613812345678", "[手机号]，[手机号]，[手机号]"),
    ("（+86）13812345678，013812345678", "（+86）[手机号]，[手机号]"),
    ("手机１３８１２３４５６７８，１３８　１２３４　５６７８", "手机[手机号]，[手机号]"),
    (f"1{ZERO_WIDTH}3{ZERO_WIDTH}8{ZERO_WIDTH}12345678", "[手机号]"),
    ("1 3 8 1 2 3 4 5 6 7 8", "[手机号]"),
    ("微信同号wx13812345678abc", "微信同号wx[手机号]abc"),
    ("工行 2022-03-01 13812345678", "工行 2022-03-01 [手机号]"),
    ("邮编310000 13812345678 12345", "邮编310000 [手机号] 12345"),
    # other phones
    ("电话0571-87654321转8001，(0571)87654321", "电话[电话]转8001，[电话]"),
    ("（010）6234 5678，010-62345678，02162345678", "[电话]，[电话]，[电话]"),
    ("０５７１－８７６５４３２１", "[电话]"),
    ("+86 571 8765 4321，+852 2345 6789", "[电话]，[电话]"),
    ("物业400-820-8820没人接", "物业[电话]没人接"),
    ("座机：87654321，传真 8765432，电话号码是8765 4321", "座机：[电话]，传真 [电话]，电话号码是[电话]"),
    ("联系电话：57187654321", "联系电话：[电话]"),
    # resident IDs
    ("本人身份证110101199003076632，请核实", "本人身份证[身份证号]，请核实"),
    ("11010119900307663X和11010119900307663x和11010119900307663×", "[身份证号]和[身份证号]和[身份证号]"),
    ("校验位不对：110101199003076630", "校验位不对：[身份证号]"),
    ("110101 19900307 663X，110101-1990-03-07-6632", "[身份证号]，[身份证号]"),
    ("１１０１０１１９９００３０７６６３Ｘ", "[身份证号]"),
    ("旧证110101900307663，110101 900307 663", "旧证[身份证号]，[身份证号]"),
    ("身份证号码：110101199013076631", "身份证号码：[身份证号]"),  # month 13, yet called an ID
    ("身份证号：11010119900307663-X", "身份证号：[身份证号]"),
    ("银行要我的身份证110101199003076632", "银行要我的身份证[身份证号]"),
    # bank cards
    ("工资卡6222021001116245702被扣", "工资卡[银行卡号]被扣"),
    ("4111 1111 1111 1111 与 4111-1111-1111-1111", "[银行卡号] 与 [银行卡号]"),
    ("622202 1001116245702", "[银行卡号]"),
    ("4111 1111 1111 1111 35号楼", "[银行卡号] 35号楼"),
    ("2022 4111 1111 1111 1111", "2022 [银行卡号]"),
    ("卡号４１１１　１１１１　１１１１　１１１２", "卡号[银行卡号]"),  # fails Luhn
    ("工行账户：1234567890123456", "工行账户：[银行卡号]"),
    ("建行6217 0015 4000 1234 567", "建行[银行卡号]"),
    ("银行卡号4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 2", "银行卡号[银行卡号]"),
    # e-mail
    ("邮箱zhang.san+bm@example.com.cn。", "邮箱[邮箱]。"),
    ("发到ｚｈａｎｇ＠ｅｘａｍｐｌｅ．ｃｏｍ，谢谢", "发到[邮箱]，谢谢"),
    ("13812345678@example.com，zhang @ example.com", "[邮箱]，[邮箱]"),
    ("a@example.com-b@example.org", "[邮箱]@example.org"),
    # together
    (
        "我叫张三，电话13812345678，身份证110101199003076632，卡4111111111111111，z@example.com。",
        "我叫张三，电话[手机号]，身份证[身份证号]，卡[银行卡号]，[邮箱]。",
    ),
]

LEFT_ALONE = [
    "",
    "楼下的路灯坏了三个月没有人修，请有关部门尽快处理。",
    "2022-03-01 10:20:30 停水，2022/03/01，2022.3.1-2022.5.1，2022年03月01日08时30分00秒",
    "20220301-20220305期间",
    "押金15000元，3500 4500 15000 2300，电费1280.50元，100000000元",
    "杭政函〔2022〕49号，浙政信〔2022〕1234567号",
    "留言zk-000123和zk-0001234567",
    "打了12345、110、12315、95588都没用，0571-12345、021-12345、010-95588也一样",
    "邮编310000，310012",
    "浙A12345、浙A·D12345、K123路、3号线、B支7路",
    "3幢2单元1801室，经纬度30.274089 120.155069",
    "订单号2022030112、202203011234、20220301123456、20220301123456789012",
    "订单号1234567890123456",  # 16 digits, fails Luhn, no bank word
    "快递单号SF1234567890123，时间戳1646092800000",
    "统一社会信用代码91330100MA27XYZ123",
    "@社区工作人员，微博@西湖发布",
    "已脱敏：[手机号]、[银行卡号] 1234567890123456",
    "\ud800孤立代理\0",
]


@pytest.mark.parametrize(("text", "expected"), MASKED)
def test_masked(text: str, expected: str) -> None:
    assert deidentify(text) == expected
    assert deidentify(expected) == expected


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_left_alone(text: str) -> None:
    assert deidentify(text) == text


def test_text_without_candidates_is_the_same_object() -> None:
    text = "小区2022年3月1日停电，损失15000元，已打12345。" * 5
    assert deidentify(text) is text


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        ("我叫张三，住在西湖区", {"张三": "[姓名]"}, "我叫[姓名]，住在西湖区"),
        ("张三丰和张三", {"张三": "[姓名]", "张三丰": "[联系人]"}, "[联系人]和[姓名]"),
        ("张先生", {"张": "[姓名]", "": "[姓名]", "  ": "[姓名]"}, "张先生"),
        ("[姓名]的姓名是李四", {"李四": "[姓名]", "姓名": "[标签]"}, "[姓名]的[标签]是[姓名]"),
        ("a.b axb", {"a.b": r"\1"}, r"\1 axb"),
        ("没有出现", {"张三": "[姓名]"}, "没有出现"),
    ],
)
def test_known_values(text: str, known: dict[str, str], expected: str) -> None:
    assert mask_known(text, known) == expected


@pytest.mark.parametrize(
    "piece",
    ["1", "1 ", "1\u200b", "4111 ", "4111 1111 1111 1112 ", "0571-8765432 ", "1234567 ", "86 86 ", "(0571)",
     "a@", "a@b.", "a.", "@", "卡号1 ", "身份证11010119900307663 ", "110101 1990 ", "1" + "\u200b" * 50],
)  # fmt: skip
def test_hostile_text(piece: str) -> None:
    masked = deidentify(piece * (60_000 // len(piece)))
    assert deidentify(masked) == masked


# Pieces that meet often enough to form, break and join numbers; and any text at all.
_pieces = st.sampled_from(
    [*"0123456789８", *" -.－　@＠Xx\n(+元年，", ZERO_WIDTH, "138", "1234", "5678", "13812345678", "0571",
     "87654321", "110101", "19900307", "6632", "110101900307663", "4111", "4111111111111111", "2022-03-01",
     "+86", "卡号", "电话", "身份证", "a@b.com", "[电话]", "[银行卡号]"]
)  # fmt: skip
texts = st.one_of(st.lists(_pieces, max_size=30).map("".join), st.text(max_size=60))
separators = st.sampled_from(["", "", "", " ", "-", ".", "－", "　", ZERO_WIDTH, " - "])
words = st.text(alphabet="我的电话住址卡号是，。：路人ab\n", max_size=8)


@st.composite
def written(draw: st.DrawFn, number: str) -> str:
    gaps = draw(st.lists(separators, min_size=len(number) - 1, max_size=len(number) - 1))
    plain = "".join(digit + gap for digit, gap in zip(number, [*gaps, ""], strict=True))
    return plain.translate(WIDE) if draw(st.booleans()) else plain


def is_resident_id(number: str) -> bool:
    try:
        return ric.is_valid(number)
    except KeyError:  # stdnum, for an unknown county of a known province
        return False


mobiles = st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True)
resident_ids = st.builds(
    "{}{:%Y%m%d}{:03}".format,
    st.sampled_from(["110101", "330106", "440305", "510107", "650102", "820000"]),
    st.dates(date(1900, 1, 1), date(2049, 12, 31)),
    st.integers(0, 999),
).map(lambda base: base + ric.calc_check_digit(base + "0"))


@settings(max_examples=250, deadline=None)
@given(texts)
def test_idempotent_and_nothing_plain_survives(text: str) -> None:
    masked = deidentify(text)
    assert deidentify(masked) == masked
    narrow = masked.translate(NARROW)
    assert not re.search(r"(?<![0-9])1[3-9][0-9]{9}(?![0-9])", narrow)
    assert not any(map(is_resident_id, re.findall(r"(?<![0-9])[0-9]{17}[0-9Xx](?![0-9])", narrow)))


@settings(max_examples=150, deadline=None)
@given(words, mobiles.flatmap(written), words)
def test_no_mobile_survives(before: str, mobile: str, after: str) -> None:
    assume(not re.match(r"[1１][9９]\d\d[-.－]", mobile))  # may be a date: 1990-03-01 123
    assert deidentify(before + mobile + after) == f"{before}[手机号]{after}"


@settings(max_examples=150, deadline=None)
@given(words, resident_ids.flatmap(written), words)
def test_no_resident_id_survives(before: str, resident_id: str, after: str) -> None:
    assert deidentify(before + resident_id + after) == f"{before}[身份证号]{after}"
