"""A hand-over that is sent twice is recorded once."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("shifts", sa.Column("once", TEXT, nullable=True))
    op.create_index("shifts_once", "shifts", ["once"], unique=True)
