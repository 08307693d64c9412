"""The commands accounts …: who may sign in, what they may see, and what was done."""

import getpass
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import click
import msgspec
from sqlalchemy import Connection

from services.alerts.people import audit, tokens
from services.alerts.people.accounts import (
    AccountError,
    add_account,
    list_accounts,
    new_account,
    normalized,
    remove_account,
    set_locked,
    set_password,
)
from services.alerts.people.audit import ACTIONS, Action
from services.alerts.people.passwords import PasswordError, Passwords, generate, require_usable
from services.alerts.people.viewer import Role
from services.commands.common import db_option, ruleset
from services.commands.stores import Store, opened_store
from services.compose.clock import SystemClock
from shared.commandline import fail, settings
from shared.helptext import ChineseCommand, ChineseGroup
from shared.times import show
from shared.zh import ROLES

ACCOUNT = click.argument("name", metavar="账号")


@click.group("accounts", cls=ChineseGroup)
def accounts_group() -> None:
    """谁可以登录、看到哪里：账号、读取令牌、操作记录。"""


@accounts_group.command("create", cls=ChineseCommand)
@ACCOUNT
@click.option("--person", required=True, metavar="姓名", help="别人看到的姓名")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.CITY.value,
    help="city 市级值班（默认），county 县区值班，auditor 审计（只看）",
)
@click.option("--county", metavar="县区", help="县区标识：只看这个县区（县区值班必写）")
@click.option("--generate", "generated", is_flag=True, help="生成密码，只显示这一次；不写则从终端或标准输入读")
@click.option("--no-password", "without", is_flag=True, help="没有密码：只能从统一身份认证登录")
@db_option
def accounts_create(
    name: str, person: str, role: str, county: str | None, generated: bool, without: bool, db: str | None
) -> None:
    """建立账号。密码从终端（不回显）或标准输入读，或由 --generate 生成；库里只存散列值。"""
    if generated and without:
        raise click.UsageError("--generate 与 --no-password 不能同用")
    found = settings()
    rules = ruleset(found)
    name, now = normalized(name), SystemClock().now()
    with opened_store(db, found, create=True) as store, _told():
        account = new_account(name, person, Role(role), county, rules.registry, None, now)
        password = None if without else _password(name, generated)
        kept = None if password is None else Passwords().hash(password)
        with store.writing() as connection:
            add_account(connection, msgspec.structs.replace(account, password=kept))
            _record(connection, Action.ACCOUNT_CREATED, name, f"{role} {county or ''}".strip())
    seen = rules.registry.county_names[county] if county else "全市"
    click.echo(f"账号 {name}（{person}，{ROLES[role]}，{seen}）已建立", err=True)
    _show(password, generated)


@accounts_group.command("list", cls=ChineseCommand)
@db_option
def accounts_list(db: str | None) -> None:
    """列出账号、姓名、角色、看到哪里和状态。"""
    with opened_store(db, settings()) as store, store.reading() as connection:
        for account in list_accounts(connection):
            state = "已停用" if account.locked else "可用" if account.password else "可用（没有密码）"
            seen = account.county or "全市"
            shown = (account.name, account.person, ROLES[account.role], seen, f"{show(account.created_at)} 建立", state)
            click.echo("\t".join(shown))


@accounts_group.command("password", cls=ChineseCommand)
@ACCOUNT
@click.option("--generate", "generated", is_flag=True, help="生成密码，只显示这一次；不写则从终端或标准输入读")
@db_option
def accounts_password(name: str, generated: bool, db: str | None) -> None:
    """给账号换一个密码。它在各处的登录随即失效；读取令牌不受影响。"""
    name = normalized(name)
    with _changing(db) as store:
        password = _password(name, generated)
        kept = Passwords().hash(password)
        with store.writing() as connection:
            set_password(connection, name, kept)
            _record(connection, Action.PASSWORD_CHANGED, name)
    click.echo(f"账号 {name} 的密码已更改，需要重新登录", err=True)
    _show(password, generated)


@accounts_group.command("lock", cls=ChineseCommand)
@ACCOUNT
@db_option
def accounts_lock(name: str, db: str | None) -> None:
    """停用账号：不能登录，登录着的随即退出，读取令牌也不能用。"""
    _change(db, name, Action.ACCOUNT_LOCKED, partial(set_locked, locked=True), "停用")


@accounts_group.command("unlock", cls=ChineseCommand)
@ACCOUNT
@db_option
def accounts_unlock(name: str, db: str | None) -> None:
    """恢复停用的账号：可以用原来的密码登录，原来的读取令牌又能用。"""
    _change(db, name, Action.ACCOUNT_UNLOCKED, partial(set_locked, locked=False), "恢复")


@accounts_group.command("remove", cls=ChineseCommand)
@ACCOUNT
@db_option
def accounts_remove(name: str, db: str | None) -> None:
    """删除账号，连同它的登录和读取令牌；它做过的事仍在操作记录里。"""
    _change(db, name, Action.ACCOUNT_REMOVED, remove_account, "删除")


@accounts_group.command("token", cls=ChineseCommand)
@ACCOUNT
@db_option
def accounts_token(name: str, db: str | None) -> None:
    """为账号建立一个读取令牌，给程序查询用；只显示这一次，库里只存散列值。看到的与账号相同，不能改任何东西。"""
    name = normalized(name)
    with _changing(db) as store, store.writing() as connection:
        identifier, token = tokens.create_token(connection, name, SystemClock().now())
        _record(connection, Action.TOKEN_CREATED, name, identifier)
    click.echo(f"读取令牌编号 {identifier}，账号 {name}，只显示这一次：", err=True)
    click.echo(token)


@accounts_group.command("tokens", cls=ChineseCommand)
@db_option
def accounts_tokens(db: str | None) -> None:
    """列出读取令牌的编号、账号和状态（令牌本身无法再显示）。"""
    with opened_store(db, settings()) as store, store.reading() as connection:
        for token in tokens.list_tokens(connection):
            state = "有效" if token.revoked_at is None else f"已于 {show(token.revoked_at)} 作废"
            click.echo(f"{token.id}\t{token.account}\t{show(token.created_at)} 建立\t{state}")


@accounts_group.command("revoke", cls=ChineseCommand)
@click.argument("identifier", metavar="令牌编号")
@db_option
def accounts_revoke(identifier: str, db: str | None) -> None:
    """作废一个读取令牌：运行中的服务随即不再认它。"""
    now = SystemClock().now()
    with _changing(db) as store, store.writing() as connection:
        name = tokens.revoke_token(connection, identifier, now)
        _record(connection, Action.TOKEN_REVOKED, name, identifier)
    click.echo(f"读取令牌 {identifier}（账号 {name}）已作废")


@accounts_group.command("audit", cls=ChineseCommand)
@click.option("--account", metavar="账号", help="只列这个账号做的，和对它做的")
@click.option("--limit", type=click.IntRange(min=1), metavar="条数", help="最多列几条（默认不限）")
@click.option("--jsonl", is_flag=True, help="每行一条的 JSON")
@db_option
def accounts_audit(account: str | None, limit: int | None, jsonl: bool, db: str | None) -> None:
    """操作记录：谁，何时，从哪里，做了什么；最新的在前。"""
    wanted = None if account is None else normalized(account)
    with opened_store(db, settings()) as store, store.reading() as connection:
        for entry in audit.entries(connection, wanted, limit):
            if jsonl:
                click.echo(msgspec.json.encode(entry).decode())
                continue
            who = f"{entry.person}（{entry.account}）" if entry.account else "—"
            what = ACTIONS.get(Action(entry.action), entry.action) if entry.action in set(Action) else entry.action
            told = (show(entry.at), who, what, entry.subject, entry.detail, entry.address)
            click.echo("\t".join(told).rstrip())


@contextmanager
def _told() -> Iterator[None]:
    """What cannot be done ends the command with one line."""
    try:
        yield
    except (AccountError, PasswordError) as error:
        fail(str(error))


@contextmanager
def _changing(db: str | None) -> Iterator[Store]:
    with opened_store(db, settings(), write=True) as store, _told():
        yield store


def _change(db: str | None, name: str, action: Action, change: Callable[[Connection, str], None], done: str) -> None:
    """Of an account that there is; `done`: what was done to it, in a word."""
    name = normalized(name)
    with _changing(db) as store, store.writing() as connection:
        change(connection, name)
        _record(connection, action, name)
    click.echo(f"账号 {name} 已{done}")


def _show(password: str | None, generated: bool) -> None:
    if generated:
        click.echo("密码，只显示这一次：", err=True)
        click.echo(password)


def _record(connection: Connection, action: Action, name: str, detail: str = "") -> None:
    """Who runs a command has no account here: the record names the user of the machine."""
    audit.record(connection, SystemClock().now(), None, action, name, f"命令行（{getpass.getuser()}）", detail)


def _password(name: str, generated: bool) -> str:
    """Generated, or typed twice without being shown, or the first line of standard input. Raises PasswordError."""
    if generated:
        return generate()
    if sys.stdin.isatty():
        password = getpass.getpass("密码：")
        if getpass.getpass("再输一次：") != password:
            raise PasswordError("两次输入的密码不一样，请再运行一次")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    require_usable(password, name)
    return password
