"""An acknowledgement that is sent twice is recorded once."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column(
        "acknowledgements", sa.Column("once", TEXT, nullable=True, comment="names what was sent, as in `shifts`")
    )
    op.create_index("acknowledgements_once", "acknowledgements", ["once", "alert"], unique=True)
