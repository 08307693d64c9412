"""The door: from one JSON value to a settled event, or the reason why it is refused (pure).

Settled means: the time at +08:00, the sequence canonical, the category of a reception decided, contact fields gone and texts
de-identified. The stored event says all of it, so that nothing behind the door depends on how it was decided.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from services.ingest.classify import classify
from services.ingest.deidentify import deidentify, mask_known
from services.ingest.refusals import Refusal, RefusalReason, RefusedError
from shared.events import EVENT_TYPES, SOURCE_PREFIX, BaseEvent, Event, Recategorized, Received, Tally
from shared.rules import Ruleset
from shared.times import FIRST_YEAR, LAST_YEAR, InstantError, parse_instant

_PATH = re.compile(r" - at `\$(.*)`$")
_MISSING = re.compile(r"missing required field `(\w+)`")
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
_JSON_TYPE = re.compile(r"(application/json|[\w.-]+/[\w.-]+\+json)\s*(;|$)", re.IGNORECASE)
_CONTROLS = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_ONE_LINE = re.compile("[\x01-\x20\x7f-\xa0\u2028\u2029]+")
_SINGLE_LINE = frozenset({"title", "to"})
MAX_CONTACT, MAX_CONTACT_VALUE = 20, 200  # each value is looked for in the texts
SHORTEST_NAME, SHORTEST_CONTACT = (
    2,
    4,
)  # characters: 王明 is a name, but a two-character "contact" would garble the texts
_TEXT_MEMBERS = ("title", "content", "reason", "note", "approved_by", "to")

REQUIREMENTS: Mapping[str, str] = {
    "": "应为一个 CloudEvents 1.0 的 JSON 对象",
    "/specversion": '应为 "1.0"',
    "/id": "应为 1–128 个可见字符，在本平台内唯一",
    "/source": '应为 "/platforms/<平台标识>"',
    "/type": '应为约定的事件类型，如 "liuyan.message.received.v1"',
    "/subject": "应为留言编号：1–64 个 A-Z a-z 0-9 . _ : -",
    "/time": '应为带时区的 RFC 3339 时间，如 "2022-03-01T09:12:00+08:00"',
    "/sequence": '应为写成字符串的整数，如 "1"',
    "/datacontenttype": '应为 "application/json"，或不写',
    "/data_base64": "不能使用，请把内容写成 JSON 对象 data",
    "/data": "应为 JSON 对象",
    "/data/category": '应为类别标识，如 "simple_inquiry"',
    "/data/title": "应为字符串",
    "/data/content": "应为字符串",
    "/data/contact": '应为 JSON 对象（最多 20 项，每项最多 200 字），如 {"name": …, "phone": …}',
    "/data/to": "应为 1–64 个字符的平台标识或单位名称",
    "/data/working_days": "应为 1–10000 的整数（工作日）",
    "/data/interim": "应为 true 或 false",
    "/data/score": "应为 1–5 的整数",
    "/data/reason": "应为字符串（不予受理时为 1–64 个字符的原因代码，必填）",
    "/data/note": "应为字符串",
    "/data/approved_by": "应为字符串",
    "/data/date": '应为日期，如 "2022-03-31"',
    "/data/received": "应为 0 以上的整数",
}
"""What each field has to be, for messages and for the API reference."""


class Door:
    """Settles events under a ruleset. Holds no state."""

    def __init__(self, rules: Ruleset) -> None:
        self._rules = rules

    def settle(self, value: object, platform: str | None = None) -> Event | Refusal:
        """The settled event. `platform`: the only one whose events are taken (that of the key); None takes any known."""
        try:
            return self._settle(value, platform)
        except RefusedError as refused:
            return refused.refusal

    def _settle(self, value: object, platform: str | None) -> Event:
        if not isinstance(value, dict):
            raise _invalid("")
        members: dict[str, Any] = {**value}
        self._check_source(members.get("source"), platform)
        _check_encoding(members)
        kind = _event_type(members.get("type"))
        members["time"] = _instant(members.get("time"))
        identifier = members.get("id")
        if isinstance(identifier, str) and not identifier.isprintable():
            raise _invalid("/id")
        data = members.get("data")
        data = {} if data is None else data
        if not isinstance(data, dict):
            raise _invalid("/data")
        members["data"] = self._settle_data(kind, data, members["time"].date())
        if kind.name == "tally" and members.get("subject") is None:
            members.pop("subject", None)
        try:
            event: Event = msgspec.convert(members, kind)  # type: ignore[assignment]
        except msgspec.ValidationError as error:
            raise _invalid(_pointer(str(error))) from error
        except UnicodeEncodeError as error:  # msgspec met a lone surrogate, in a name or where no text belongs
            raise RefusedError(RefusalReason.INVALID_TEXT, "", "含有不成对的代理字符，请核对编码") from error
        return self._settle_event(event)

    def _check_source(self, source: object, platform: str | None) -> None:
        slug = source[len(SOURCE_PREFIX) :] if isinstance(source, str) and source.startswith(SOURCE_PREFIX) else None
        if slug is None:
            raise _invalid("/source")
        if slug not in self._rules.registry:
            known = "、".join(self._rules.registry.slugs)
            raise RefusedError(RefusalReason.UNKNOWN_PLATFORM, "/source", f"登记表里没有这个平台；已登记的有 {known}")
        if platform is not None and slug != platform:
            raise RefusedError(
                RefusalReason.OTHER_PLATFORM, "/source", f"此密钥只能写入 {SOURCE_PREFIX}{platform}，不能写入其他平台"
            )

    def _settle_data(self, kind: type[BaseEvent], data: dict[str, Any], day: Any) -> dict[str, Any]:
        known = _personal(data.get("contact")) if kind is Received else {}
        settled = dict(data)
        for name in _TEXT_MEMBERS:
            text = settled.get(name)
            if not isinstance(text, str):
                continue
            if _UNUSABLE.search(text):
                raise RefusedError(
                    RefusalReason.INVALID_TEXT, f"/data/{name}", "含有不成对的代理字符或空字符，请核对编码"
                )
            text = _ONE_LINE.sub(" ", text).strip() if name in _SINGLE_LINE else _CONTROLS.sub("", text)
            settled[name] = deidentify(mask_known(text, known) if known else text)
        if kind is Received:
            self._settle_category(settled, day, known)
        return settled

    def _settle_category(self, data: dict[str, Any], day: Any, known: Mapping[str, str]) -> None:
        """As given; an unknown word or none is classified, else the policy's default, with the word and the reason kept."""
        given = data.get("category")
        data.pop("category_given", None)
        data.pop("category_reason", None)
        if given is not None and not isinstance(given, str):
            raise _invalid("/data/category")
        if given and _UNUSABLE.search(given):
            raise RefusedError(RefusalReason.INVALID_TEXT, "/data/category", "含有不成对的代理字符或空字符，请核对编码")
        title = data.get("title")
        policies = self._rules.policies
        if given in policies.known_categories:
            return
        data["category"], data["category_reason"] = classify(
            given or "", title if isinstance(title, str) else "", policies.on(day)
        )
        if given:
            data["category_given"] = deidentify(mask_known(given, known))[:64]

    def _settle_event(self, event: Event) -> Event:
        if isinstance(event, Recategorized) and event.data.category not in self._rules.policies.known_categories:
            known = "、".join(sorted(self._rules.policies.known_categories))
            raise RefusedError(RefusalReason.UNKNOWN_CATEGORY, "/data/category", f"没有这个类别；可用的有 {known}")
        if isinstance(event, Tally) and not FIRST_YEAR <= event.data.date.year <= LAST_YEAR:
            detail = f"年份须在 {FIRST_YEAR} 至 {LAST_YEAR} 之间，请核对平台时钟"
            raise RefusedError(RefusalReason.TIME_OUT_OF_RANGE, "/data/date", detail)
        canonical = str(int(event.sequence))
        return event if canonical == event.sequence else msgspec.structs.replace(event, sequence=canonical)


def _check_encoding(members: Mapping[str, Any]) -> None:
    """CloudEvents may carry data in other forms than JSON; what cannot be read must not be dropped silently."""
    if "data_base64" in members:
        raise _invalid("/data_base64")
    media_type = members.get("datacontenttype")
    if media_type is not None and not (isinstance(media_type, str) and _JSON_TYPE.match(media_type)):
        raise _invalid("/datacontenttype")


def _event_type(name: object) -> type[BaseEvent]:
    kind = EVENT_TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise RefusedError(RefusalReason.UNKNOWN_TYPE, "/type", REQUIREMENTS["/type"])
    return kind


def _instant(text: object) -> Any:
    if not isinstance(text, str):
        raise _invalid("/time")
    try:
        return parse_instant(text)
    except InstantError as error:
        raise RefusedError(RefusalReason(error.reason), "/time", str(error)) from error


def _personal(contact: object) -> dict[str, str]:
    """The values of the contact fields, which must not reappear in the texts. The fields themselves are dropped."""
    if contact is None:
        return {}
    if not isinstance(contact, dict):
        raise _invalid("/data/contact")
    texts = list(islice(_texts("", contact), MAX_CONTACT + 1))
    if len(texts) > MAX_CONTACT or any(len(text) > MAX_CONTACT_VALUE for _, text in texts):
        raise _invalid("/data/contact")
    return {
        text.strip(): "[姓名]" if name == "name" else "[联系方式]"
        for name, text in texts
        if len(text.strip()) >= (SHORTEST_NAME if name == "name" else SHORTEST_CONTACT)
    }


def _texts(name: str, value: object) -> Iterator[tuple[str, str]]:
    """Each text in it, however deep, with the name of its member."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for member, inner in value.items():
            yield from _texts(member, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(name, inner)


def _pointer(message: str) -> str:
    path = _PATH.search(message)
    pointer = "" if path is None else re.sub(r"[.\[]", "/", path[1]).replace("]", "")
    missing = _MISSING.search(message)
    return f"{pointer}/{missing[1]}" if missing else pointer


def _invalid(pointer: str) -> RefusedError:
    return RefusedError(RefusalReason.INVALID_FIELD, pointer, REQUIREMENTS.get(pointer, REQUIREMENTS[""]))
