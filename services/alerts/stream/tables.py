"""Tables that only the service on Kafka has, beside the projections: on PostgreSQL alone."""

from sqlalchemy import BigInteger, Boolean, Column, MetaData, Table

from services.alerts.sql import LONG, Id, Text

metadata = MetaData()

records = Table(
    "records",
    metadata,
    Column("key", Text, primary_key=True, comment="platform/subject; of a platform's tallies, the platform"),
    Column("revision", BigInteger, nullable=False),
    Column(
        "events",
        Text,
        nullable=False,
        info=LONG,
        comment="all of the key's events, a JSON array in the order of folding",
    ),
    Column("refused", Text, comment="ids of those among them that stand under another key already, a JSON array"),
    comment="the newest record of each key: what any case is evaluated from, as of any instant",
)

identities = Table(
    "identities",
    metadata,
    Column("ident", Text, primary_key=True, comment="platform/id"),
    Column("key", Text, nullable=False),
    comment="under which key an event stands: it may under one only, and a partition sees its own keys alone",
)

letters = Table(
    "letters",
    metadata,
    Column("origin", Text, primary_key=True, comment="where it came from; the same place is buried once"),
    Column("at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("event", Text, comment="JSON; only what was settled and de-identified"),
    comment="what could not be used",
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Id, primary_key=True),
    Column("alert", BigInteger, nullable=False, comment="its row in the journal"),
    Column("what", Text, nullable=False, comment="raised or cleared"),
    comment="what of the journal is still to be published; a trigger writes it in the transaction that raises or clears",
)

rates = Table(
    "rates",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("value", Text, nullable=False),
    comment="the figures that were published last",
)

state = Table(
    "stream_state",
    metadata,
    Column("name", Text, primary_key=True),
    Column("ruleset", Text, nullable=False, comment="of all projections, or of those that are being made"),
    Column("recomputed", Boolean, nullable=False, comment="whether all projections are of it"),
    Column("rebuilding", Text, comment="reading, then projecting; null while the projections are whole"),
    Column(
        "read_to", Text, comment="JSON: up to where each partition of the records is read before cases are projected"
    ),
)

horizons = Table(
    "horizons",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", BigInteger, nullable=False, comment="everything that had arrived by then is in the projections"),
)

publishers = Table(
    "publishers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False, comment="the process that published last"),
)
