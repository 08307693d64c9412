"""What people are told of alerts, who acknowledged, who has duty; and the triggers that let nobody forget to tell."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

SQLITE = [
    """
CREATE TRIGGER tell_raised AFTER INSERT ON alerts WHEN NOT NEW.quiet AND EXISTS (SELECT 1 FROM notice_channels)
BEGIN INSERT INTO tellings (alert, what) VALUES (NEW.id, 'raised'); END
""",
    """
CREATE TRIGGER tell_cleared AFTER UPDATE OF cleared_at ON alerts
WHEN NOT NEW.quiet AND OLD.cleared_at IS NULL AND NEW.cleared_at IS NOT NULL AND EXISTS (SELECT 1 FROM notice_channels)
BEGIN INSERT INTO tellings (alert, what) VALUES (NEW.id, 'cleared'); END
""",
]
POSTGRESQL = [
    """
CREATE FUNCTION tell_alert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM notice_channels) THEN
    INSERT INTO tellings (alert, what) VALUES (NEW.id, CASE WHEN TG_OP = 'INSERT' THEN 'raised' ELSE 'cleared' END);
  END IF;
  RETURN NULL;
END $$
""",
    "CREATE TRIGGER tell_raised AFTER INSERT ON alerts FOR EACH ROW WHEN (NOT NEW.quiet) EXECUTE FUNCTION tell_alert()",
    """
CREATE TRIGGER tell_cleared AFTER UPDATE OF cleared_at ON alerts FOR EACH ROW
WHEN (NOT NEW.quiet AND OLD.cleared_at IS NULL AND NEW.cleared_at IS NOT NULL)
EXECUTE FUNCTION tell_alert()
""",
]


def upgrade() -> None:
    op.create_table(
        "notice_channels",
        sa.Column("name", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name"),
        comment="the channels of the running service; while there is none, the trigger keeps nothing to be told",
    )
    op.create_table(
        "tellings",
        sa.Column("id", ID, nullable=False),
        sa.Column("alert", sa.BigInteger(), nullable=False),
        sa.Column("what", TEXT, nullable=False, comment="raised or cleared"),
        sa.PrimaryKeyConstraint("id"),
        comment="what happened to an alert and is not routed yet; a trigger writes it in the transaction that raises or clears",
    )
    op.create_table(
        "notice_waiting",
        sa.Column("id", ID, nullable=False),
        sa.Column("channel", TEXT, nullable=False),
        sa.Column("county", TEXT, nullable=False),
        sa.Column("alert", sa.BigInteger(), nullable=False),
        sa.Column("what", TEXT, nullable=False, comment="raised, cleared or repeated"),
        sa.Column("times", sa.Integer(), nullable=False, comment="how often the channel was told of it before"),
        sa.Column("from_at", sa.BigInteger(), nullable=False, comment="from when on the channel may be told of it"),
        sa.PrimaryKeyConstraint("id"),
        comment="what a channel is still to be told; what is there at the same time becomes one notice",
    )
    op.create_index("notice_waiting_from", "notice_waiting", ["channel", "county", "from_at"])
    op.create_index("notice_waiting_alert", "notice_waiting", ["alert"])
    _notices()
    _people()
    for statement in POSTGRESQL if op.get_context().dialect.name == "postgresql" else SQLITE:
        op.execute(statement)


def _notices() -> None:
    op.create_table(
        "notices",
        sa.Column("id", ID, nullable=False),
        sa.Column("message", TEXT, nullable=False, comment="names it to the receiver, the same at every attempt"),
        sa.Column("channel", TEXT, nullable=False),
        sa.Column("county", TEXT, nullable=False),
        sa.Column("alerts", sa.Integer(), nullable=False, comment="of how many it tells"),
        sa.Column("content", TEXT, nullable=False, comment="JSON: the digest"),
        sa.Column("state", TEXT, nullable=False, comment="pending, sent or failed"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "next_at", sa.BigInteger(), comment="of a pending one: when it is tried, or is taken from who tries it"
        ),
        sa.Column("sent_at", sa.BigInteger()),
        sa.Column("error", TEXT, comment="of the last attempt"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("message", name="notices_message"),
    )
    pending = sa.text("state = 'pending'")
    op.create_index(
        "notices_pending",
        "notices",
        ["channel", "county"],
        unique=True,
        sqlite_where=pending,
        postgresql_where=pending,
    )
    op.create_table(
        "notice_alerts",
        sa.Column("notice", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("alert", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("what", TEXT, nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("notice", "alert", "what"),
        comment="of which alerts a notice tells",
        sqlite_with_rowid=False,
    )
    op.create_index("notice_alerts_alert", "notice_alerts", ["alert"])


def _people() -> None:
    op.create_table(
        "acknowledgements",
        sa.Column("id", ID, nullable=False),
        sa.Column("alert", sa.BigInteger(), nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("account", TEXT, nullable=False),
        sa.Column("person", TEXT, nullable=False),
        sa.Column("note", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        comment="who has seen an alert and what they say to it; an alert may be acknowledged again",
    )
    op.create_index("acknowledgements_alert", "acknowledgements", ["alert"])
    op.create_index("acknowledgements_key", "acknowledgements", ["key"])
    op.create_table(
        "shifts",
        sa.Column("id", ID, nullable=False),
        sa.Column("county", TEXT, comment="null: the whole city"),
        sa.Column("account", TEXT, nullable=False),
        sa.Column("person", TEXT, nullable=False, comment="who hands over"),
        sa.Column("successor", TEXT, nullable=False, comment="who has duty from then on"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("standing", sa.Integer(), nullable=False, comment="alerts that stood then"),
        sa.Column(
            "unacknowledged", sa.Integer(), nullable=False, comment="of them, those that nobody had acknowledged"
        ),
        sa.Column("overdue", sa.Integer(), nullable=False, comment="cases that were overdue then"),
        sa.Column("note", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        comment="each time that the duty was handed over, and what was open",
    )
    op.create_index("shifts_at", "shifts", ["at"])
