"""The one PostgreSQL of the distributed form: whose tables it holds."""

from pathlib import Path

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

import services.alerts
import services.alerts.stream
import services.ingest
from shared.database import Postgres, open_postgres

OWNERS = {"ingest": services.ingest, "alerts": services.alerts, "stream": services.alerts.stream}
"""In the order in which their tables are made: the outbox's trigger stands on a table of alerts."""

AWAY: tuple[type[Exception], ...] = (OperationalError, InterfaceError, PoolTimeoutError)
"""What it raises while it does not answer: tried again later, the same may succeed."""


def open_database(url: str) -> Postgres:
    """Opens it, and brings the tables up to date. Raises DatabaseUnusableError."""
    return open_postgres(url, {name: Path(owner.__path__[0]) / "migrations" for name, owner in OWNERS.items()})
