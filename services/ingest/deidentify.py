"""First de-identifier for free text (title, content, notes), applied before anything is stored.

The caller may assume of `deidentify`: pure, deterministic, never raises, idempotent, linear time; findings
become typed tokens, all else stays; a text without '@' or seven digits in a row comes back as the same
object. Up to four separators (space, hyphen, dot; full-width too) or zero-width characters between digits
are seen through. Doubt means masking: a wrong ID checksum, any 15-19 digits after a card or ID word.

NOT found: names (see `mask_known`), addresses, plates, passports and permits, WeChat and QQ numbers;
numbers in Chinese numerals or other scripts' digits, broken over lines or grown together with other
digits; a mobile written like a date (1990-03-01 123); without a word such as 电话 or 卡号 before it: a
local number lacking its area code, ten digits lacking the leading 0, a mistyped bank card, a card in
groups of fewer than four. Masked wrongly at times: order numbers that pass Luhn (one in ten of 16-19
digits) or look like an ID; amounts or a dotted address like a mobile (1500 2000 300, 192.168.100.15).
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from phonenumbers import PhoneNumberMatcher
from stdnum import luhn
from stdnum.cn import ric

MOBILE, PHONE, RESIDENT_ID, CARD, EMAIL = "[手机号]", "[电话]", "[身份证号]", "[银行卡号]", "[邮箱]"
_Span = tuple[int, int, str]

# What may stand inside a number, as written: the gate runs before folding and needs all of it.
_ZW = r"\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\u20e3\ufe00-\ufe0f\ufeff"
_SPACES = r"\t \u00a0\u2000-\u200a\u202f\u205f\u3000"
_DASH = r"\-\u2010-\u2015\u2212\u30fc\ufe63\uff0d"
_DOTS = r".\u00b7\u2022\uff0e"
# Explicit digits instead of \d: re then scans by one character map, about twice as fast.
_GATE = re.compile(rf"[0-9０-９@＠](?:(?<=[@＠])|(?:[{_ZW}{_SPACES}{_DASH}{_DOTS}]{{0,4}}+[0-9０-９]){{6}})")
# One character to one character, so that offsets in the folded copy hold in the original.
_FOLD = {cp: cp - 0xFEE0 for cp in range(0xFF01, 0xFF5F)}  # full-width ASCII
for _plain, _raw in (("\u200b", _ZW), (" ", _SPACES), ("-", _DASH), (".", _DOTS), ("X", "×Хх")):
    _FOLD |= {ord(c): ord(_plain) for c in re.findall(f"[{_raw}]", "".join(map(chr, range(0x10000))))}


def _pattern(short: str) -> re.Pattern[str]:
    """Shorthand: # a digit, _ what may stand between digits, ~ only zero-width, $ no digit follows.

    Repeats are possessive or bounded: no input makes them backtrack. Numbers are bounded by the next
    character only, so masking a neighbour changes nothing: that makes masking idempotent.
    """
    gaps = short.replace("_", r"[ .\u200b-]{0,4}+").replace("~", r"\u200b{0,4}+")
    return re.compile(gaps.replace("$", "(?!#)").replace("#", "[0-9]"))


_REGION = "(?:1~[1-5]|2~[1-3]|3~[1-7]|4~[1-6]|5~[0-4]|6~[1-5]|7~1|8~[1-3]|9~1)~#~#~#~#"
_BORN = "_(?:0~[1-9]|1~[0-2])_(?:0~[1-9]|[12]~#|3~[01])_"
_ID18 = f"{_REGION}_(?:1~[89]|2~0)~#~#{_BORN}#~#~#_(?:[Xx]|#$)".replace("~", "_")
_ID15 = f"{_REGION}_#~#{_BORN}#~#~#$"  # proves less, so separators only between its fields
_CELL = r"(?:(?:\+|0_0_)?8_6_|0~)?1_[3-9](?:_#){9}$"
_AREA = "(?:1~0|2~#|[3-9]~#~#)"
_LINE = rf"(?:(?:\+|0~0_)?8~6_(?:0~)?{_AREA}|0~{_AREA}|\(0~{_AREA}\))_[2-9](?:~#){{2,3}}_#~#~#~#$"
_LOCAL = "(?!(?:19|20)##[01]#[0-3]#$)[2-8]~#~#(?:~#_#~#~#~#|_#~#~#~#(?!_#))(?!#|_[元万])"
_LONG = f"{_ID18}|{_ID15}|#(?:~#){{14,18}}(?:[Xx]|$)|#(?:_#){{13,17}}_(?:[Xx]|#$)"
_GROUPED = "[3-9](?:~#){3,12}+(?:[ .-]_#(?:~#){3,12}+){1,3}(?:[ .-]_#(?:~#){0,2}+)?$"
_BANK = "卡号|[账帐][号户]|银行|银联|储蓄卡|信用卡|借记卡|[工农建中交招]行|邮储|信用社"
_CALL = "电话|座机|固话|致电|传真|联系|[Tt][Ee][Ll]|[Pp]hone"
_NEAR = r"[^0-9\0\n]{0,8}"
_MAIN = _pattern(  # a word is matched with its number, as lookbehinds have fixed width; a phone stays one
    rf"(?:{_BANK}){_NEAR}(?!{_CELL}|{_LINE})(?P<bank>{_LONG})"
    rf"|(?:身份证|证件号){_NEAR}(?!{_CELL}|{_LINE})(?P<doc>{_LONG})"
    rf"|(?:{_CALL})[号码为是:( ]{{0,5}}(?P<local>{_LOCAL})"
    rf"|(?<!#)(?:(?P<id>{_ID18}|{_ID15})|(?P<cell>{_CELL})|(?P<line>{_LINE})"
    rf"|(?P<card>#(?:~#){{14,18}}$)|(?P<grouped>{_GROUPED}))"
)
_TOKEN = {"id": RESIDENT_ID, "doc": RESIDENT_ID, "bank": CARD, "cell": MOBILE, "line": PHONE, "local": PHONE}
_ID = _pattern(f"{_ID18}|{_ID15}")
_REST = re.compile(r"[+(]?[0-9](?:[ .()/+\u200b-]{0,4}+[0-9]){6,}+")
_CALL_BEFORE = re.compile(rf"(?:{_CALL}){_NEAR}\Z")
_DATE = "(?:19|20)[0-9]{2}[-./](?:0?[1-9]|1[0-2])[-./](?:0?[1-9]|[12][0-9]|3[01])"
# Tokens and dates; no date after a digit and separators, as in the middle of 110101-1990-03-07-663X.
_FREE = "".join(rf"(?<![0-9][ .\u200b-]{{{gap}}})" for gap in range(5))
_DATES = rf"{_FREE}{_DATE}(?:[ .~-]{{1,3}}{_DATE})*(?![0-9])"
_SETTLED = re.compile(rf"\[(?:手机号|电话|身份证号|银行卡号|邮箱)]|{_DATES}")
_LABEL = r"[A-Za-z0-9](?:[\u200b-]*+[A-Za-z0-9])*+"
_MAIL = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z0-9]++[A-Za-z0-9_.%+\u200b-]{0,63}+ ?@[ \u200b]{0,4}+"
    rf"{_LABEL}(?:\u200b*+\.\u200b*+{_LABEL})++"
)
# Work allowed to validators per text, far above any message; past it, candidates are masked unseen.
_MAX_LUHN_FAILURES, _MAX_PHONE_CHARS = 2_000, 8_000


def _put(text: str, spans: Iterable[_Span]) -> str:
    parts, at = [""], 0
    for start, end, token in spans:
        parts += text[at:start], token
        at = end
    return "".join(parts) + text[at:]


def _judge(written: str, default: str) -> str:
    """Token for a long number; `default` if neither the form of an ID nor the Luhn sum decides."""
    number = re.sub("[^0-9X]", "", written.upper())
    # Not ric.is_valid: it reads a file, and a mistyped ID is an ID. The checksum only outweighs a bank word.
    if _ID.fullmatch(number) and (default != CARD or number[17:] == ric.calc_check_digit(number)):
        return RESIDENT_ID
    sized = 16 <= len(number) <= 19 or (len(number) == 15 and number[:2] in ("34", "37"))
    return CARD if sized and luhn.is_valid(number) else default


def _numbers(work: str) -> Iterator[_Span]:
    failures = at = 0
    while match := _MAIN.search(work, at):
        kind = match.lastgroup or ""
        written, token = match[kind], _TOKEN.get(kind, "")
        start, at = match.span(kind)
        if kind in ("bank", "doc"):
            token = _judge(written, token)
        elif not token and failures < _MAX_LUHN_FAILURES:
            # The longest row of whole groups: an unrelated number may follow the card.
            ends = [group.end() for group in re.finditer("[0-9](?:\u200b*[0-9])*", written)]
            at = next((start + end for end in reversed(ends) if _judge(written[:end], "")), 0)
            if not at:
                failures, at = failures + 1, start + 1
                continue
        yield start, at, token or CARD


def _phones(work: str) -> Iterator[_Span]:
    budget = _MAX_PHONE_CHARS
    for rest in _REST.finditer(work):
        start, end = rest.span()
        if end - start > 17 and rest[0].isdigit():
            continue  # no phone number, only slow
        budget -= end - start
        if budget < 0:
            yield start, end, PHONE
            continue
        base = max(start - 1, 0)  # the matcher judges by the neighbours too
        for found in PhoneNumberMatcher(work[base : end + 1], "CN"):
            first, last = base + found.start, base + found.end
            # To the matcher, 4 of 10 bare ten-digit order numbers lack but the 0; 021-12345 is a phone.
            bare = work[first:last].isdigit() and not work.startswith(("0", "400", "800"), first)
            hotline = found.number.country_code == 86 and (found.number.national_number or 0) < 10**9
            if not hotline and (not bare or _CALL_BEFORE.search(work, max(first - 16, 0), first)):
                yield first, last, PHONE


def _once(text: str) -> str:
    work = text.translate(_FOLD)
    spans = new = [(*mail.span(), EMAIL) for mail in _MAIL.finditer(work)] if "@" in work else []
    for find in (_numbers, _phones):
        work = _put(work, ((start, end, "\0" * (end - start)) for start, end, _ in new))
        new = list(find(_SETTLED.sub(lambda match: "\0" * len(match[0]), work)))
        spans = spans + new
    return _put(text, sorted(spans)) if spans else text


def deidentify(text: str) -> str:
    """`text` with every finding replaced by its token."""
    for _ in range(4):  # normally one: the matcher may see more once its first finding is gone
        if not _GATE.search(text) or (masked := _once(text)) is text:
            break
        text = masked
    return text


def mask_known(text: str, known: Mapping[str, str]) -> str:
    """`text` with exact occurrences of known values (value -> token) replaced, the longest first."""
    present = sorted((v for v in known if len(v.strip()) > 1 and v in text), key=len, reverse=True)
    if not present:
        return text  # before compiling: the values differ for every message
    # One pass in which tokens stand for themselves, so that no value is found inside a token.
    whole = [re.escape(token) for token in (*_TOKEN.values(), EMAIL, *known.values()) if token]
    pattern = f"({'|'.join(whole)})|{'|'.join(map(re.escape, present))}"
    return re.sub(pattern, lambda match: match[1] or known[match[0]], text)
