"""Why something is refused at the door: a reason (a closed set, a metric's label), the field, and one line for people."""

from enum import StrEnum

from msgspec import Struct


class RefusalReason(StrEnum):
    """What the door refuses. Documented, with the remedy, in docs/api.md (tested)."""

    INVALID_JSON = "invalid_json"
    DUPLICATE_MEMBER = "duplicate_member"
    INVALID_TEXT = "invalid_text"
    INVALID_FIELD = "invalid_field"
    INVALID_TIME = "invalid_time"
    TIME_WITHOUT_OFFSET = "time_without_offset"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_PLATFORM = "unknown_platform"
    UNKNOWN_CATEGORY = "unknown_category"
    OTHER_PLATFORM = "other_platform"
    CONFLICT = "conflict"
    UNAUTHORIZED = "unauthorized"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    TOO_LARGE = "too_large"
    TOO_MANY_EVENTS = "too_many_events"
    BUSY = "busy"


class Refusal(Struct, frozen=True):
    """`pointer` is a JSON pointer into the event (empty: the whole); `detail` is Chinese, one line, without personal data."""

    reason: RefusalReason
    pointer: str
    detail: str


class RefusedError(Exception):
    """Carries a refusal out of a deep place; caught at the door."""

    def __init__(self, reason: RefusalReason, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.refusal = Refusal(reason, pointer, detail)
