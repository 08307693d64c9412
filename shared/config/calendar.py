"""calendar.toml: the notices that the library lacks, and the counties' own days."""

from datetime import date

from shared.calendars import CALENDAR_FIRST, CALENDAR_LAST, Calendars, LocalDay, Notice, build_calendars
from shared.config.table import Table, parse_table, shown
from shared.registry import Registry


def parse_calendar(text: str, registry: Registry | None, name: str = "calendar.toml") -> Calendars:
    """Raises ConfigError; notices name days of their year (or the last days of the year before), counties exist.

    Without a registry, because that cannot be read, everything but the counties' names is checked.
    """
    file = parse_table(text, name, ("notice", "local"))
    notices = [_notice(table) for table in file.tables("notice", ("year", "source", "rest", "work"))]
    locals_: dict[tuple[str, date], LocalDay] = {}
    for table in file.tables("local", ("county", "date", "rest", "work", "name", "source")):
        local = _local_day(table, registry)
        table.require(
            (local.county, local.date) not in locals_,
            f"县区 {local.county} 的 {local.date} 写了两次，请删去一个",
            "date",
        )
        locals_[local.county, local.date] = local
    return build_calendars(notices, locals_.values())


def _notice(table: Table) -> Notice:
    year = table.integer("year", CALENDAR_FIRST.year, CALENDAR_LAST.year, unit="（年份）")
    notice = Notice(year=year, source=table.text("source"), rest=table.days("rest"), work=table.days("work"))
    table.require(notice.rest, "没有放假日，请写上通知中的全部放假日", "rest")
    first, last = max(date(year - 1, 12, 25), CALENDAR_FIRST), date(year, 12, 31)
    for item, days in (("rest", notice.rest), ("work", notice.work)):
        for day in days:
            table.require(first <= day <= last, f"{day} 不在 {first} 至 {last} 之间，请核对年份", item)
    both = sorted(set(notice.rest) & set(notice.work))
    table.require(not both, f"{both and both[0]} 既放假又上班，请从 rest 或 work 中删去", "work")
    return notice


def _local_day(table: Table, registry: Registry | None) -> LocalDay:
    rest, work = table.truth("rest", False), table.truth("work", False)
    table.require(rest != work, "须写 rest = true 或 work = true，二者必居其一")
    county, day = table.text("county"), table.day("date")
    if registry is not None:
        table.require(
            county in registry.county_names,
            f"{shown(county)} 不在平台登记表中，应为 {'、'.join(registry.county_names)} 之一",
            "county",
        )
    table.require(
        CALENDAR_FIRST <= day <= CALENDAR_LAST,
        f"{day} 不在日历的范围 {CALENDAR_FIRST} 至 {CALENDAR_LAST} 之内，请核对年份",
        "date",
    )
    return LocalDay(county=county, date=day, working=work, name=table.text("name"), source=table.text("source"))
