"""The events (contract: CloudEvents 1.0): one type for the wire, the log and the stream.

An event is identified by (`source`, `id`), a case by its key `platform/subject`. Each class's docstring is its public
documentation (API reference and OpenAPI take it from here). `time` is an instant at +08:00 once the event was settled at
the door; `sequence` orders events of the same time where a platform's clock is coarse.
"""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

SOURCE_PREFIX = "/platforms/"
END = r"(?![\s\S])"  # the end of the text, alike in Python and in JSON Schema: "$" would let a final newline pass
SUBJECT_PATTERN = rf"^[A-Za-z0-9_.:-]{{1,64}}{END}"

Subject = Annotated[str, Meta(pattern=SUBJECT_PATTERN, description="留言编号，1–64 个 A-Z a-z 0-9 . _ : -")]
Sequence = Annotated[str, Meta(pattern=rf"^-?[0-9]{{1,18}}{END}", description="同一时刻内的先后次序：写成字符串的整数")]
Text = str


class Data(Struct, frozen=True, gc=False):
    """Data of an event. Members that are not named here are ignored and not stored."""


class NoData(Data, frozen=True):
    """No member has a meaning here."""


class ReceivedData(Data, frozen=True):
    """`category` is the settled one; when it is not the word as given, `category_given` and `category_reason` tell."""

    category: str | UnsetType = UNSET
    title: Text | UnsetType = UNSET
    content: Text | UnsetType = UNSET
    category_given: str | UnsetType = UNSET
    category_reason: str | UnsetType = UNSET


class TransferredData(Data, frozen=True):
    to: Annotated[str, Meta(min_length=1, max_length=64, description="平台标识或单位名称")]
    reason: Text | UnsetType = UNSET


class RecategorizedData(Data, frozen=True):
    category: Annotated[str, Meta(min_length=1, max_length=64, description="新类别的标识")]


class ExtendedData(Data, frozen=True):
    working_days: Annotated[int, Meta(ge=1, le=10_000, description="延长的工作日数")]
    approved_by: Text | UnsetType = UNSET
    reason: Text | UnsetType = UNSET


class ReasonData(Data, frozen=True):
    reason: Text | UnsetType = UNSET


class RepliedData(Data, frozen=True):
    content: Text | UnsetType = UNSET
    interim: bool = False


class RatedData(Data, frozen=True):
    score: Annotated[int, Meta(ge=1, le=5, description="1–5 分")]


class RejectedData(Data, frozen=True):
    reason: Annotated[str, Meta(min_length=1, max_length=64, description="不予受理的原因代码")]
    note: Text | UnsetType = UNSET


class TallyData(Data, frozen=True):
    date: Annotated[date, Meta(description="统计的那一天（北京时间）")]
    received: Annotated[int, Meta(ge=0, le=1_000_000_000, description="平台自己统计的当日留言数，没有则为 0")]


class BaseEvent(Struct, frozen=True, gc=False, kw_only=True, tag_field="type"):
    """What all events have."""

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(min_length=1, max_length=128)]
    source: str
    subject: Subject
    time: datetime
    sequence: Sequence = "0"

    precedence: ClassVar[int]
    name: ClassVar[str]

    @property
    def platform(self) -> str:
        return self.source[len(SOURCE_PREFIX) :]

    @property
    def key(self) -> str:
        return f"{self.source[len(SOURCE_PREFIX) :]}/{self.subject}"


class Received(BaseEvent, frozen=True, kw_only=True, tag="liuyan.message.received.v1"):
    """A citizen's message arrived (受理登记). The earliest one opens the case."""

    data: ReceivedData = ReceivedData()


class Accepted(BaseEvent, frozen=True, kw_only=True, tag="liuyan.message.accepted.v1"):
    """The platform accepts the message for handling (受理)."""

    data: NoData = NoData()


class Transferred(BaseEvent, frozen=True, kw_only=True, tag="liuyan.message.transferred.v1"):
    """Handed to another platform or unit (转办). Never moves a deadline."""

    data: TransferredData


class Recategorized(BaseEvent, frozen=True, kw_only=True, tag="liuyan.message.recategorized.v1"):
    """The category was corrected (调整类别). An unknown category is refused at the door."""

    data: RecategorizedData


class Extended(BaseEvent, frozen=True, kw_only=True, tag="liuyan.message.extended.v1"):
    """The time to complete was extended by so many working days (延期)."""

    data: ExtendedData


class Suspended(BaseEvent, frozen=True, kw_only=True, tag="liuyan.message.suspended.v1"):
    """The clock stops (中止), e.g. while the citizen supplements material."""

    data: ReasonData = ReasonData()


class Resumed(BaseEvent, frozen=True, kw_only=True, tag="liuyan.message.resumed.v1"):
    """The clock goes on (恢复)."""

    data: NoData = NoData()


class Replied(BaseEvent, frozen=True, kw_only=True, tag="liuyan.message.replied.v1"):
    """The citizen was answered (答复). `interim` marks an answer that is not the final one."""

    data: RepliedData = RepliedData()


class Completed(BaseEvent, frozen=True, kw_only=True, tag="liuyan.message.completed.v1"):
    """The handling is finished (办结)."""

    data: NoData = NoData()


class Reopened(BaseEvent, frozen=True, kw_only=True, tag="liuyan.message.reopened.v1"):
    """A closed case is handled again (重新办理): another round."""

    data: ReasonData = ReasonData()


class Rated(BaseEvent, frozen=True, kw_only=True, tag="liuyan.message.rated.v1"):
    """The citizen's rating (评价), 1 to 5. The last one stands."""

    data: RatedData


class Rejected(BaseEvent, frozen=True, kw_only=True, tag="liuyan.message.rejected.v1"):
    """Not accepted, or returned after acceptance (不予受理 / 退回), with a reason code."""

    data: RejectedData


class Withdrawn(BaseEvent, frozen=True, kw_only=True, tag="liuyan.message.withdrawn.v1"):
    """The citizen withdrew the message (撤回)."""

    data: NoData = NoData()


class Tally(BaseEvent, frozen=True, kw_only=True, tag="liuyan.platform.tally.v1"):
    """How many messages the platform itself counts for a day. 0 is how a quiet platform says that it is alive."""

    subject: Annotated[str, Meta(pattern=rf"^[A-Za-z0-9_.:-]{{0,64}}{END}")] = ""
    data: TallyData


CaseEvent = (
    Received | Accepted | Transferred | Recategorized | Extended | Suspended | Resumed
    | Replied | Completed | Reopened | Rated | Rejected | Withdrawn
)  # fmt: skip
Event = CaseEvent | Tally

CASE_EVENTS: tuple[type[BaseEvent], ...] = (
    Received, Accepted, Transferred, Recategorized, Extended, Suspended, Resumed,
    Replied, Completed, Reopened, Rated, Rejected, Withdrawn,
)  # fmt: skip
"""In the order of precedence, which orders events of one case with the same time and sequence."""

ALL_EVENTS: tuple[type[BaseEvent], ...] = (*CASE_EVENTS, Tally)
EVENT_TYPES: dict[str, type[BaseEvent]] = {}
for _precedence, _kind in enumerate(ALL_EVENTS):
    _tag = str(_kind.__struct_config__.tag)
    _kind.precedence = _precedence
    _kind.name = _tag.split(".")[2]
    EVENT_TYPES[_tag] = _kind

decode_event = msgspec.json.Decoder(Event).decode
"""Bytes of a settled event -> Event. For what the system stored itself; foreign input goes through the door."""

encode_event = msgspec.json.Encoder(order="deterministic").encode
"""Event -> canonical bytes: equal events, settled, have equal bytes."""


class Accepting(Struct, frozen=True, gc=False):
    """What a set of known events makes of further ones, in their order (contract: the same (source, id) again)."""

    new: tuple[Event, ...]
    duplicates: tuple[Event, ...]
    conflicts: tuple[Event, ...]


def accept(known: dict[tuple[str, str], bytes], arriving: Iterable[Event]) -> Accepting:
    """Sort arriving events into new ones, duplicates and conflicts, and add the new ones to `known`.

    A repeated (source, id) is a duplicate when type, subject, instant, sequence and data are equal as settled, which is to
    say when the canonical bytes are; else a conflict: what came first stands.
    """
    new: list[Event] = []
    duplicates: list[Event] = []
    conflicts: list[Event] = []
    for event in arriving:
        identity, body = (event.source, event.id), encode_event(event)
        first = known.setdefault(identity, body)
        if first is body:
            new.append(event)
        else:
            (duplicates if first == body else conflicts).append(event)
    return Accepting(tuple(new), tuple(duplicates), tuple(conflicts))
