"""Up to where the partitions of topics are in the projections, and who may write."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "consumer_positions",
        sa.Column("topic", TEXT, nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "epoch",
            sa.BigInteger(),
            nullable=False,
            comment="of the consumer that may write; grows with every assignment",
        ),
        sa.Column(
            "next_offset", sa.BigInteger(), nullable=False, comment="up to here the partition is in the projections"
        ),
        sa.PrimaryKeyConstraint("topic", "partition"),
        sqlite_with_rowid=False,
    )
