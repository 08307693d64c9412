"""Settings: declared once, from a TOML file and the environment (`LIUYAN_…` wins), read once, all problems told at once."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from msgspec import Struct

from shared.config.table import ConfigError, parse_table
from shared.logs import LogFormat

Environment = Literal["development", "production"]
SignIn = Literal["required", "off"]


class Setting(Struct, frozen=True):
    """`kind` is how its text is read: path, port, text, url, or a choice of words separated by `|`."""

    name: str
    kind: str
    default: Any
    help: str

    @property
    def variable(self) -> str:
        return f"LIUYAN_{self.name.upper()}"


SETTINGS = (
    Setting("db", "text", "liuyan.db", "数据库：SQLite 文件；分布式部署为 postgresql://用户:密码@主机:端口/库名"),
    Setting("host", "text", "127.0.0.1", "监听的地址"),
    Setting("port", "port", 8000, "监听的端口"),
    Setting("platforms", "path", None, "平台登记表（TOML）；不设即临沧市的十个平台"),
    Setting("policy", "path", None, "时限规则（TOML）；不设即随附的默认规则"),
    Setting("calendar", "path", None, "日历补充文件（TOML）：新通知与县区自己的日子；不设即没有补充"),
    Setting("notices", "path", None, "通知（TOML）：提醒发给谁、经什么通道；不设即不通知任何人"),
    Setting("kafka", "text", "127.0.0.1:9092", "Kafka 的地址，多个用逗号分开；只用于分布式部署"),
    Setting("instance", "text", None, "本进程在同类中的名字，重启后不变；不设即主机名；只用于分布式部署"),
    Setting(
        "environment",
        "|".join(get_args(Environment)),
        "development",
        "部署：production 拒绝副本不足的 Kafka，development 只提醒",
    ),
    Setting(
        "sign_in",
        "|".join(get_args(SignIn)),
        "required",
        "查看是否要登录：off 只用于前面另有登录的部署",
    ),
    Setting("public_url", "url", None, "浏览器里的地址，如 https://liuyan.example；不设即按请求所说"),
    Setting("proxies", "text", "127.0.0.1", "可信的反向代理，多个用逗号分开：只信它们说的来访者地址和 https"),
    Setting("oidc", "path", None, "统一身份认证（OpenID Connect）的配置文件（TOML）；不设即只用账号和密码"),
    Setting("log", "|".join(get_args(LogFormat)), "auto", "日志格式：auto 在终端上为文字，否则为 JSON"),
)
"""All settings, with the default and what they are for (docs/settings.md lists them; tested)."""


OTHER_VARIABLES = frozenset({"LIUYAN_CONFIG", "LIUYAN_SIMULATE_KEY", "LIUYAN_OIDC_SECRET"})
"""Read elsewhere: the file of these settings, the key of `liuyan simulate`, and the secret of the city's own sign-in."""


class SettingsError(ValueError):
    """Some settings cannot be used; the message has a line for each."""


class Settings(Struct, frozen=True):
    db: str
    host: str
    port: int
    platforms: Path | None
    policy: Path | None
    calendar: Path | None
    notices: Path | None
    kafka: str
    instance: str | None
    environment: Environment
    sign_in: SignIn
    public_url: str | None
    proxies: str
    oidc: Path | None
    log: LogFormat


def read_settings(environ: Mapping[str, str], file: Path | None = None) -> Settings:
    """Raises SettingsError naming every setting that cannot be used. Unknown names are refused, not skipped."""
    problems: list[str] = []
    given = _from_file(file, problems) if file is not None else {}
    known = {setting.variable: setting.name for setting in SETTINGS}
    for variable, text in environ.items():
        if not variable.startswith("LIUYAN_") or variable in OTHER_VARIABLES:
            continue
        if variable in known:
            given[known[variable]] = text
        else:
            problems.append(f"环境变量 {variable}：没有这个设置；可用的有 {'、'.join(known)}")
    values = {setting.name: _read(setting, given, problems) for setting in SETTINGS}
    if problems:
        raise SettingsError("\n".join(problems))
    return Settings(**values)


def _from_file(file: Path, problems: list[str]) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        items = parse_table(text, f"设置文件 {file}").items
        names = [setting.name for setting in SETTINGS]
        problems += [
            f"设置文件 {file}：没有 {n!r} 这个设置；可用的有 {'、'.join(names)}" for n in items if n not in names
        ]
        return {name: value for name, value in items.items() if name in names}
    except ConfigError as error:
        problems.append(str(error))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "不是 UTF-8 文本"
        problems.append(f"设置文件 {file}：读不出来（{reason}），请核对 LIUYAN_CONFIG")
    return {}


def _read(setting: Setting, given: Mapping[str, Any], problems: list[str]) -> Any:
    if setting.name not in given:
        return setting.default
    value = given[setting.name]
    if setting.kind == "port":
        number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
        if type(number) is int and 0 <= number <= 65535:
            return number
        problems.append(f"设置 {setting.name}：{value!r} 不是端口，应为 0–65535 的整数（0 表示自动选择）")
        return setting.default
    if not isinstance(value, str) or not value:
        problems.append(f"设置 {setting.name}：{value!r} 应为非空的文字")
        return setting.default
    if setting.kind == "path":
        return Path(value)
    if setting.kind == "url" and not re.fullmatch(r"https?://[^/\s?#@]+", value):
        problems.append(f"设置 {setting.name}：{value!r} 不可用，应为 https://主机名 的形式，后面不带路径")
    if "|" in setting.kind and value not in setting.kind.split("|"):
        problems.append(f"设置 {setting.name}：{value!r} 不可用，应为 {setting.kind.replace('|', '、')} 之一")
    return value
