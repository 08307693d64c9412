"""Tables of the notices: what of the journal people are still to be told, what is on its way to them, and who acknowledged it.

Instants are microseconds, as in `services/alerts/tables.py`. A row of `alerts` is named by its `id`.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, UniqueConstraint, literal_column

from services.alerts.sql import Id, Text

metadata = MetaData()

channels = Table(
    "notice_channels",
    metadata,
    Column("name", Text, primary_key=True),
    comment="the channels of the running service; while there is none, the trigger keeps nothing to be told",
)

tellings = Table(
    "tellings",
    metadata,
    Column("id", Id, primary_key=True),
    Column("alert", BigInteger, nullable=False),
    Column("what", Text, nullable=False, comment="raised or cleared"),
    comment="what happened to an alert and is not routed yet; a trigger writes it in the transaction that raises or clears",
)

waiting = Table(
    "notice_waiting",
    metadata,
    Column("id", Id, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("county", Text, nullable=False),
    Column("alert", BigInteger, nullable=False),
    Column("what", Text, nullable=False, comment="raised, cleared or repeated"),
    Column("times", Integer, nullable=False, comment="how often the channel was told of it before"),
    Column("from_at", BigInteger, nullable=False, comment="from when on the channel may be told of it"),
    comment="what a channel is still to be told; what is there at the same time becomes one notice",
)
Index("notice_waiting_from", waiting.c.channel, waiting.c.county, waiting.c.from_at)
Index("notice_waiting_alert", waiting.c.alert)

notices = Table(
    "notices",
    metadata,
    Column("id", Id, primary_key=True),
    Column("message", Text, nullable=False, comment="names it to the receiver, the same at every attempt"),
    Column("channel", Text, nullable=False),
    Column("county", Text, nullable=False),
    Column("alerts", Integer, nullable=False, comment="of how many it tells"),
    Column("content", Text, nullable=False, comment="JSON: the digest"),
    Column("state", Text, nullable=False, comment="pending, sent or failed"),
    Column("attempts", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("next_at", BigInteger, comment="of a pending one: when it is tried, or is taken from who tries it"),
    Column("sent_at", BigInteger),
    Column("error", Text, comment="of the last attempt"),
    UniqueConstraint("message", name="notices_message"),
)
PENDING = notices.c.state == literal_column("'pending'")
Index(
    "notices_pending", notices.c.channel, notices.c.county, unique=True, sqlite_where=PENDING, postgresql_where=PENDING
)
Index("notices_state", notices.c.state, notices.c.id)
Index("notices_county", notices.c.county, notices.c.state, notices.c.id)

told = Table(
    "notice_alerts",
    metadata,
    Column("notice", BigInteger, primary_key=True, autoincrement=False),
    Column("alert", BigInteger, primary_key=True, autoincrement=False),
    Column("what", Text, primary_key=True),
    Column("times", Integer, nullable=False),
    comment="of which alerts a notice tells",
    sqlite_with_rowid=False,
)
Index("notice_alerts_alert", told.c.alert)

acknowledgements = Table(
    "acknowledgements",
    metadata,
    Column("id", Id, primary_key=True),
    Column("alert", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("once", Text, comment="names what was sent, as in `shifts`"),
    comment="who has seen an alert and what they say to it; an alert may be acknowledged again",
)
Index("acknowledgements_once", acknowledgements.c.once, acknowledgements.c.alert, unique=True)
Index("acknowledgements_alert", acknowledgements.c.alert)
Index("acknowledgements_key", acknowledgements.c.key)

shifts = Table(
    "shifts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("county", Text, comment="null: the whole city"),
    Column("account", Text, nullable=False),
    Column("person", Text, nullable=False, comment="who hands over"),
    Column("successor", Text, nullable=False, comment="who has duty from then on"),
    Column("at", BigInteger, nullable=False),
    Column("standing", Integer, nullable=False, comment="alerts that stood then"),
    Column("unacknowledged", Integer, nullable=False, comment="of them, those that nobody had acknowledged"),
    Column("overdue", Integer, nullable=False, comment="cases that were overdue then"),
    Column("note", Text, nullable=False),
    Column(
        "once", Text, comment="names what was sent, so that it is recorded once; null: whoever sent it gave it no name"
    ),
    comment="each time that the duty was handed over, and what was open",
)
Index("shifts_at", shifts.c.at)
Index("shifts_county", shifts.c.county, shifts.c.id)
Index("shifts_once", shifts.c.once, unique=True)
