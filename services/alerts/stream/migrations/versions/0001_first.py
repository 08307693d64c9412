"""The first tables of the alerts service on Kafka, and the trigger that fills the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TEXT = sa.Text(collation="C")

FILL = """
CREATE FUNCTION fill_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO outbox (alert, what) VALUES (NEW.id, CASE WHEN TG_OP = 'INSERT' THEN 'raised' ELSE 'cleared' END);
  RETURN NULL;
END $$
"""
RAISED = """
CREATE TRIGGER alert_raised AFTER INSERT ON alerts FOR EACH ROW WHEN (NOT NEW.quiet) EXECUTE FUNCTION fill_outbox()
"""
CLEARED = """
CREATE TRIGGER alert_cleared AFTER UPDATE OF cleared_at ON alerts FOR EACH ROW
WHEN (NOT NEW.quiet AND OLD.cleared_at IS NULL AND NEW.cleared_at IS NOT NULL) EXECUTE FUNCTION fill_outbox()
"""


def upgrade() -> None:
    op.create_table(
        "records",
        sa.Column("key", TEXT, nullable=False, comment="platform/subject; of a platform's tallies, the platform"),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column(
            "events", TEXT, nullable=False, comment="all of the key's events, a JSON array in the order of folding"
        ),
        sa.Column(
            "refused", TEXT, comment="ids of those among them that stand under another key already, a JSON array"
        ),
        sa.PrimaryKeyConstraint("key"),
        comment="the newest record of each key: what any case is evaluated from, as of any instant",
    )
    op.create_table(
        "identities",
        sa.Column("ident", TEXT, nullable=False, comment="platform/id"),
        sa.Column("key", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("ident"),
        comment="under which key an event stands: it may under one only, and a partition sees its own keys alone",
    )
    op.create_table(
        "letters",
        sa.Column("origin", TEXT, nullable=False, comment="where it came from; the same place is buried once"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("detail", TEXT, nullable=False),
        sa.Column("event", TEXT, comment="JSON; only what was settled and de-identified"),
        sa.PrimaryKeyConstraint("origin"),
        comment="what could not be used",
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("alert", sa.BigInteger(), nullable=False, comment="its row in the journal"),
        sa.Column("what", TEXT, nullable=False, comment="raised or cleared"),
        sa.PrimaryKeyConstraint("id"),
        comment="what of the journal is still to be published; a trigger writes it in the transaction that raises or clears",
    )
    op.create_table(
        "rates",
        sa.Column("platform", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("platform"),
        comment="the figures that were published last",
    )
    op.create_table(
        "stream_state",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("ruleset", TEXT, nullable=False, comment="of all projections, or of those that are being made"),
        sa.Column("recomputed", sa.Boolean(), nullable=False, comment="whether all projections are of it"),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "horizons",
        sa.Column("name", TEXT, nullable=False),
        sa.Column(
            "at", sa.BigInteger(), nullable=False, comment="everything that had arrived by then is in the projections"
        ),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "publishers",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("owner", TEXT, nullable=False, comment="the process that published last"),
        sa.PrimaryKeyConstraint("name"),
    )
    for statement in (FILL, RAISED, CLEARED):
        op.execute(statement)
