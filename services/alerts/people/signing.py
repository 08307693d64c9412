"""Signing in and out, changing a password: what happens, without HTTP. Passwords are compared outside of transactions."""

from msgspec import Struct

from services.alerts.people.accounts import Account, end_sessions, find_account, normalized, rehash, set_password
from services.alerts.people.audit import Action, record
from services.alerts.people.guard import People
from services.alerts.people.oidc import OidcError, Trip
from services.alerts.people.passwords import LONGEST, PasswordError, require_usable
from services.alerts.people.sessions import end_session, start_session
from services.alerts.people.throttle import count_attempt, forget, forgive
from services.alerts.people.viewer import Viewer

WRONG = "账号或密码不对，或账号已停用"
NO_ACCOUNT = "您在这里没有账号，或账号已停用，请找管理员"
WRONG_PRESENT = "现在的密码不对"


class Refused(Struct, frozen=True):
    """Why not, and for how many seconds not to try again."""

    status: int
    why: str
    wait: int = 0


def sign_in(people: People, name: str, password: str, address: str, replaced: str = "") -> str | Refused:
    """The secret of a new session. `replaced`: the session that the browser has, which ends. An account that there is not, that is
    locked or has no password is told like a wrong password, and takes as long."""
    name = normalized(name)
    account = _compared(people, name, password, address)
    if isinstance(account, Refused):
        return account
    newer = people.passwords.hash(password) if people.passwords.outdated(account.password or "") else None
    now = people.now()
    with people.database.writing() as connection:
        kept = find_account(connection, name)
        if kept is None or kept.locked or kept.password != account.password:  # changed just now
            return Refused(401, WRONG)
        if newer is not None:
            rehash(connection, name, account.password or "", newer)
        forgive(connection, name, address)
        record(connection, now, kept.viewer, Action.SIGNED_IN, name, address)
        return start_session(connection, name, address, now, replaced)


def sign_in_by_oidc(
    people: People, trip: Trip, code: str, issuer: str | None, address: str, replaced: str = ""
) -> str | Refused:
    """The secret of a new session, for who comes back from the city's own sign-in: only with an account of that name here."""
    assert people.provider is not None
    try:
        name = normalized(people.provider.who(trip, code, issuer, people.now()))
    except OidcError as error:
        return Refused(403, str(error))
    now = people.now()
    with people.database.writing() as connection:
        account = find_account(connection, name)
        if account is None or account.locked:
            record(connection, now, None, Action.SIGN_IN_FAILED, _known(account), address, "oidc")
            return Refused(403, NO_ACCOUNT)
        record(connection, now, account.viewer, Action.SIGNED_IN, name, address, "oidc")
        return start_session(connection, name, address, now, replaced)


def change_password(people: People, viewer: Viewer, present: str, new: str, again: str, address: str) -> str | Refused:
    """The secret of a new session, the only one that is left. The present password is asked for, as at signing in."""
    account = _compared(people, viewer.account, present, address)
    if isinstance(account, Refused):
        return account if account.wait else Refused(401, WRONG_PRESENT)
    if new != again:
        return Refused(422, "两次输入的新密码不一样")
    try:
        require_usable(new, viewer.account)
    except PasswordError as error:
        return Refused(422, str(error))
    hashed, now = people.passwords.hash(new), people.now()
    with people.database.writing() as connection:
        kept = find_account(connection, viewer.account)
        if kept is None or kept.locked or kept.password != account.password:
            return Refused(401, WRONG_PRESENT)
        set_password(connection, viewer.account, hashed)
        forgive(connection, viewer.account, address)
        record(connection, now, viewer, Action.PASSWORD_CHANGED, viewer.account, address)
        return start_session(connection, viewer.account, address, now)


def sign_out(people: People, viewer: Viewer, secret: str, address: str, everywhere: bool = False) -> None:
    action = Action.SIGNED_OUT_EVERYWHERE if everywhere else Action.SIGNED_OUT
    with people.database.writing() as connection:
        if everywhere:
            end_sessions(connection, viewer.account)
        end_session(connection, secret)
        record(connection, people.now(), viewer, action, viewer.account, address)


def _compared(people: People, name: str, password: str, address: str) -> Account | Refused:
    """The account whose password it is. The attempt is counted first: tried at the same time, none is free."""
    now = people.now()
    with people.database.writing() as connection:
        wait, first = count_attempt(connection, name, address, now)
        if first:
            record(connection, now, None, Action.SIGN_IN_REFUSED, _known(find_account(connection, name)), address)
    with people.database.writing() as connection:
        forget(connection, now)
    if wait:
        return Refused(429, f"登录次数过多，请 {-(-wait // 60)} 分钟后再试", wait)
    with people.database.reading() as connection:
        account = find_account(connection, name)
    kept = None if account is None or account.locked or len(password) > LONGEST else account.password
    if people.passwords.matches(kept, password[:LONGEST]):  # composing a long one could take minutes
        assert account is not None
        return account
    with people.database.writing() as connection:
        record(connection, now, None, Action.SIGN_IN_FAILED, _known(account), address)
    return Refused(401, WRONG)


def _known(account: Account | None) -> str:
    """A name that nobody has may be a password that was typed into the wrong field: it is not put on record."""
    return account.name if account is not None else "（没有这个账号）"
