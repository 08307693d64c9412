"""Alerts of a deck on their way to channels, step by step, for tests of notices."""

import base64
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.alerts.notices.digests import OLDEST, ORDER, Digest, Entry, Part, make_part
from services.alerts.notices.gathering import City, decode_digest, due_groups, gather, route, set_up
from services.alerts.notices.routing import RUNGS, Channel, Notices, Secret, Web
from services.alerts.notices.tables import notices
from shared.events import CaseEvent
from shared.policy import OfficeHours
from tests.builders import at, event
from tests.enginekit import Deck
from tests.receivers import Receiver

HOURS = OfficeHours(((8 * 60 + 30, 18 * 60),))
NIGHT = at("04-02 00:00")  # a Saturday, worked
MORNING = at("04-02 08:30")
SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()


def channel(name: str, **members: Any) -> Channel:
    found = {"kind": "webhook", "to": Web(Secret("http://127.0.0.1:9/")), "urgent": RUNGS, "clearings": "all"}
    return Channel(name=name, **{**found, **members})


def received(subject: str, platform: str = "zhenkang", time: str = "03-31 10:00") -> CaseEvent:
    return event(f"{subject}-r", "received", time, subject=subject, platform=platform, category="simple_inquiry")


class Told:
    """A deck whose alerts are told, step by step."""

    def __init__(self, found: Deck, *channels: Channel) -> None:
        self.deck = found
        self.city = City(found.rules, Notices(channels, HOURS, "https://127.0.0.1/"))
        with found.database.writing() as connection:
            set_up(connection, [one.name for one in channels])

    def tell(self) -> list[tuple[str, str, list[tuple[str, int]]]]:
        """Route and gather what there is now: (channel, county, what and how many) of the notices made."""
        database, now = self.deck.database, self.deck.now
        while True:
            with database.writing() as connection:
                if not route(connection, self.city, now, batch=3):
                    break
        before = {row["id"] for row in self.rows(notices)}
        with database.reading() as connection:
            groups = due_groups(connection, self.city, now)
        for one, county in groups:
            with database.writing() as connection:
                gather(connection, self.city, one, county, now)
        made = [row for row in self.rows(notices) if row["id"] not in before]
        return [(row["channel"], row["county"], parts(decode_digest(row["content"]))) for row in made]

    def rows(self, table: Any) -> list[dict[str, Any]]:
        return sorted(self.deck.read(table), key=lambda row: row.get("id", 0))

    def settle(self, state: str = "sent") -> None:
        """What is on its way has arrived, or never will."""
        with self.deck.database.writing() as connection:
            connection.execute(notices.update().where(notices.c.state == "pending").values(state=state, next_at=None))


def parts(digest: Digest) -> list[tuple[str, int]]:
    return [(part.what, part.total) for part in digest.parts]


def parts_of(entries: Sequence[Entry]) -> list[Part]:
    """The parts of a digest of these alerts, as the database counts and orders them."""
    found = []
    for what in ORDER:
        own = sorted((entry for entry in entries if entry.what == what), key=lambda entry: entry.due_at)
        counts = Counter((entry.rung, entry.reason) for entry in own)
        found += [make_part(what, counts, own[:OLDEST])] if own else []
    return found


def configured(folder: Path, there: Receiver, more: str = "") -> dict[str, str]:
    """The environment of a service that tells `there`."""
    (folder / "hook-secret").write_text(SECRET + "\n")
    (folder / "notices.toml").write_text(
        f'[[channel]]\nname = "hook"\nkind = "webhook"\nurl = "{there.url}"\nsecret_file = "hook-secret"\n{more}',
        encoding="utf-8",
    )
    return {"LIUYAN_NOTICES": str(folder / "notices.toml")}
