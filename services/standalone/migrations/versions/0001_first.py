"""The event log of the embedded engine, and its dead letters."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column(
            "origin", sa.Text(), nullable=False, comment="where it came from: a file's line, or a platform's push"
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True, comment="only what was settled and de-identified"),
        sa.Column("digest", sa.Text(), nullable=False, comment="of all the above but `at`: the same is buried once"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_index("dead_letters_reason", "dead_letters", ["reason"], unique=False)
    op.create_table(
        "events",
        sa.Column("position", sa.Integer(), nullable=False, comment="grows in the order of acceptance"),
        sa.Column("ident", sa.Text(), nullable=False, comment="platform/id"),
        sa.Column("key", sa.Text(), nullable=False, comment="platform/subject; empty for what belongs to no case"),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("ident"),
    )
    op.create_index("events_key", "events", ["key"], unique=False)
    op.create_table(
        "progress",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False, comment="up to here the log is in the projections"),
        sa.Column("ruleset", sa.Text(), nullable=False, comment="hash of the ruleset of all the projections"),
        sa.Column(
            "as_of",
            sa.BigInteger(),
            nullable=False,
            comment="the latest instant as of which the projections were brought",
        ),
        sa.PrimaryKeyConstraint("name"),
    )
