"""Who looks, and what of the city they may see or change. A frozen value; every page, route and export is asked as one."""

from enum import StrEnum

from msgspec import Struct

from shared.registry import Registry


class Role(StrEnum):
    """市级值班、县区值班、审计：who changes something in the whole city, in one county, nowhere."""

    CITY = "city"
    COUNTY = "county"
    AUDITOR = "auditor"


class Viewer(Struct, frozen=True):
    """`person` is the name that others see. `county` (slug) narrows what is seen: always with the role COUNTY, never with
    CITY; an auditor of one county has one, of the whole city none."""

    account: str
    person: str
    role: Role
    county: str | None = None

    def sees(self, county: str) -> bool:
        return self.county is None or self.county == county

    def registry(self, registry: Registry) -> Registry:
        """The registry as they know it, of the platforms whose cases they see: those that received the message. Asked with it,
        lists, figures and filters hold nothing of any other."""
        seen = tuple(platform for platform in registry if self.sees(platform.county))
        return Registry(registry.city, seen, registry.lamps)

    def may_change(self, county: str) -> bool:
        """Whether they acknowledge and hand over for this county."""
        return self.role is not Role.AUDITOR and self.sees(county)
