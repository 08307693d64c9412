"""notices.toml: the channels of a city, and where their secrets stand. All problems are told at once, none shows a secret."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from services.alerts.notices.routing import KEEP_DAYS, MACHINES, RUNGS, Channel, Mailbox, Notices, Secret, Web
from services.alerts.rungs import NEXT_RUNG
from shared.config import ConfigError
from shared.config.policy import office_hours
from shared.config.table import Table, parse_table, shown
from shared.deployment import read_text
from shared.policy import OfficeHours
from shared.registry import Registry

COMMON = ("name", "kind", "counties", "holders", "rungs", "urgent", "clearings", "digest_seconds", "repeat_minutes",
          "repeat_times")  # fmt: skip
KEYS: Mapping[str, tuple[str, ...]] = {
    "webhook": ("url", "url_file", "url_env", "secret_file", "secret_env"),
    "wecom": ("url_file", "url_env"),
    "dingtalk": ("url_file", "url_env", "secret_file", "secret_env"),
    "alertmanager": ("url",),
    "email": ("host", "port", "security", "user", "password_file", "password_env", "from", "to"),
}
"""What a channel of each kind has besides `COMMON`. A robot's address is its secret: it stands in a file or the environment."""

DUTY = OfficeHours(((8 * 60 + 30, 18 * 60),))
PORTS = {"tls": 465, "starttls": 587, "none": 25}
ADDRESS = re.compile(r"[^@\s<>,;\"]+@[^@\s<>,;\"]+")
MIN_SECRET, MAX_SECRET = 24, 64  # bytes, as Standard Webhooks asks
MAX_DAYS = 36_500


def load_notices(path: Path | None, registry: Registry, environ: Mapping[str, str]) -> Notices | None:
    """The notices of a deployment; None where there are none. Raises ConfigError with every problem, a line each."""
    if path is None:
        return None
    text, name = read_text(path, "")
    return parse_notices(text, registry, environ, lambda file: _beside(path, file), name)


def _beside(config: Path, file: str) -> str:
    return (config.parent / file).read_text(encoding="utf-8")


def parse_notices(
    text: str,
    registry: Registry,
    environ: Mapping[str, str],
    read_file: Callable[[str], str],
    name: str = "notices.toml",
) -> Notices:
    """`read_file` is given a path as it stands in the file, and may raise OSError or ValueError. Raises ConfigError."""
    file = parse_table(text, name, ("page", "duty_hours", "keep_days", "channel"))
    problems: list[str] = []
    channels: list[Channel] = []
    hours, page, days = DUTY, None, KEEP_DAYS
    tables: list[Table] = []
    try:
        tables = file.tables("channel", {*COMMON, *(key for keys in KEYS.values() for key in keys)})
        file.require(tables, "至少要有一个 [[channel]]；不需要通知时请不设 notices")
    except ConfigError as error:
        problems.append(str(error))
    try:
        hours = office_hours(file, "duty_hours") if "duty_hours" in file.items else DUTY
    except ConfigError as error:
        problems.append(str(error))
    try:
        page = _url(file, "page") if "page" in file.items else None
    except ConfigError as error:
        problems.append(str(error))
    try:
        days = file.integer("keep_days", 1, MAX_DAYS, KEEP_DAYS, "（天）")
    except ConfigError as error:
        problems.append(str(error))
    for table in tables:
        try:
            channel = _channel(table, registry, _Secrets(table, environ, read_file))
            table.require(
                all(channel.name != c.name for c in channels), f"{channel.name} 出现了两次，请各用各的", "name"
            )
            channels.append(channel)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return Notices(tuple(channels), hours, page, days)


class _Secrets:
    """Reads `<item>_file` or `<item>_env` of a table."""

    def __init__(self, table: Table, environ: Mapping[str, str], read_file: Callable[[str], str]) -> None:
        self._table, self._environ, self._read_file = table, environ, read_file

    def given(self, item: str) -> bool:
        return any(f"{item}_{where}" in self._table.items for where in ("file", "env"))

    def read(self, item: str) -> str:
        """One line of printable ASCII."""
        table, by_file, by_env = self._table, f"{item}_file", f"{item}_env"
        table.require((by_file in table.items) != (by_env in table.items), f"须写 {by_file} 或 {by_env}，二者必居其一")
        if by_file in table.items:
            where = by_file
            try:
                text = self._read_file(table.text(by_file))
            except (OSError, ValueError):
                table.refuse("读不出这个文件，请核对路径和权限", by_file)
        else:
            where, variable = by_env, table.text(by_env)
            table.require(
                not variable.startswith("LIUYAN_"), "请换一个不以 LIUYAN_ 开头的名字：那是本系统设置的前缀", by_env
            )
            table.require(variable in self._environ, f"没有环境变量 {shown(variable)}，请设置它", by_env)
            text = self._environ[variable]
        text = text.strip()
        table.require(
            text and text.isascii() and text.isprintable(), "内容应为一行可见的 ASCII 字符，请核对它的来源", where
        )
        return text


def _channel(table: Table, registry: Registry, secrets: _Secrets) -> Channel:
    name, kind = table.slug("name"), table.text("kind")
    table.require(kind in KEYS, f"没有 {shown(kind)} 这一种，应为 {'、'.join(KEYS)} 之一", "kind")
    foreign = sorted(set(table.items) - {*COMMON, *KEYS[kind]})
    table.require(not foreign, f"{kind} 没有 {'、'.join(foreign)} 这些项；可用的有 {'、'.join(KEYS[kind])}")
    all_rungs = RUNGS if kind in MACHINES else frozenset[str]()
    clearings = table.items.get("clearings", "all" if kind in MACHINES else "corrections")
    table.expect(clearings in ("all", "corrections"), " all 或 corrections", "clearings")
    repeats = "repeat_minutes" in table.items
    table.require(repeats or "repeat_times" not in table.items, "写了 repeat_times，还须写 repeat_minutes")
    return Channel(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        to=_mailbox(table, secrets) if kind == "email" else _web(table, kind, secrets),
        counties=_words(table, "counties", registry.county_names, "县区"),
        holders=frozenset(table.texts("holders")) or None if "holders" in table.items else None,
        rungs=_words(table, "rungs", NEXT_RUNG, "提醒级别") or RUNGS,
        urgent=_words(table, "urgent", NEXT_RUNG, "提醒级别", empty=True) if "urgent" in table.items else all_rungs,
        clearings=clearings,
        digest_seconds=table.integer("digest_seconds", 0, 3600, 0, "（秒）"),
        repeat_minutes=table.integer("repeat_minutes", 1, 10_000, unit="（值班分钟）") if repeats else None,
        repeat_times=table.integer("repeat_times", 1, 100, 3),
    )


def _words(table: Table, item: str, known: Mapping[str, object], what: str, empty: bool = False) -> frozenset[str]:
    if item not in table.items:
        return frozenset() if empty else frozenset(known)
    words = table.texts(item)
    table.require(words or empty, "是空的，请写上至少一个，或删去这一项", item)
    for word in words:
        table.require(word in known, f"没有{what} {shown(word)}，应为 {'、'.join(known)} 之一", item)
    return frozenset(words)


def _web(table: Table, kind: str, secrets: _Secrets) -> Web:
    if secrets.given("url"):
        table.require("url" not in table.items, "url、url_file、url_env 只能写一个")
        item = "url_file" if "url_file" in table.items else "url_env"
        url = secrets.read("url")
        table.require(_is_url(url), "内容不是 http:// 或 https:// 开头的地址，请核对", item)
    elif "url" in KEYS[kind]:
        url = _url(table, "url")
    else:
        url = secrets.read("url")  # refuses: none is given
    secret = Secret(secrets.read("secret")) if kind == "webhook" or secrets.given("secret") else None
    if kind == "webhook" and secret is not None:
        item = "secret_file" if "secret_file" in table.items else "secret_env"
        for one in secret.reveal().split():
            table.require(
                _is_whsec(one), f"内容应为 whsec_ 加 Base64 编码的 {MIN_SECRET}–{MAX_SECRET} 个随机字节", item
            )
    return Web(Secret(url), secret)


def _is_whsec(text: str) -> bool:
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (ValueError, binascii.Error):
        return False
    return text.startswith("whsec_") and MIN_SECRET <= len(key) <= MAX_SECRET


def _url(table: Table, item: str) -> str:
    url = table.text(item)
    table.require(_is_url(url), "应为 http:// 或 https:// 开头的地址，不含用户名和密码", item)
    return url


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and "@" not in parts.netloc
            and (parts.port is None or parts.port > 0)
            and text.isascii()
            and text.isprintable()
            and not set(text) & set(" ()<>\"'\\")
        )
    except ValueError:
        return False


def _mailbox(table: Table, secrets: _Secrets) -> Mailbox:
    security = table.items.get("security", "tls")
    table.expect(security in PORTS, " tls、starttls 或 none", "security")
    to = table.texts("to")
    table.require(to, "至少要有一个收件地址", "to")
    for item, addresses in (("from", (table.text("from"),)), ("to", to)):
        for address in addresses:
            table.require(ADDRESS.fullmatch(address) and address.isascii(), f"{shown(address)} 不是电子邮件地址", item)
    table.require(
        ("user" in table.items) == secrets.given("password"), "user 与 password_file 或 password_env 须一同写，或都不写"
    )
    table.require(
        security != "none" or "user" not in table.items, "不加密的连接上不能登录，请用 tls 或 starttls", "security"
    )
    return Mailbox(
        host=table.text("host"),
        port=table.integer("port", 1, 65535, PORTS[security]),
        security=security,
        sender=table.text("from"),
        to=to,
        user=table.text("user") if "user" in table.items else None,
        password=Secret(secrets.read("password")) if secrets.given("password") else None,
    )
