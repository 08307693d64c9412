"""The platforms (平台) of a city, in the order in which every table, export and page lists them."""

from collections.abc import Iterator

from msgspec import Struct

MUNICIPAL = "municipal"


class Platform(Struct, frozen=True, forbid_unknown_fields=True):
    """A website or column with a message board. `county` is the slug of the county it belongs to."""

    slug: str
    name: str
    county: str
    county_name: str
    code: str | None = None  # GB/T 2260 of the county


class Lamps(Struct, frozen=True):
    """The duty page's lamps: their words, within how many days a deadline turns one yellow (0: today's), and after how many
    days without any event a platform is called silent."""

    green: str = "正常"
    yellow: str = "今日到期"
    red: str = "逾期"
    grey: str = "未收到数据"
    yellow_days: int = 0
    silent_days: int = 7


DEFAULT_LAMPS = Lamps()


class Registry:
    """All platforms of the deployment. Iterating gives the official order."""

    def __init__(self, city: str, platforms: tuple[Platform, ...], lamps: Lamps = DEFAULT_LAMPS) -> None:
        self.city = city
        self.lamps = lamps
        self.platforms = platforms
        self._by_slug = {platform.slug: platform for platform in platforms}
        self.slugs = tuple(self._by_slug)
        self.county_names = {platform.county: platform.county_name for platform in platforms}

    def __iter__(self) -> Iterator[Platform]:
        return iter(self.platforms)

    def __len__(self) -> int:
        return len(self.platforms)

    def __contains__(self, slug: object) -> bool:
        return slug in self._by_slug

    def __getitem__(self, slug: str) -> Platform:
        return self._by_slug[slug]

    def county(self, slug: str) -> str:
        return self._by_slug[slug].county

    def holder_name(self, holder: str) -> str:
        """A holder is a platform's slug or a unit's own name."""
        return self._by_slug[holder].name if holder in self._by_slug else holder
