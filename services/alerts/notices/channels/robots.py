"""What the messengers' robots have alike: JSON in, and an `errcode` in an answer of 200."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from services.alerts.notices.channels.outcome import SENT, Outcome, refused, retry
from services.alerts.notices.channels.post import posted

BUSY_SECONDS = 60.0  # a robot takes 20 messages a minute


class _Answer(msgspec.Struct):
    errcode: int


def tell(url: str, message: dict[str, Any], later: AbstractSet[int], meanings: Mapping[int, str]) -> Outcome:
    """`later`: the codes after which the same may succeed. `meanings`: what is wrong, by the code; the robot's own words are left out,
    because some repeat the address."""
    answer = posted(url, msgspec.json.encode(message), {"Content-Type": "application/json"})
    if isinstance(answer, Outcome):
        return answer
    try:
        code = msgspec.json.decode(answer.body, type=_Answer).errcode
    except msgspec.DecodeError:
        return retry("机器人的应答不是预期的 JSON，请核对地址")
    if code == 0:
        return SENT
    detail = f"机器人答 errcode {code}" + (f"：{meanings[code]}" if code in meanings else "")
    return retry(detail, BUSY_SECONDS) if code in later else refused(detail)
