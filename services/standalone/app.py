"""Wires ingest, rules and alerts over one SQLite file into the HTTP application of `liuyan standalone`."""

from litestar import Litestar
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, func, select

from services.alerts.app import Reader, reading_routes
from services.alerts.duty.asking import problem_page
from services.alerts.duty.routes import duty_routes
from services.alerts.metrics import FlagDelay
from services.alerts.notices.routes import notice_routes
from services.alerts.people.guard import People
from services.alerts.rooms import Rooms
from services.compose.api import application
from services.compose.cases import calculate, cases_registry, open_file, recaller
from services.ingest.app import event_routes
from services.ingest.door import Door
from services.ingest.keys import KeyRing, valid_keys
from services.ingest.metrics import Refusals
from services.standalone import log
from services.standalone.database import Database
from services.standalone.engine import Engine
from shared.http import health_routes
from shared.metrics import StateCollector, sweep_collector
from shared.rules import Ruleset


def dead_letter_counts(connection: Connection) -> dict[str, int]:
    rows = connection.execute(select(log.dead_letters.c.reason, func.count()).group_by(log.dead_letters.c.reason))
    return {row[0]: row[1] for row in rows}


def metrics_registry(database: Database, engine: Engine, rules: Ruleset) -> tuple[CollectorRegistry, FlagDelay]:
    registry, delay = cases_registry(database, rules, engine.clock.now, dead_letter_counts)
    registry.register(sweep_collector(lambda: engine.swept_at))
    registry.register(StateCollector("standalone", engine.unhealthy, engine.unhealthy))
    return registry, delay


def make_reader(engine: Engine, registry: CollectorRegistry) -> Reader:
    """What the reading routes need, of the engine's file."""
    database, rules = engine.database, engine.rules
    return Reader(
        rules=rules,
        now=engine.clock.now,
        reading=database.reading,
        recall=recaller(log.histories, rules, engine.ending.is_set),
        open_file=lambda connection, key, as_of: open_file(log.histories, connection, rules, key, as_of),
        calculate=lambda category, received, platform: calculate(rules, category, received, platform),
        metrics=registry,
        rooms=Rooms(),
        ending=engine.ending.is_set,
    )


def create_app(engine: Engine, registry: CollectorRegistry, people: People) -> Litestar:
    """The whole HTTP application of `liuyan standalone`."""
    database, rules = engine.database, engine.rules

    def read_keys() -> dict[str, str]:
        with database.reading() as connection:
            return valid_keys(connection)

    reader = make_reader(engine, registry)
    routes = [
        *event_routes(
            Door(rules), engine.submit, KeyRing(read_keys).platform_of, Refusals(registry, rules.registry.slugs)
        ),
        *reading_routes(reader),
        *duty_routes(reader, people),
        *notice_routes(reader, people),
        *health_routes(engine.unhealthy),
    ]
    return application(routes, people=people, page=problem_page(reader))
