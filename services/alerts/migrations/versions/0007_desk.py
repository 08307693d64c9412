"""Indexes for what the pages show of notices and hand-overs."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_index("notices_state", "notices", ["state", "id"])
    op.create_index("notices_county", "notices", ["county", "state", "id"])
    op.create_index("shifts_county", "shifts", ["county", "id"])
