"""What became of an attempt to tell somebody."""

from typing import Literal

from msgspec import Struct


class Outcome(Struct, frozen=True):
    """`detail` (Chinese, one line) says why it is not sent, and holds nothing secret. `after`: not tried again for so many seconds."""

    state: Literal["sent", "retry", "refused"]
    detail: str = ""
    after: float | None = None


SENT = Outcome("sent")


def retry(detail: str, after: float | None = None) -> Outcome:
    """It may succeed later."""
    return Outcome("retry", detail, after)


def refused(detail: str) -> Outcome:
    """The same would be refused again."""
    return Outcome("refused", detail)
