"""Indexes for what the pages show of alerts that stand, notices and hand-overs."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    standing = {"sqlite": "cleared_at IS NULL AND quiet = 0", "postgresql": "cleared_at IS NULL AND NOT quiet"}
    told = sa.text(standing[op.get_context().dialect.name])
    op.create_index("alerts_told", "alerts", ["platform", "id"], sqlite_where=told, postgresql_where=told)
    op.create_index("notices_state", "notices", ["state", "id"])
    op.create_index("notices_county", "notices", ["county", "state", "id"])
    op.create_index("shifts_county", "shifts", ["county", "id"])
