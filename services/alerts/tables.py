"""Tables of the alerts service: the same on SQLite and PostgreSQL.

Instants are microseconds since 1970-01-01T00:00Z (`shared.times.to_micros`), days are ISO texts: both compare alike in both
databases. `cases` is a projection: it can be rebuilt from the events at any time (`liuyan reconcile` compares).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    literal_column,
    true,
)

from services.alerts.sql import Id, Text

metadata = MetaData()

cases = Table(
    "cases",
    metadata,
    Column("key", Text, primary_key=True),
    Column("platform", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("county", Text, nullable=False),
    Column("status", Text, comment="null: nothing is known yet, all its events lie in the future"),
    Column("stage", Text),
    Column("category", Text),
    Column("title", Text, comment="de-identified"),
    Column("outcome", Text),
    Column("breached", Boolean, nullable=False),
    Column("suspended", Boolean, nullable=False, comment="pending with the clock stopped"),
    Column("provisional", Boolean, nullable=False),
    Column("month", Text, nullable=False, comment="of the reception's local day; empty while awaiting it"),
    Column("received_at", BigInteger),
    Column("received_day", Text),
    Column("closed_at", BigInteger),
    Column("holder", Text),
    Column("rounds", Integer, nullable=False),
    Column("first_reply", Text, nullable=False, comment="verdict of the first round's reply target"),
    Column("first_reply_due_at", BigInteger, comment="while that verdict is `running`"),
    Column("complete", Text, nullable=False, comment="verdict of the current round's complete target"),
    Column("due_at", BigInteger, comment="deadline of the current round's complete target"),
    Column("due_day", Text),
    Column("ruleset", Text, nullable=False),
    Column("wake_at", BigInteger, comment="when the row changes though no event arrives"),
    Column("events_ahead", Boolean, nullable=False, comment="whether a recorded event lies in the future"),
    sqlite_with_rowid=False,
)
# Conditions of partial indexes: a query must repeat them to the letter, without bound values, for the index to be used.
OPEN = cases.c.outcome.in_([literal_column("'overdue'"), literal_column("'pending'")])
WAKES = cases.c.wake_at.is_not(None)
Index("cases_wake", cases.c.wake_at, sqlite_where=WAKES, postgresql_where=WAKES)
EVENTS_AHEAD = cases.c.events_ahead.is_(true())
Index("cases_ahead", cases.c.key, sqlite_where=EVENTS_AHEAD, postgresql_where=EVENTS_AHEAD)
Index("cases_month", cases.c.month)
Index("cases_due", cases.c.platform, cases.c.due_at, sqlite_where=OPEN, postgresql_where=OPEN)
Index("cases_holder", cases.c.platform, cases.c.holder, cases.c.due_at, sqlite_where=OPEN, postgresql_where=OPEN)

targets = Table(
    "targets",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("target", Text, nullable=False, comment="reply, complete, or suspension"),
    Column("due_at", BigInteger, nullable=False),
    Column("quiet", Boolean, nullable=False, comment="overdue for over 24 h when first seen: listed, not sent"),
    Column("next_rung", Text),
    Column("next_at", BigInteger, comment="when that rung is reached"),
    Column("escalate_1_at", BigInteger),
    Column("escalate_2_at", BigInteger),
    UniqueConstraint("key", "target", name="targets_key"),
    comment="targets of open cases, each with the next rung of its alerts",
)
AHEAD = targets.c.next_at.is_not(None)
Index("targets_next", targets.c.next_at, sqlite_where=AHEAD, postgresql_where=AHEAD)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("target", Text, nullable=False),
    Column("rung", Text, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("quiet", Boolean, nullable=False),
    Column("raised_at", BigInteger, nullable=False),
    Column("cleared_at", BigInteger),
    Column("clear_reason", Text),
    comment="a row for each time that an alert was raised; at most one of them stands",
)
STANDS = alerts.c.cleared_at.is_(None)
_ONCE = (alerts.c.key, alerts.c.round, alerts.c.target, alerts.c.rung, alerts.c.due_at)
Index("alerts_once", *_ONCE, unique=True, sqlite_where=STANDS, postgresql_where=STANDS)
TOLD = STANDS & ~alerts.c.quiet
Index("alerts_told", alerts.c.platform, alerts.c.id, sqlite_where=TOLD, postgresql_where=TOLD)
Index("alerts_cleared", alerts.c.key, sqlite_where=~STANDS, postgresql_where=~STANDS)
Index("alerts_raised", alerts.c.raised_at)

figures = Table(
    "figures",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("month", Text, primary_key=True),
    Column("category", Text, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("breached", Boolean, primary_key=True),
    Column("suspended", Boolean, primary_key=True),
    Column("reply", Text, primary_key=True),
    Column("provisional", Boolean, primary_key=True),
    Column("cases", Integer, nullable=False),
    comment="how many cases stand how (shared.figures.Standing)",
    sqlite_with_rowid=False,
)

due_days = Table(
    "due_days",
    metadata,
    Column("due_day", Text, primary_key=True),
    Column("platform", Text, primary_key=True),
    Column("category", Text, primary_key=True),
    Column("cases", Integer, nullable=False),
    comment="open cases whose complete target runs, by the day that it ends",
    sqlite_with_rowid=False,
)

handled = Table(
    "handled",
    metadata,
    Column("received_day", Text, primary_key=True),
    Column("closed_day", Text, primary_key=True),
    Column("platform", Text, primary_key=True),
    Column("category", Text, primary_key=True),
    Column("cases", Integer, nullable=False),
    comment="completed cases that are accountable, by the days of their reception and their closing",
    sqlite_with_rowid=False,
)

days = Table(
    "days",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("received", Integer, nullable=False, server_default="0"),
    comment="messages received per local day, by our count",
)

tallies = Table(
    "tallies",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("time", BigInteger, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("received", BigInteger, nullable=False),
    comment="the platforms' own counts of their days; of a day the latest by now stands",
    sqlite_with_rowid=False,
)

event_counts = Table(
    "event_counts",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("events", BigInteger, nullable=False),
    Column("last_time", BigInteger, nullable=False),
)

consumer_positions = Table(
    "consumer_positions",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False, comment="of the consumer that may write; grows with every assignment"),
    Column("next_offset", BigInteger, nullable=False, comment="up to here the partition is in the projections"),
    sqlite_with_rowid=False,
)
