"""How long the completed cases took, kept by difference, and an index for the open cases of a holder."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
OPEN = "outcome IN ('overdue', 'pending')"
DAY = {
    "sqlite": "date(closed_at / 1000000 + 28800, 'unixepoch')",
    "postgresql": "to_char(to_timestamp(closed_at / 1000000 + 28800) AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
}
FILL = (
    "INSERT INTO handled (received_day, closed_day, platform, category, cases) "
    "SELECT received_day, {day}, platform, category, count(*) FROM cases "
    "WHERE outcome IN ('on_time', 'late') GROUP BY 1, 2, 3, 4"
)


def upgrade() -> None:
    op.create_table(
        "handled",
        sa.Column("received_day", TEXT, nullable=False),
        sa.Column("closed_day", TEXT, nullable=False),
        sa.Column("platform", TEXT, nullable=False),
        sa.Column("category", TEXT, nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("received_day", "closed_day", "platform", "category"),
        comment="completed cases that are accountable, by the days of their reception and their closing",
        sqlite_with_rowid=False,
    )
    op.execute(FILL.format(day=DAY[op.get_context().dialect.name]))
    op.create_index(
        "cases_holder",
        "cases",
        ["platform", "holder", "due_at"],
        unique=False,
        sqlite_where=sa.text(OPEN),
        postgresql_where=sa.text(OPEN),
    )
