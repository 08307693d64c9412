"""Who may look, as the settings say."""

import ipaddress
import os
from pathlib import Path

import structlog

from services.alerts.people.accounts import list_accounts
from services.alerts.people.guard import People
from services.alerts.people.oidc import Provider, parse_oidc
from services.compose.clock import SystemClock
from shared.config import ConfigError
from shared.database import Connections
from shared.deployment import read_text
from shared.rules import Ruleset
from shared.settings import Settings

logger = structlog.get_logger("people")


def people_of(found: Settings, database: Connections, rules: Ruleset) -> People:
    """Sessions run by the machine's clock, whatever clock the cases are shown by. Raises ConfigError."""
    required = found.sign_in == "required"
    provider = None if found.oidc is None else _provider(found.oidc, found.public_url)
    return People(database, rules.registry, SystemClock().now, required, found.public_url, provider)


def _provider(file: Path, public_url: str | None) -> Provider:
    if public_url is None:
        raise ConfigError("设置 oidc 还需要设置 public_url：统一身份认证要知道把人送回哪里")
    return Provider(parse_oidc(*read_text(file, ""), os.environ.get("LIUYAN_OIDC_SECRET")), public_url)


def warn_if_open(people: People, address: str) -> None:
    """`address`: where the service listens. Whoever reaches it sees everything: that is told, unless only this machine does."""
    if not people.required and not ipaddress.ip_address(address).is_loopback:
        logger.warning(
            "查看不需要登录，而监听的地址别的机器也能到达：请确认前面另有登录", action="sign_in_off", host=address
        )


def nobody_yet(people: People) -> list[str]:
    """What to tell whoever starts a service that nobody can look at yet."""
    with people.database.reading() as connection:
        known = bool(list_accounts(connection))
    if known or not people.required:
        return []
    return ["账号     还没有，请建立：liuyan accounts create 账号 --person 姓名"]


def everybody(database: Connections, rules: Ruleset) -> People:
    """Nobody has to sign in."""
    return People(database, rules.registry, SystemClock().now, required=False)
