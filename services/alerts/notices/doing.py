"""What people do about alerts: with the record of it in the same transaction, so that neither is there without the other."""

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection

from services.alerts.notices.acknowledging import Acknowledgement, acknowledge, acknowledge_case
from services.alerts.notices.shifts import RecordedError, Shift, hand_over
from services.alerts.people.audit import Action, record
from services.alerts.people.guard import People
from services.alerts.people.viewer import Viewer
from shared.registry import Registry


class Doing(Struct, frozen=True):
    """`now`: the clock that cases are shown by; the record is by that of the machine, as all that is on record of people. Each raises
    what the function of its name does. `address`: from where they ask."""

    registry: Registry
    people: People
    now: Callable[[], datetime]

    def acknowledge(self, viewer: Viewer, alert: int, note: str, address: str) -> Acknowledgement:
        with self.people.database.writing() as connection:
            found = acknowledge(connection, self.registry, viewer, alert, note, self.now())
            self._acknowledged(connection, viewer, found, address)
        return found

    def acknowledge_case(
        self, viewer: Viewer, key: str, note: str, address: str, once: str = ""
    ) -> list[Acknowledgement]:
        with self.people.database.writing() as connection:
            found = acknowledge_case(connection, self.registry, viewer, key, note, self.now(), once)
            for each in found:
                self._acknowledged(connection, viewer, each, address)
        return found

    def hand_over(self, viewer: Viewer, successor: str, note: str, address: str, once: str = "") -> Shift:
        """What was recorded before, under the same `once`, is not recorded again."""
        try:
            with self.people.database.writing() as connection:
                found = hand_over(connection, self.registry, viewer, successor, note, self.now(), once)
                record(connection, self.people.now(), viewer, Action.SHIFT_HANDED_OVER, found.successor, address)
        except RecordedError as error:
            return error.shift
        return found

    def _acknowledged(self, connection: Connection, viewer: Viewer, found: Acknowledgement, address: str) -> None:
        subject = f"{found.key} {found.alert}"
        record(connection, self.people.now(), viewer, Action.ALERT_ACKNOWLEDGED, subject, address)
