"""platforms.toml: the city and its platforms."""

from shared.config.table import Table, parse_table, shown
from shared.registry import Lamps, Platform, Registry

WORDS = ("green", "yellow", "red", "grey")


def parse_registry(text: str, name: str = "platforms.toml") -> Registry:
    """Raises ConfigError; slugs are unique, counties have one name each."""
    file = parse_table(text, name, ("city", "lamps", "platform"))
    city = file.text("city")
    tables = file.tables("platform", ("slug", "name", "county", "county_name", "code"))
    file.require(tables, "至少要有一个 [[platform]]")
    platforms: dict[str, Platform] = {}
    counties: dict[str, str] = {}
    for table in tables:
        platform = Platform(
            slug=table.slug("slug"),
            name=table.text("name"),
            county=table.slug("county"),
            county_name=table.text("county_name"),
            code=table.text("code") if "code" in table.items else None,
        )
        table.require(platform.slug not in platforms, f"标识 {platform.slug} 出现了两次，请各用各的", "slug")
        known = counties.setdefault(platform.county, platform.county_name)
        table.require(
            known == platform.county_name,
            f"县区 {platform.county} 有两个不同的名称 {shown(known)} 和 {shown(platform.county_name)}，请统一",
            "county_name",
        )
        platforms[platform.slug] = platform
    return Registry(city, tuple(platforms.values()), _lamps(file))


def _lamps(file: Table) -> Lamps:
    table = file.table("lamps", "[lamps]", allowed=(*WORDS, "yellow_days", "silent_days"))
    words = {word: table.text(word) for word in WORDS if word in table.items}
    found = Lamps(
        **words, yellow_days=table.integer("yellow_days", 0, 30, 0), silent_days=table.integer("silent_days", 1, 366, 7)
    )
    table.require(len({getattr(found, word) for word in WORDS}) == len(WORDS), "四种灯的文字须各不相同", "green")
    return found
