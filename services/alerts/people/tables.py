"""Tables of who may look: accounts, their sessions and tokens, attempts to sign in, and who did what."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, Table

from services.alerts.sql import Id, Text
from services.alerts.tables import metadata

accounts = Table(
    "accounts",
    metadata,
    Column("name", Text, primary_key=True, comment="what is typed when signing in, in lower case"),
    Column("person", Text, nullable=False, comment="the name that others see"),
    Column("role", Text, nullable=False),
    Column("county", Text, comment="whose cases only are seen; null: the whole city's"),
    Column("password", Text, comment="Argon2id, in the PHC format; null: signs in by the city's own sign-in only"),
    Column("locked", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", Text, primary_key=True, comment="SHA-256 of the cookie, which has 256 random bits"),
    Column("account", Text, ForeignKey("accounts.name", ondelete="CASCADE"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("address", Text, nullable=False),
    sqlite_with_rowid=False,
)
Index("sessions_account", sessions.c.account)
Index("sessions_created", sessions.c.created_at)

read_tokens = Table(
    "read_tokens",
    metadata,
    Column("id", Text, primary_key=True, comment="public name of the token: what lists and revocations use"),
    Column("account", Text, ForeignKey("accounts.name", ondelete="CASCADE"), nullable=False),
    Column("hash", Text, nullable=False, unique=True, comment="SHA-256 of the whole token, which has 256 random bits"),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    sqlite_with_rowid=False,
)
Index("read_tokens_account", read_tokens.c.account)

sign_in_attempts = Table(
    "sign_in_attempts",
    metadata,
    Column("kind", Text, primary_key=True, comment="account or address"),
    Column(
        "subject",
        Text,
        primary_key=True,
        comment="SHA-256 of the name, which may be a mistyped password; or the address",
    ),
    Column("began_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    sqlite_with_rowid=False,
    comment="attempts to sign in that have not succeeded, of the last minutes",
)
Index("sign_in_attempts_began", sign_in_attempts.c.began_at)

audit = Table(
    "audit",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("account", Text, comment="null: nobody was signed in"),
    Column("person", Text, nullable=False, comment="as they were called then"),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False, comment="whom or what it was done to"),
    Column("detail", Text, nullable=False),
    Column("address", Text, nullable=False, comment="from where; of a command, the user of the machine"),
    comment="who did what, when, and from where; triggers refuse every change",
)
Index("audit_account", audit.c.account, audit.c.id)
