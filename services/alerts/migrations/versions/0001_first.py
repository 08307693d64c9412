"""Tables of the alerts service."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # in the order of code points, as on SQLite
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", ID, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("platform", TEXT, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("target", TEXT, nullable=False),
        sa.Column("rung", TEXT, nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("quiet", sa.Boolean(), nullable=False),
        sa.Column("raised_at", sa.BigInteger(), nullable=False),
        sa.Column("cleared_at", sa.BigInteger(), nullable=True),
        sa.Column("clear_reason", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key", "round", "target", "rung", "due_at", name="alerts_once"),
    )
    op.create_index("alerts_raised", "alerts", ["raised_at"], unique=False)
    op.create_table(
        "cases",
        sa.Column("key", TEXT, nullable=False),
        sa.Column("platform", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("county", TEXT, nullable=False),
        sa.Column(
            "status", TEXT, nullable=True, comment="null: nothing is known yet, all its events lie in the future"
        ),
        sa.Column("stage", TEXT, nullable=True),
        sa.Column("category", TEXT, nullable=True),
        sa.Column("title", TEXT, nullable=True, comment="de-identified"),
        sa.Column("outcome", TEXT, nullable=True),
        sa.Column("breached", sa.Boolean(), nullable=False),
        sa.Column("suspended", sa.Boolean(), nullable=False, comment="pending with the clock stopped"),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        sa.Column("month", TEXT, nullable=False, comment="of the reception's local day; empty while awaiting it"),
        sa.Column("received_at", sa.BigInteger(), nullable=True),
        sa.Column("received_day", TEXT, nullable=True),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("holder", TEXT, nullable=True),
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.Column("first_reply", TEXT, nullable=False, comment="verdict of the first round's reply target"),
        sa.Column("first_reply_due_at", sa.BigInteger(), nullable=True, comment="while that verdict is `running`"),
        sa.Column("complete", TEXT, nullable=False, comment="verdict of the current round's complete target"),
        sa.Column("due_at", sa.BigInteger(), nullable=True, comment="deadline of the current round's complete target"),
        sa.Column("due_day", TEXT, nullable=True),
        sa.Column("ruleset", TEXT, nullable=False),
        sa.Column("wake_at", sa.BigInteger(), nullable=True, comment="when the row changes though no event arrives"),
        sa.Column("events_ahead", sa.Boolean(), nullable=False, comment="whether a recorded event lies in the future"),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "cases_due",
        "cases",
        ["platform", "due_at"],
        unique=False,
        sqlite_where=sa.text("outcome IN ('overdue', 'pending')"),
        postgresql_where=sa.text("outcome IN ('overdue', 'pending')"),
    )
    op.create_index("cases_month", "cases", ["month"], unique=False)
    op.create_index(
        "cases_wake",
        "cases",
        ["wake_at"],
        unique=False,
        sqlite_where=sa.text("wake_at IS NOT NULL"),
        postgresql_where=sa.text("wake_at IS NOT NULL"),
    )
    op.create_table(
        "days",
        sa.Column("platform", TEXT, nullable=False),
        sa.Column("day", TEXT, nullable=False),
        sa.Column("received", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tally", sa.Integer(), nullable=True, comment="the platform's own count"),
        sa.Column("tally_time", sa.BigInteger(), nullable=True),
        sa.Column("tally_sequence", sa.BigInteger(), nullable=True),
        sa.Column("tally_id", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("platform", "day"),
        comment="messages received per local day, by our count and the platform's",
    )
    op.create_table(
        "due_days",
        sa.Column("due_day", TEXT, nullable=False),
        sa.Column("platform", TEXT, nullable=False),
        sa.Column("category", TEXT, nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("due_day", "platform", "category"),
        comment="open cases whose complete target runs, by the day that it ends",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "event_counts",
        sa.Column("platform", TEXT, nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("last_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("platform", "type"),
    )
    op.create_table(
        "figures",
        sa.Column("platform", TEXT, nullable=False),
        sa.Column("month", TEXT, nullable=False),
        sa.Column("category", TEXT, nullable=False),
        sa.Column("outcome", TEXT, nullable=False),
        sa.Column("breached", sa.Boolean(), nullable=False),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.Column("reply", TEXT, nullable=False),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "platform", "month", "category", "outcome", "breached", "suspended", "reply", "provisional"
        ),
        comment="how many cases stand how (shared.figures.Standing)",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "targets",
        sa.Column("id", ID, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("platform", TEXT, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("target", TEXT, nullable=False, comment="reply, complete, or suspension"),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "quiet", sa.Boolean(), nullable=False, comment="overdue for over 24 h when first seen: listed, not sent"
        ),
        sa.Column("next_rung", TEXT, nullable=True),
        sa.Column("next_at", sa.BigInteger(), nullable=True, comment="when that rung is reached"),
        sa.Column("escalate_1_at", sa.BigInteger(), nullable=True),
        sa.Column("escalate_2_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key", "target", name="targets_key"),
        comment="targets of open cases, each with the next rung of its alerts",
    )
    op.create_index(
        "targets_next",
        "targets",
        ["next_at"],
        unique=False,
        sqlite_where=sa.text("next_at IS NOT NULL"),
        postgresql_where=sa.text("next_at IS NOT NULL"),
    )
