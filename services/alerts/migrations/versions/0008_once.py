"""A hand-over that is sent twice is recorded once."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    told = "names what was sent, so that it is recorded once; null: whoever sent it gave it no name"
    op.add_column("shifts", sa.Column("once", TEXT, nullable=True, comment=told))
    op.create_index("shifts_once", "shifts", ["once"], unique=True)
