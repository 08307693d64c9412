"""Alerts become a journal, a row each time one is raised; tallies have a table, where one from the future waits for its time."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # in the order of code points, as on SQLite


COMMENTS = {
    "alerts": "a row for each time that an alert was raised; at most one of them stands",
    "days": "messages received per local day, by our count",
}


def upgrade() -> None:
    _alerts()
    _tallies()
    op.execute("UPDATE cases SET title = substr(title, 1, 199) || '…' WHERE length(title) > 200")
    op.create_index(
        "cases_ahead",
        "cases",
        ["key"],
        unique=False,
        sqlite_where=sa.text("events_ahead IS 1"),
        postgresql_where=sa.text("events_ahead IS true"),
    )
    if op.get_context().dialect.name == "postgresql":  # SQLite keeps no comments
        for table, comment in COMMENTS.items():
            op.create_table_comment(table, comment)


def _alerts() -> None:
    with op.batch_alter_table("alerts") as batch:
        batch.drop_constraint("alerts_once", type_="unique")
    op.create_index(
        "alerts_once",
        "alerts",
        ["key", "round", "target", "rung", "due_at"],
        unique=True,
        sqlite_where=sa.text("cleared_at IS NULL"),
        postgresql_where=sa.text("cleared_at IS NULL"),
    )
    op.create_index(
        "alerts_cleared",
        "alerts",
        ["key"],
        unique=False,
        sqlite_where=sa.text("cleared_at IS NOT NULL"),
        postgresql_where=sa.text("cleared_at IS NOT NULL"),
    )


def _tallies() -> None:
    op.create_table(
        "tallies",
        sa.Column("platform", TEXT, nullable=False),
        sa.Column("day", TEXT, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("platform", "day", "time", "sequence", "id"),
        comment="the platforms' own counts of their days; of a day the latest by now stands",
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO tallies (platform, day, time, sequence, id, received) "
        "SELECT platform, day, tally_time, tally_sequence, tally_id, tally FROM days WHERE tally IS NOT NULL"
    )
    for name in ("tally", "tally_time", "tally_sequence", "tally_id"):
        op.drop_column("days", name)
