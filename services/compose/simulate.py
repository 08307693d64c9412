"""A simulated portal: pushes synthetic messages through HTTP with its own key, answers most of them, and forgets some."""

import json
import random
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from services.compose.client import Client
from shared.times import isoformat

QUESTIONS = (
    ("居住证到期后怎样签注", "我的居住证月底到期，请问在哪里签注，要带什么材料？"),
    ("城乡居民医保在哪里缴费", "今年的城乡居民医保还能缴吗，手机上可以办理吗？"),
    ("末班公交车是几点", "请问回城的末班公交车现在是几点？"),
    ("新生儿落户要哪些材料", "孩子刚满月，落户需要准备哪些材料？"),
    ("停水检修到什么时候", "小区今天停水，检修到几点能恢复？"),
    ("高龄津贴怎样申请", "家里老人今年满八十岁，高龄津贴怎样申请？"),
)


class _Plan(NamedTuple):
    """An answer that is still to be sent."""

    at: datetime
    subject: str
    name: str


class Portal:
    """Pushes to `url` for one platform; `now` is the clock that the service goes by. Whatever pushes raises PushError; with `stop`, what
    is not confirmed is sent again until that is set."""

    def __init__(
        self,
        url: str,
        key: str,
        platform: str,
        now: Callable[[], datetime],
        seed: int | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._client, self._key, self._platform, self._now = Client(url), key, platform, now
        self._stop = stop
        self._random = random.Random(seed)  # noqa: S311 - a story, not a secret
        self._run = f"{self._random.randrange(16**6):06x}"
        self._number = 0
        self._plans: list[_Plan] = []

    def message(self) -> str:
        """A citizen writes: push the reception, and plan its handling. The new message's subject."""
        self._number += 1
        subject = f"sim-{self._run}-{self._number:04}"
        title, content = self._random.choice(QUESTIONS)
        now = self._now()
        self.push(subject, "received", now, {"category": "simple_inquiry", "title": title, "content": content})
        fate = self._random.random()
        if fate < 0.65:  # answered the same or the next day
            self._plans.append(_Plan(now + timedelta(hours=self._random.uniform(1, 18)), subject, "replied"))
        elif fate < 0.85:  # answered when it is late already
            self._plans.append(_Plan(now + timedelta(hours=self._random.uniform(60, 120)), subject, "replied"))
        return subject

    def work(self) -> None:
        """Push what was planned for until now."""
        now = self._now()
        due, self._plans = [p for p in self._plans if p.at <= now], [p for p in self._plans if p.at > now]
        for plan in due:
            self.push(plan.subject, plan.name, plan.at, {"content": "您好，您反映的问题已核实办理，详情请致电本单位。"})

    def push(self, subject: str, name: str, time: datetime, data: dict[str, object]) -> None:
        """Push one event until it is durable."""
        event = {
            "specversion": "1.0", "id": f"{subject}-{name}", "source": f"/platforms/{self._platform}",
            "type": f"liuyan.message.{name}.v1", "subject": subject, "time": isoformat(time), "data": data,
        }  # fmt: skip
        self._client.push(self._key, json.dumps(event, ensure_ascii=False).encode(), stop=self._stop)


def run(
    portal: Portal, per_minute: float, count: int | None, stop: threading.Event, told: Callable[[str], None]
) -> None:
    """Push messages at that rate (real minutes), `count` in all or until stopped, answering as time goes by."""
    sent = 0
    pause = 60 / per_minute
    while not stop.is_set() and (count is None or sent < count):
        told(portal.message())
        sent += 1
        waited = 0.0
        while waited < pause and not stop.wait(min(1.0, pause - waited)):
            waited += 1.0
            portal.work()
    portal.work()
