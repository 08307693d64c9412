"""Who did what, when, and from where. Only added to: the database refuses every change of it."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum

from msgspec import Struct
from sqlalchemy import Connection, insert, select

from services.alerts.people.tables import audit
from services.alerts.people.viewer import Viewer
from shared.times import from_micros, to_micros


class Action(StrEnum):
    """What is put on record."""

    SIGNED_IN = "signed_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGN_IN_REFUSED = "sign_in_refused"
    SIGNED_OUT = "signed_out"
    SIGNED_OUT_EVERYWHERE = "signed_out_everywhere"
    ACCOUNT_CREATED = "account_created"
    ACCOUNT_LOCKED = "account_locked"
    ACCOUNT_UNLOCKED = "account_unlocked"
    ACCOUNT_REMOVED = "account_removed"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a word, no password
    TOKEN_CREATED = "token_created"  # noqa: S105
    TOKEN_REVOKED = "token_revoked"  # noqa: S105
    ALERT_ACKNOWLEDGED = "alert_acknowledged"
    SHIFT_HANDED_OVER = "shift_handed_over"


ACTIONS = {
    Action.SIGNED_IN: "登录",
    Action.SIGN_IN_FAILED: "登录失败",
    Action.SIGN_IN_REFUSED: "登录次数过多，已暂停",
    Action.SIGNED_OUT: "退出",
    Action.SIGNED_OUT_EVERYWHERE: "在所有地方退出",
    Action.ACCOUNT_CREATED: "建立账号",
    Action.ACCOUNT_LOCKED: "停用账号",
    Action.ACCOUNT_UNLOCKED: "恢复账号",
    Action.ACCOUNT_REMOVED: "删除账号",
    Action.PASSWORD_CHANGED: "更改密码",
    Action.TOKEN_CREATED: "建立读取令牌",
    Action.TOKEN_REVOKED: "作废读取令牌",
    Action.ALERT_ACKNOWLEDGED: "确认提醒",
    Action.SHIFT_HANDED_OVER: "交接班",
}


class Entry(Struct, frozen=True):
    """`account` is null where nobody was signed in: a failed sign-in, a command of the machine's administrator."""

    at: datetime
    account: str | None
    person: str
    action: str
    subject: str
    detail: str
    address: str


def record(
    connection: Connection,
    now: datetime,
    viewer: Viewer | None,
    action: str,
    subject: str,
    address: str,
    detail: str = "",
) -> None:
    """In the transaction of what is done: both are there, or neither. `viewer`: who did it, None for nobody known."""
    connection.execute(
        insert(audit).values(
            at=to_micros(now),
            account=viewer.account if viewer else None,
            person=viewer.person if viewer else "",
            action=str(action),
            subject=subject,
            detail=detail,
            address=address,
        )
    )


def entries(connection: Connection, account: str | None = None, limit: int | None = None) -> Iterator[Entry]:
    """The newest first; only what this account did, or what was done to it, when one is given."""
    statement = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if account is not None:
        statement = statement.where((audit.c.account == account) | (audit.c.subject == account))
    for row in connection.execute(statement):
        yield Entry(from_micros(row.at), row.account, row.person, row.action, row.subject, row.detail, row.address)
