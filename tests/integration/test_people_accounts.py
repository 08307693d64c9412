"""Accounts, tokens and the record of what was done, on both databases; and the commands that keep them."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from argon2 import PasswordHasher
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import DatabaseError

from services.alerts.people import audit as journal
from services.alerts.people import tables
from services.alerts.people.accounts import (
    AccountError,
    find_account,
    list_accounts,
    new_account,
    rehash,
    remove_account,
    set_locked,
    set_password,
)
from services.alerts.people.audit import ACTIONS, Action, entries, record
from services.alerts.people.passwords import LONGEST, PasswordError, Passwords, generate, require_usable
from services.alerts.people.tokens import create_token, list_tokens, revoke_token, viewer_of_token
from services.alerts.people.viewer import Role, Viewer
from shared.database import Connections
from shared.zh import ROLES
from tests import postgres
from tests.builders import shipped_rules
from tests.peoplekit import NOW, PASSWORD, QUICK, account, add, database
from tests.service import Finished, liuyan, raw_bytes


@pytest.fixture(params=["sqlite", "postgresql"])
def db(request: pytest.FixtureRequest) -> Iterator[Connections]:
    if request.param == "postgresql":
        request.getfixturevalue("postgres_server")
    with database(request.param) as found:
        yield found


# Passwords


def test_only_the_right_password_matches_and_of_no_account_none_does() -> None:
    kept = QUICK.hash(PASSWORD)
    assert PASSWORD not in kept
    assert kept != QUICK.hash(PASSWORD)
    assert QUICK.matches(kept, PASSWORD)
    assert not QUICK.matches(kept, PASSWORD + " ")
    assert not QUICK.matches(None, PASSWORD)
    assert not QUICK.matches("no hash", PASSWORD)
    assert not QUICK.matches(kept, "\ud800")


def test_an_account_that_there_is_not_is_compared_with_as_much_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same Argon2 with the same parameters runs once, whoever is asked for: only so nobody can tell by the time."""
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    passwords, verified = Passwords(hasher), []
    really = PasswordHasher.verify

    def verify(self: PasswordHasher, kept: str, given: bytes) -> bool:
        verified.append(kept.rsplit("$", 2)[0])
        return really(self, kept, given)  # type: ignore[return-value]

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    assert passwords.matches(hasher.hash(PASSWORD.encode()), PASSWORD)
    assert not passwords.matches(None, PASSWORD)
    assert len(verified) == 2
    assert verified[0] == verified[1]


def test_a_password_is_the_same_whichever_way_its_characters_are_composed() -> None:
    assert QUICK.matches(QUICK.hash("cafe\u0301 long enough"), "caf\u00e9 long enough")


def test_a_hash_of_other_parameters_is_outdated() -> None:
    assert not QUICK.outdated(QUICK.hash(PASSWORD))
    assert Passwords().outdated(QUICK.hash(PASSWORD))
    assert Passwords().hash(PASSWORD).startswith("$argon2id$")


@pytest.mark.parametrize("password", ["short", "a" * 50, "zhang-san-12", "ZHANG-san-12", "x" * (LONGEST + 1), ""])
def test_a_password_that_is_soon_guessed_may_not_be_chosen(password: str) -> None:
    with pytest.raises(PasswordError):
        require_usable(password, "zhang")


def test_a_generated_password_may_be_chosen_and_is_another_each_time() -> None:
    found = {generate() for _ in range(50)}
    assert len(found) == 50
    for password in found:
        require_usable(password, "demo")


# Accounts


def test_the_tables_are_what_the_migration_makes(db: Connections) -> None:
    ours = {table.name for table in (tables.accounts, tables.sessions, tables.read_tokens, tables.audit)}
    ours |= {tables.sign_in_attempts.name}
    with db.reading() as connection:
        options = {"include_object": lambda obj, name, kind, *_: kind != "table" or name in ours}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata) == []


def test_an_account_is_kept_as_it_was_made(db: Connections) -> None:
    made = account("zhang", Role.COUNTY, "zhenkang")
    add(db, made, account("li", Role.AUDITOR), account("wang", Role.AUDITOR, "yunxian", password=None))
    with db.reading() as connection:
        assert find_account(connection, "zhang") == made
        assert find_account(connection, "nobody") is None
        assert [found.name for found in list_accounts(connection)] == ["li", "wang", "zhang"]
    assert made.viewer == Viewer("zhang", "zhang某", Role.COUNTY, "zhenkang")


@pytest.mark.parametrize(
    ("name", "person", "role", "county", "told"),
    [
        ("Zhang", "张某", Role.CITY, None, "账号"), ("", "张某", Role.CITY, None, "账号"), ("a b", "张某", Role.CITY, None, "账号"),
        ("zhang", " ", Role.CITY, None, "姓名"), ("zhang", "张\n某", Role.CITY, None, "姓名"), ("zhang", "张" * 41, Role.CITY, None, "姓名"),
        ("zhang", "张某", Role.COUNTY, None, "哪个县区"), ("zhang", "张某", Role.COUNTY, "mars", "没有县区"),
        ("zhang", "张某", Role.CITY, "zhenkang", "全市"),
    ],
)  # fmt: skip
def test_an_account_that_makes_no_sense_is_refused(
    name: str, person: str, role: Role, county: str | None, told: str
) -> None:
    with pytest.raises(AccountError, match=told):
        new_account(name, person, role, county, shipped_rules().registry, None, NOW)


def test_a_name_is_taken_once(db: Connections) -> None:
    add(db, account("zhang"))
    with pytest.raises(AccountError, match="已有账号"):
        add(db, account("zhang"))


def test_a_changed_password_ends_the_sessions_and_leaves_the_tokens(db: Connections) -> None:
    add(db, account("zhang"), account("li"))
    with db.writing() as connection:
        _, token = create_token(connection, "zhang", NOW)
        for name in ("zhang", "li"):
            values = {"hash": name, "account": name, "created_at": 1, "seen_at": 1, "address": ""}
            connection.execute(insert(tables.sessions).values(values))
        set_password(connection, "zhang", QUICK.hash("another 密码 12"))
    with db.reading() as connection:
        found = find_account(connection, "zhang")
        assert found is not None
        assert QUICK.matches(found.password, "another 密码 12")
        assert connection.execute(select(tables.sessions.c.account)).scalars().all() == ["li"]
        assert viewer_of_token(connection, token) == found.viewer


def test_a_rehash_never_undoes_a_change(db: Connections) -> None:
    made = account("zhang")
    add(db, made)
    with db.writing() as connection:
        set_password(connection, "zhang", "changed meanwhile")
        rehash(connection, "zhang", made.password or "", "newer hash of the old one")
        assert (found := find_account(connection, "zhang")) is not None
        assert found.password == "changed meanwhile"  # noqa: S105
        rehash(connection, "zhang", "changed meanwhile", "newer")
        assert (found := find_account(connection, "zhang")) is not None
        assert found.password == "newer"  # noqa: S105


def test_what_is_done_to_nobody_is_told(db: Connections) -> None:
    for act in (
        lambda connection: set_password(connection, "nobody", "x"),
        lambda connection: set_locked(connection, "nobody", True),
        lambda connection: remove_account(connection, "nobody"),
        lambda connection: create_token(connection, "nobody", NOW),
        lambda connection: revoke_token(connection, "nobody", NOW),
    ):
        with pytest.raises(AccountError, match="nobody"), db.writing() as connection:
            act(connection)


def test_a_removed_account_leaves_nothing_but_what_it_did(db: Connections) -> None:
    add(db, account("zhang"))
    with db.writing() as connection:
        create_token(connection, "zhang", NOW)
        record(connection, NOW, account("zhang").viewer, Action.SIGNED_IN, "zhang", "127.0.0.1")
        remove_account(connection, "zhang")
    with db.reading() as connection:
        assert list_accounts(connection) == []
        assert list_tokens(connection) == []
        assert [entry.account for entry in entries(connection)] == ["zhang"]


# Tokens


def test_a_token_asks_as_its_account_until_it_is_revoked(db: Connections) -> None:
    made = account("zhang", Role.COUNTY, "zhenkang")
    add(db, made)
    with db.writing() as connection:
        identifier, token = create_token(connection, "zhang", NOW)
        assert viewer_of_token(connection, token) == made.viewer
        assert viewer_of_token(connection, token[:-1]) is None
        assert viewer_of_token(connection, "") is None
        kept = connection.execute(select(tables.read_tokens.c.hash)).scalar_one()
        assert kept not in token
        assert token.startswith("lyr_")
        assert revoke_token(connection, identifier, NOW) == "zhang"
        assert viewer_of_token(connection, token) is None
        assert [found.revoked_at for found in list_tokens(connection)] == [NOW]


def test_a_token_of_a_locked_account_reads_nothing_until_it_is_unlocked(db: Connections) -> None:
    add(db, account("zhang"))
    with db.writing() as connection:
        _, token = create_token(connection, "zhang", NOW)
        set_locked(connection, "zhang", True)
        assert viewer_of_token(connection, token) is None
        set_locked(connection, "zhang", False)
        assert viewer_of_token(connection, token) is not None


# What was done


def test_what_was_done_is_told_newest_first_and_of_one_account(db: Connections) -> None:
    zhang = account("zhang").viewer
    with db.writing() as connection:
        record(connection, NOW, None, Action.ACCOUNT_CREATED, "zhang", "命令行（root）", "city")
        record(connection, NOW, zhang, Action.SIGNED_IN, "zhang", "10.0.0.7")
        record(connection, NOW, None, Action.ACCOUNT_CREATED, "li", "命令行（root）")
    with db.reading() as connection:
        assert [entry.subject for entry in entries(connection)] == ["li", "zhang", "zhang"]
        newest, oldest = entries(connection, "zhang")
        assert (newest.account, newest.person, newest.address) == ("zhang", "zhang某", "10.0.0.7")
        assert (oldest.account, oldest.detail, oldest.at) == (None, "city", NOW)
        assert len(list(entries(connection, limit=1))) == 1


def test_what_is_on_record_cannot_be_changed_or_taken_away(db: Connections) -> None:
    with db.writing() as connection:
        record(connection, NOW, None, Action.SIGN_IN_FAILED, "", "10.0.0.7")
    with db.reading() as connection:
        before = connection.execute(select(tables.audit)).all()
        others = {
            "sqlite": "INSERT OR REPLACE INTO audit SELECT id, 0, account, '', action, subject, '', '' FROM audit"
        }
        other = others.get(connection.dialect.name, "TRUNCATE audit")
    for statement in (update(tables.audit).values(address=""), delete(tables.audit), text(other)):
        with pytest.raises(DatabaseError), db.writing() as connection:
            connection.execute(statement)
    with db.writing() as connection:
        record(connection, NOW, None, Action.SIGN_IN_FAILED, "", "10.0.0.8")
    with db.reading() as connection:
        assert connection.execute(select(tables.audit).order_by(tables.audit.c.id)).all()[:-1] == before


def test_every_action_and_role_has_its_chinese_word() -> None:
    assert set(ACTIONS) == set(Action)
    assert set(ROLES) == {role.value for role in Role}
    assert journal.Action("signed_in") is Action.SIGNED_IN


# The commands


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An address for --db."""
    if request.param == "sqlite":
        yield str(tmp_path / "liuyan.db")
        return
    request.getfixturevalue("postgres_server")
    with postgres.fresh_database() as url:
        yield url


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\nsecond line\n"))


def accounts(place: str, *words: str, code: int = 0) -> Finished:
    finished = liuyan("accounts", *words, "--db", place)
    assert finished.code == code, finished.error
    return finished


def test_an_account_from_its_making_to_its_end(place: str, typed: None) -> None:
    made = accounts(place, "create", "Zhang", "--person", "张某", "--role", "county", "--county", "zhenkang")
    assert made.out == ""
    assert "张某" in made.error
    assert PASSWORD not in made.error
    assert "zhang\t张某\t县区值班\tzhenkang" in accounts(place, "list").out
    token = accounts(place, "token", "zhang").out.strip()
    listed = accounts(place, "tokens").out
    identifier = listed.split("\t")[0]
    assert token.startswith(f"lyr_{identifier}_")
    assert "有效" in listed
    accounts(place, "lock", "zhang")
    assert "已停用" in accounts(place, "list").out
    accounts(place, "unlock", "zhang")
    accounts(place, "revoke", identifier)
    assert "作废" in accounts(place, "tokens").out
    new = accounts(place, "password", "zhang", "--generate").out.strip()
    assert len(new) > 20
    accounts(place, "remove", "zhang")
    assert accounts(place, "list").out == accounts(place, "tokens").out == ""
    told = accounts(place, "audit").out.splitlines()
    words = ["删除账号", "更改密码", "作废读取令牌", "恢复账号", "停用账号", "建立读取令牌", "建立账号"]
    assert [line.split("\t")[2] for line in told] == words
    assert all("命令行（" in line for line in told)
    assert new not in "".join(told)
    first = json.loads(accounts(place, "audit", "--jsonl", "--account", "zhang", "--limit", "1").out)
    assert (first["action"], first["subject"]) == ("account_removed", "zhang")


def test_the_database_holds_neither_passwords_nor_tokens(tmp_path: Path, typed: None) -> None:
    file = tmp_path / "liuyan.db"
    accounts(str(file), "create", "zhang", "--person", "张某")
    token = accounts(str(file), "token", "zhang").out.strip()
    new = accounts(str(file), "password", "zhang", "--generate").out.strip()
    kept = raw_bytes(file)
    assert b"$argon2id$" in kept
    for secret in (PASSWORD, new, token, token.split("_", 2)[2]):  # which may have "_" in it, too
        assert secret.encode() not in kept


def test_an_account_without_a_password_is_one_for_the_citys_own_sign_in(place: str) -> None:
    accounts(place, "create", "li@example", "--person", "李某", "--role", "auditor", "--no-password")
    assert "没有密码" in accounts(place, "list").out


def test_what_cannot_be_done_is_told_in_one_line_and_changes_nothing(place: str, typed: None) -> None:
    accounts(place, "create", "zhang", "--person", "张某", "--generate")
    before = accounts(place, "list").out, accounts(place, "audit").out
    for words, told in (
        (("create", "zhang", "--person", "张某", "--generate"), "已有账号"),
        (("create", "li", "--person", "李某", "--role", "county", "--generate"), "哪个县区"),
        (("create", "li", "--person", "李某", "--county", "mars", "--role", "auditor", "--generate"), "没有县区 mars"),
        (("password", "nobody", "--generate"), "没有账号 nobody"),
        (("lock", "nobody"), "没有账号 nobody"),
        (("revoke", "nobody"), "没有编号为 nobody"),
        (("token", "nobody"), "没有账号 nobody"),
    ):
        error = accounts(place, *words, code=1).error
        assert told in error
        assert len(error.splitlines()) == 1
    sys.stdin = io.StringIO("short\n")
    assert "密码应为" in accounts(place, "create", "li", "--person", "李某", code=1).error
    accounts(place, "create", "li", "--person", "李某", "--generate", "--no-password", code=2)
    assert (accounts(place, "list").out, accounts(place, "audit").out) == before
