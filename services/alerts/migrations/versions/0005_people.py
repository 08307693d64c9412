"""Accounts, sessions, read tokens, attempts to sign in, and who did what, which no statement can change."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

FREEZE = {
    "sqlite": [
        f"CREATE TRIGGER audit_no_{name} BEFORE {change} BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END"
        for name, change in (
            ("update", "UPDATE ON audit"),
            ("delete", "DELETE ON audit"),
            # Of an entry that INSERT OR REPLACE puts another one for, SQLite tells no trigger that it is deleted.
            ("replace", "INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)"),
        )
    ],
    "postgresql": [
        "CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'audit is append-only'; END $$",
        "CREATE TRIGGER audit_frozen BEFORE UPDATE OR DELETE ON audit "
        "FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()",
        "CREATE TRIGGER audit_kept BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()",
    ],
}


def upgrade() -> None:
    _accounts()
    _attempts()
    _audit()


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("name", TEXT, nullable=False, comment="what is typed when signing in, in lower case"),
        sa.Column("person", TEXT, nullable=False, comment="the name that others see"),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("county", TEXT, comment="whose cases only are seen; null: the whole city's"),
        sa.Column(
            "password", TEXT, comment="Argon2id, in the PHC format; null: signs in by the city's own sign-in only"
        ),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sessions",
        sa.Column("hash", TEXT, nullable=False, comment="SHA-256 of the cookie, which has 256 random bits"),
        sa.Column("account", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("address", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("hash"),
        sqlite_with_rowid=False,
    )
    op.create_index("sessions_account", "sessions", ["account"])
    op.create_index("sessions_created", "sessions", ["created_at"])
    op.create_table(
        "read_tokens",
        sa.Column("id", TEXT, nullable=False, comment="public name of the token: what lists and revocations use"),
        sa.Column("account", TEXT, nullable=False),
        sa.Column("hash", TEXT, nullable=False, comment="SHA-256 of the whole token, which has 256 random bits"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
        sqlite_with_rowid=False,
    )
    op.create_index("read_tokens_account", "read_tokens", ["account"])


def _attempts() -> None:
    op.create_table(
        "sign_in_attempts",
        sa.Column("kind", TEXT, nullable=False, comment="account or address"),
        sa.Column(
            "subject",
            TEXT,
            nullable=False,
            comment="SHA-256 of the name, which may be a mistyped password; or the address",
        ),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject"),
        comment="attempts to sign in that have not succeeded, of the last minutes",
        sqlite_with_rowid=False,
    )
    op.create_index("sign_in_attempts_began", "sign_in_attempts", ["began_at"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", ID, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("account", TEXT, comment="null: nobody was signed in"),
        sa.Column("person", TEXT, nullable=False, comment="as they were called then"),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False, comment="whom or what it was done to"),
        sa.Column("detail", TEXT, nullable=False),
        sa.Column("address", TEXT, nullable=False, comment="from where; of a command, the user of the machine"),
        sa.PrimaryKeyConstraint("id"),
        comment="who did what, when, and from where; triggers refuse every change",
    )
    op.create_index("audit_account", "audit", ["account", "id"])
    for statement in FREEZE[op.get_context().dialect.name]:
        op.execute(statement)
