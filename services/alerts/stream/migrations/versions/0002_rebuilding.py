"""Whether the projections are being rebuilt, and how far."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TEXT = sa.Text(collation="C")


def upgrade() -> None:
    op.add_column(
        "stream_state",
        sa.Column("rebuilding", TEXT, comment="reading, then projecting; null while the projections are whole"),
    )
    op.add_column(
        "stream_state",
        sa.Column(
            "read_to",
            TEXT,
            comment="JSON: up to where each partition of the records is read before cases are projected",
        ),
    )
