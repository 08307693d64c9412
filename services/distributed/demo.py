"""The demonstration of the distributed form: everything of it on this machine, in a temporary folder, with the quarter's story.

What the embedded demonstration shows comes out again, but went the whole way: pushed over HTTP, through Kafka and the three
services into PostgreSQL. The services run on the real clock, so the quarter is shown as of its day, and the simulated
portal pushes messages of today.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import click
from msgspec import Struct
from rich.console import Console
from sqlalchemy import select

from services.alerts.stream.apply import database_now
from services.alerts.stream.horizon import horizon
from services.alerts.stream.records import histories
from services.alerts.tables import consumer_positions
from services.compose.client import BATCH, Client
from services.compose.clock import SystemClock
from services.compose.demo import story
from services.compose.demo.quarter import PORTALS, quarter_events
from services.compose.people import everybody
from services.distributed.database import open_database
from services.distributed.postgres import Server
from services.distributed.supervisor import Kafka, Service, Supervisor, service_command
from services.distributed.topics import create_missing
from services.ingest.keys import create_key
from shared.database import Postgres, postgres_url
from shared.kafka import admin_client
from shared.rules import Ruleset

READY_SECONDS, VISIBLE_SECONDS = 90.0, 180.0
LOOK_SECONDS = 0.2
EVENTS_A_PUSH = 50
OWN = "zhenkang"  # whose key is for the person who looks on
SERVICES = ("alerts", "sla", "ingest")


class DemoError(Exception):
    """The demonstration cannot go on; the message is one line."""


class StoppedError(Exception):
    """It was told to stop."""


class Setup(Struct, frozen=True):
    """Where everything is. `db`: a database to use, None for one of its own; `ports`: of each service."""

    folder: Path
    host: str
    ports: Mapping[str, int]
    db: str | None

    def url(self, service: str) -> str:
        shown = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared, not bound
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{self.ports[service]}"


class Demo:
    """`run` blocks until the stop is set. Raises DemoError, and what starting its parts raises."""

    def __init__(self, setup: Setup, rules: Ruleset, stop: threading.Event, console: Console) -> None:
        self._setup, self._rules, self._stop, self._console = setup, rules, stop, console
        self._supervisor = Supervisor(lambda line: console.print(line, style="yellow", markup=False, soft_wrap=True))

    def run(self) -> None:
        unknown = sorted(PORTALS.keys() - set(self._rules.registry.slugs))
        if unknown:
            raise DemoError(f"演示讲的是随附的十个平台，登记表里没有 {'、'.join(unknown)}：请不要设置 platforms")
        with ExitStack() as stack:
            stack.callback(self._supervisor.stop)
            kafka, db = self._start_stores()
            database = open_database(db)
            stack.callback(database.close)
            keys = self._make_keys(database)
            signing_in = story.make_accounts(everybody(database, self._rules), self._rules)
            self._start_services(kafka.address, db)
            self._tell("推送 2022 年第一季度的事件 …")
            self._push_quarter(keys)
            self._tell("等待全部事件经过 Kafka 和各个服务 …\n")
            self._await_projected(database)
            story.show_quarter(database, histories, self._rules, self._console)
            self._tell("")
            for line in self._addresses(kafka.address, db, keys[OWN], signing_in):
                self._tell(line)
            now = SystemClock().now
            stack.callback(story.push_live(self._setup.url("ingest"), keys[story.PLATFORM], now, self._console).set)
            while not self._stop.wait(LOOK_SECONDS):
                self._supervisor.check()

    def _start_stores(self) -> tuple[Kafka, str]:
        """Kafka with its topics, and a database: its address."""
        self._tell("启动 Kafka …")
        kafka = Kafka(self._setup.folder / "kafka")
        self._supervisor.add(kafka)
        with admin_client(kafka.address) as admin:
            create_missing(admin, "development")
        self._go_on()
        if self._setup.db is not None:
            return kafka, self._setup.db
        self._tell("启动 PostgreSQL …")
        server = Server(self._setup.folder / "postgres")
        self._supervisor.add(server)
        return kafka, server.create("liuyan")

    def _make_keys(self, database: Postgres) -> dict[str, str]:
        now = SystemClock().now()
        with database.writing() as connection:
            if connection.execute(select(consumer_positions.c.topic).limit(1)).first() is not None:
                raise DemoError("设置 db 指明的数据库已经用过：演示的 Kafka 总是新的，请指明一个空的库，或不设置 db")
            return {slug: create_key(connection, slug, now)[1] for slug in self._rules.registry.slugs}

    def _start_services(self, kafka: str, db: str) -> None:
        own = {"DB": db, "KAFKA": kafka, "HOST": self._setup.host, "INSTANCE": "demo", "ENVIRONMENT": "development"}
        environment = os.environ | {f"LIUYAN_{name}": value for name, value in own.items()}
        self._go_on()
        self._tell(f"启动 {'、'.join(SERVICES)} …")
        for name in SERVICES:
            command = service_command(name, "--port", str(self._setup.ports[name]))
            self._supervisor.add(Service(name, command, environment, self._setup.folder / f"{name}.log"))
        for name in SERVICES:
            asked = Client(self._setup.url(name))
            self._until(lambda: asked.status("/readyz") == 200, READY_SECONDS, f"{name} 没有就绪")  # noqa: B023

    def _push_quarter(self, keys: Mapping[str, str]) -> None:
        """Each portal's events in the order of their arrival."""
        by_platform: dict[str, list[dict[str, object]]] = {}
        for event in quarter_events():
            by_platform.setdefault(str(event["source"]).rpartition("/")[2], []).append(event)
        ingest = Client(self._setup.url("ingest"))
        for platform, events in by_platform.items():
            for start in range(0, len(events), EVENTS_A_PUSH):
                self._go_on()
                body = json.dumps(events[start : start + EVENTS_A_PUSH], ensure_ascii=False).encode()
                ingest.push(keys[platform], body, BATCH)

    def _await_projected(self, database: Postgres) -> None:
        """Until the horizon is past this instant: what was answered with 202 by now is in the tables."""

        def at() -> datetime | None:
            with database.reading() as connection:
                return horizon(connection)

        with database.reading() as connection:
            now = database_now(connection)
        self._until(lambda: (found := at()) is not None and found >= now, VISIBLE_SECONDS, "推送的事件没有全部整理完")

    def _addresses(self, kafka: str, db: str, key: str, signing_in: list[str]) -> list[str]:
        ingest, sla, alerts = (self._setup.url(name) for name in ("ingest", "sla", "alerts"))
        name = self._rules.registry[OWN].name
        kept = "停止时删除" if self._setup.db is None else "停止时删除；数据库里的留下"
        return [
            f"值班页   {alerts}/",
            f"推送到   {ingest}/v1/events",
            f"查询     {alerts}/v1/cases  {alerts}/v1/overdue  {alerts}/v1/rates",
            f"接口文档 {ingest}/schema/openapi.json  {alerts}/schema/openapi.json",
            f"指标     {ingest}/metrics  {sla}/metrics  {alerts}/metrics",
            *signing_in,
            f"推送密钥（{name} {OWN}）  {key}",
            f"Kafka    {kafka}",
            f"数据库   {postgres_url(db).set(drivername='postgresql').render_as_string(hide_password=True)}",
            f"数据和日志在 {self._setup.folder}（{kept}）",
            "按 Ctrl-C 停止",
        ]

    def _until(self, condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
        end = time.monotonic() + seconds
        while not condition():
            self._supervisor.check()
            if time.monotonic() > end:
                raise DemoError(f"{otherwise}（{seconds:g} 秒内），请看 {self._setup.folder} 里的日志")
            self._stop.wait(LOOK_SECONDS)
            self._go_on()

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise StoppedError

    def _tell(self, line: str) -> None:
        click.echo(line)
