"""Tallies in a table of their own, so that one from the future can wait for its time."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _tallies()


def _tallies() -> None:
    op.create_table(
        "tallies",
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
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
