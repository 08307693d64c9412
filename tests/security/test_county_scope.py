"""An officer of one county gets nothing of another, by whatever route, method and parameter: every route of the application is walked.

Each platform has cases whose every text holds words that occur nowhere else. A route that is added is walked too: it is guarded
unless it is declared public, and asked with everything that is known of the other counties.
"""

import asyncio
import contextlib
import itertools
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from litestar.routes import HTTPRoute
from sqlalchemy import insert

from services.alerts.notices.acknowledging import acknowledge_case
from services.alerts.notices.digests import make_digest, make_part
from services.alerts.notices.gathering import encode_digest, set_up
from services.alerts.notices.shifts import hand_over
from services.alerts.notices.tables import notices
from services.alerts.people.guard import PUBLIC
from services.alerts.people.requests import csrf_of
from services.alerts.people.sessions import start_session
from services.alerts.people.tokens import create_token
from services.alerts.people.viewer import Role, Viewer
from shared.deployment import load_ruleset
from shared.times import isoformat, to_micros
from tests.peoplekit import Hands, account, add, signing_in
from tests.service import AS_OF, Json, Served, dump

REGISTRY = load_ruleset().registry
COUNTY = "zhenkang"
OWN = {platform.slug for platform in REGISTRY if platform.county == COUNTY}
OTHERS = [platform for platform in REGISTRY if platform.county != COUNTY]
PEOPLES = {"sessions", "audit", "accounts", "sign_in_attempts", "read_tokens"}
PATIENCE = 5.0


def marker(slug: str, where: str) -> str:
    """A word that occurs in this text of this platform, and nowhere else."""
    return f"QZ{slug}{where}ZQ"


WRITTEN = {
    "/cases/{platform}/{subject}/acknowledge": {"note": "看过"},
    "/v1/alerts/{alert}/acknowledge": {"note": "看过"},
    "/shifts": {"successor": "赵六", "note": "两件"},
    "/v1/shifts": {"successor": "赵六", "note": "两件"},
    "/sign-out": {},
    "/sign-out/everywhere": {},
    "/account/password": {"present": "x", "new": "x", "again": "x"},
}
"""What each route takes that changes something: with it the route does what it is there for."""
WHERES = ("title", "content", "reply", "reason", "unit", "note", "person")


def story(slug: str) -> list[Json]:
    """A case that is overdue and transferred, one that is refused, and one that is closed late."""

    def event(subject: str, number: int, kind: str, days: int, **data: Any) -> Json:
        time = AS_OF - timedelta(days=days) + timedelta(hours=number)
        return {
            "specversion": "1.0", "id": f"{slug}-{subject}-{number}", "source": f"/platforms/{slug}",
            "type": f"liuyan.message.{kind}.v1", "subject": f"{subject}-{slug}", "time": isoformat(time), "data": data,
        }  # fmt: skip

    told = {"category": "complaint", "title": marker(slug, "title"), "content": marker(slug, "content")}
    return [
        event("late", 1, "received", 40, **told),
        event("late", 2, "transferred", 40, to=marker(slug, "unit"), reason=marker(slug, "reason")),
        event("refused", 1, "received", 20, **told),
        event("refused", 2, "rejected", 20, reason="other", note=marker(slug, "note")),
        event("closed", 1, "received", 60, **told),
        event("closed", 2, "replied", 3, content=marker(slug, "reply")),
        event("closed", 3, "completed", 2),
        event("fresh", 1, "received", 1, **told),
    ]


def desk_of(service: Served, slug: str, county: str) -> None:
    """What people of the county wrote: an acknowledgement, a hand-over, and a notice that did not arrive."""
    somebody = Viewer("x", marker(slug, "person"), Role.COUNTY, county)
    digest = make_digest(
        county, REGISTRY.county_names[county], AS_OF, [make_part("raised", {("overdue", None): 1}, [])], {}
    )
    failed = {
        "message": f"msg_{slug}", "channel": "hook", "county": county, "alerts": 1, "content": encode_digest(digest).decode(),
        "state": "failed", "attempts": 1, "created_at": to_micros(AS_OF), "error": marker(slug, "reason"),
    }  # fmt: skip
    with service.database.writing() as connection:
        given = connection, REGISTRY, somebody
        assert acknowledge_case(*given, f"{slug}/late-{slug}", marker(slug, "note"), AS_OF)
        hand_over(*given, marker(slug, "unit"), marker(slug, "note"), AS_OF)
        connection.execute(insert(notices).values(failed))


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str


class Officer:
    """Somebody with a session and a token, who asks the application itself: also what answers without end is read for a moment."""

    def __init__(self, service: Served, name: str, hands: Hands) -> None:
        self.service, self.name, self.hands = service, name, hands
        with service.database.writing() as connection:
            _, self.token = create_token(connection, name, hands())

    def session(self) -> str:
        with self.service.database.writing() as connection:
            return start_session(connection, self.name, "198.51.100.7", self.hands())

    def by_token(self, method: str, path: str, query: Json | None = None) -> Answer:
        return ask(self.service.app, method, path, query, {"Authorization": f"Bearer {self.token}"})

    def by_script(self, method: str, path: str, body: Json) -> Answer:
        """As a script of our own pages would, with a body in JSON."""
        secret = self.session()
        headers = {
            "Cookie": f"liuyan-session={secret}",
            "X-CSRF-Token": csrf_of(secret),
            "Content-Type": "application/json",
        }
        return ask(self.service.app, method, path, None, headers, body=json.dumps(body).encode())

    def by_session(self, method: str, path: str, query: Json | None = None, form: Json | None = None) -> Answer:
        secret = self.session()
        headers = {"Cookie": f"liuyan-session={secret}", "Accept": "text/html"}
        fields = None if form is None else form | {"csrf": csrf_of(secret)}
        return ask(self.service.app, method, path, query, headers, fields)


def ask(
    app: Litestar,
    method: str,
    path: str,
    query: Json | None = None,
    headers: Json | None = None,
    form: Json | None = None,
    body: bytes = b"",
) -> Answer:
    body = body if form is None else urlencode(form).encode()
    kind = {} if form is None else {"Content-Type": "application/x-www-form-urlencoded"}
    given = {"Host": "testserver.local", **kind, **(headers or {})}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http", "root_path": "",
        "path": path, "raw_path": quote(path).encode(), "query_string": urlencode(query or {}).encode(), "client": ("198.51.100.7", 1),
        "server": ("testserver.local", 80), "headers": [(k.lower().encode(), v.encode()) for k, v in given.items()],
    }  # fmt: skip
    return asyncio.run(_ask(app, scope, body))


async def _ask(app: Litestar, scope: Any, body: bytes) -> Answer:
    sent: list[Any] = []
    gone = asyncio.Event()
    first = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if first:
            return first.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) > 5:  # a stream: what it begins with is enough
            gone.set()

    task = asyncio.ensure_future(app(scope, receive, send))  # type: ignore[arg-type]
    done, _ = await asyncio.wait([task], timeout=PATIENCE)
    if not done:
        task.cancel()
        await asyncio.wait([task])
    elif task.exception() is not None and not sent:
        raise task.exception()  # type: ignore[misc]
    headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    text = b"".join(message.get("body", b"") for message in sent[1:]).decode("utf-8", "replace")
    return Answer(sent[0]["status"], headers, text)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    hands = Hands()
    with signing_in(tmp_path_factory.mktemp("scope") / "liuyan.db", hands) as found:
        for platform in REGISTRY:
            found.push(*story(platform.slug))
            desk_of(found, platform.slug, platform.county)
        with found.database.writing() as connection:
            hand_over(connection, REGISTRY, Viewer("x", "市里", Role.CITY), marker(OTHERS[0].slug, "unit"), "", AS_OF)
            set_up(connection, ["hook"])
        add(
            found.database,
            account("officer", Role.COUNTY, COUNTY),
            account("auditor", Role.AUDITOR, COUNTY),
            account("city"),
            account("watcher", Role.AUDITOR),
        )
        yield found


@pytest.fixture(scope="module")
def officer(service: Served) -> Officer:
    return Officer(service, "officer", Hands())


@pytest.fixture(scope="module")
def city(service: Served) -> Officer:
    return Officer(service, "city", Hands())


def routes(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    """(method, path, handler) of every route that answers."""
    for route in app.routes:
        assert isinstance(route, HTTPRoute), f"what kind of route is {route.path}? It has to be walked here"
        for method, (handler, _) in route.route_handler_map.items():
            if method != "OPTIONS":
                yield str(method), route.path_format, handler


def guarded(app: Litestar) -> list[tuple[str, str, HTTPRouteHandler]]:
    return [found for found in routes(app) if found[1] not in PUBLIC]


def foreign_in(answer: Answer, asked: str) -> set[str]:
    """What of other counties stands in an answer and was not in what was asked."""
    told = answer.text + json.dumps(answer.headers)
    with contextlib.suppress(ValueError):
        told += json.dumps(json.loads(answer.text), ensure_ascii=False)
    words = {marker(p.slug, where) for p in OTHERS for where in WHERES}
    words |= {f"{subject}-{p.slug}" for p in OTHERS for subject in ("late", "refused", "closed", "fresh")}
    words |= (
        {p.name for p in OTHERS}
        | {p.county_name for p in OTHERS}
        | {p.slug for p in OTHERS}
        | {p.county for p in OTHERS}
    )
    found = {word for word in words if re.search(rf"(?<![A-Za-z]){re.escape(word)}(?![A-Za-z])", told)}
    return {word for word in found if word not in asked}


def values(name: str, cursors: list[str]) -> list[str]:
    """What a parameter could be, of another county."""
    other = OTHERS[2]
    known = {
        "platform": [p.slug for p in OTHERS], "county": sorted({p.county for p in OTHERS}), "cursor": cursors,
        "holder": [marker(other.slug, "unit"), other.slug], "as_of": ["2022-04-01T00:00:00+08:00"],
        "period": ["2022Q1", "2022-03", "2022"], "category": ["complaint"], "status": ["open", "rejected"],
        "outcome": ["overdue", "late"], "provisional": ["true", "false"], "rung": ["overdue", "escalated-1"],
        "standing": ["true", "false"], "limit": ["500"], "state": ["pending", "sent", "failed"],
        "alert": [str(number) for number in range(1, 101)],
    }  # fmt: skip
    keys = [
        f"late-{other.slug}",
        f"{other.slug}/late-{other.slug}",
        other.slug,
        other.county,
        marker(other.slug, "title"),
    ]
    return known.get(name, [*keys, *(str(n) for n in range(1, 6)), "2022", "2022Q1"])


def places(path: str) -> list[str]:
    """The path with everything of other counties in its parameters."""
    if "{" not in path:
        return [path]
    start, of_a_case, end = path.partition("/cases/{platform}/{subject}")
    if of_a_case:
        subjects = ("late", "refused", "closed", "fresh", "none")
        return [f"{start}/cases/{p.slug}/{subject}-{p.slug}{end}" for p in OTHERS for subject in subjects]
    names = re.findall(r"{(\w+)(?::\w+)?}", path)
    exports = ["2022Q1.csv", "2022Q1.json", "2022.csv", "2022-03.json"]
    every = [exports if name == "name" else values(name, []) for name in names]
    found = []
    for chosen in itertools.islice(itertools.product(*every), 200):
        filled = path
        for name, value in zip(names, chosen, strict=True):
            filled = re.sub(rf"{{{name}(:\w+)?}}", value, filled)
        found.append(filled)
    return found


def queries(handler: HTTPRouteHandler, cursors: list[str]) -> list[Json]:
    """Nothing, each parameter alone with each of its values, and several at once."""
    definitions = (field.kwarg_definition for field in handler.parsed_fn_signature.parameters.values())
    names = [d.name for d in definitions if isinstance(d, QueryParameter) and d.name]
    found: list[Json] = [{}]
    found += [{name: value} for name in names for value in values(name, cursors)]
    found += [{a: values(a, cursors)[0], b: values(b, cursors)[0]} for a, b in itertools.combinations(names, 2)]
    return found


@pytest.fixture(scope="module")
def cursors(city: Officer) -> list[str]:
    """Those that the city's officer is given, through every page of every list."""
    found: list[str] = []
    for path in ("/v1/cases", "/v1/overdue", "/v1/alerts", "/v1/shifts", "/v1/notices"):
        cursor: str | None = ""
        while cursor is not None:
            page = json.loads(city.by_token("GET", path, {"limit": "3"} | ({"cursor": cursor} if cursor else {})).text)
            cursor = page["next"]
            found += [cursor] if cursor else []
    assert len(found) > 20
    return found


# Every route


def test_every_route_is_public_or_guarded_and_the_public_ones_are_these(service: Served) -> None:
    walked = list(routes(service.app))
    assert len(walked) > 15
    assert {path for _, path, _ in walked} >= PUBLIC - {
        "/sign-in/oidc",
        "/sign-in/oidc/back",
    }  # these only where they are configured
    assert {path for _, path, _ in guarded(service.app)} >= {"/", "/v1/cases", "/v1/rates", "/v1/alerts", "/account"}
    assert PUBLIC.isdisjoint(path for path in PUBLIC if path.startswith("/v1/") and path != "/v1/events")


def test_nobody_gets_anything_from_a_guarded_route(service: Served) -> None:
    marks = {marker(p.slug, where) for p in REGISTRY for where in WHERES}
    for method, path, _ in guarded(service.app):
        for place in places(path)[:3]:
            for credentials in (
                {}, {"Cookie": "liuyan-session=x"}, {"Authorization": "Bearer lyr_x"}, {"Authorization": f"Bearer {service.keys[COUNTY]}"},
                {"Authorization": "Basic Zm9v"}, {"Authorization": "Bearer"}, {"Cookie": "__Host-liuyan-session=x"},
            ):  # fmt: skip
                answer = ask(service.app, method, place, headers=credentials)
                assert answer.status == 401, f"{method} {place} {credentials}"
                assert not [mark for mark in marks if mark in answer.text]
                page = ask(service.app, method, place, headers=credentials | {"Accept": "text/html"})
                assert page.status in ((303,) if method == "GET" else (401,))


def test_what_is_public_holds_nothing_of_anybodys_cases(service: Served) -> None:
    marks = {marker(p.slug, where) for p in REGISTRY for where in WHERES}
    for method, path, _ in routes(service.app):
        if path in PUBLIC and method == "GET":
            assert not [mark for mark in marks if mark in ask(service.app, method, path).text], path


def test_an_officer_gets_nothing_of_another_county_by_any_route_and_parameter(
    service: Served, officer: Officer, cursors: list[str]
) -> None:
    asked = 0
    for method, path, handler in guarded(service.app):
        if method != "GET":
            continue
        for place in places(path):
            for query in queries(handler, cursors):
                answer = officer.by_token(method, place, query)
                assert answer.status in (200, 400, 404), f"{place} {query}: {answer.status} {answer.text[:200]}"
                assert foreign_in(answer, place + urlencode(query)) == set(), f"{place} {query}: {answer.text[:500]}"
                asked += 1
        page = officer.by_session(method, places(path)[0])
        assert foreign_in(page, places(path)[0]) == set()
    assert asked > 200


def test_an_officer_changes_nothing_of_another_county_by_any_route_and_parameter(
    service: Served, officer: Officer
) -> None:
    def others() -> Any:
        """Everything but what they may do: their own acknowledgements, and handing over their own duty."""
        own = [f"{slug}/" for slug in OWN]
        return {
            name: [
                row
                for row in rows
                if not (name == "shifts" and row[1] == COUNTY)
                and not (name == "acknowledgements" and str(row[2]).startswith(tuple(own)))
            ]
            for name, rows in dump(service.database.file).items()
            if name not in PEOPLES
        }

    before, whole = others(), dump(service.database.file)
    walked = [found for found in guarded(service.app) if found[0] != "GET"]
    assert {path for _, path, _ in walked} == set(WRITTEN), "what does a new route take?"
    for method, path, _ in walked:
        for place in places(path)[:100]:
            other = OTHERS[2]
            form = {
                "key": f"{other.slug}/late-{other.slug}", "case": f"{other.slug}/late-{other.slug}", "platform": other.slug,
                "county": other.county, "subject": f"late-{other.slug}", "alert": "1", "id": "1", "note": "x", **WRITTEN[path],
            }  # fmt: skip
            assert officer.by_token(method, place).status == 403, "a token only reads"
            assert (
                ask(service.app, method, place, headers={"Cookie": f"liuyan-session={officer.session()}"}).status == 403
            )
            for answer in (
                officer.by_session(method, place, form=form),
                officer.by_script(method, place, WRITTEN[path]),
            ):
                assert answer.status < 500
                assert foreign_in(answer, place + urlencode(form)) == set()
    assert others() == before
    after = dump(service.database.file)
    assert len(after["shifts"]) == len(whole["shifts"]) + 2, "their own, by the page and by the API"
    assert len(after["acknowledgements"]) > len(whole["acknowledgements"]), "of their own alerts"


def test_an_auditor_changes_nothing_by_any_route(service: Served) -> None:
    def everything() -> Any:
        return {name: rows for name, rows in dump(service.database.file).items() if name not in PEOPLES}

    before = everything()
    for name in ("auditor", "watcher"):
        auditor = Officer(service, name, Hands())
        for method, path, _ in guarded(service.app):
            if method == "GET" or path.startswith(("/account", "/sign-out")):  # their own
                continue
            for place in (*places(path)[:60], path.format(platform=COUNTY, subject=f"late-{COUNTY}", alert=1)):
                answers = (
                    auditor.by_session(method, place, form=WRITTEN[path]),
                    auditor.by_script(method, place, WRITTEN[path]),
                )
                assert {answer.status for answer in answers} <= {400, 403, 404}, place
    assert everything() == before


# What they do get


def test_an_officer_sees_all_of_their_own_county(officer: Officer, city: Officer) -> None:
    for path, member in (("/v1/cases", "cases"), ("/v1/overdue", "cases"), ("/v1/alerts", "alerts")):
        own = json.loads(officer.by_token("GET", path).text)[member]
        everything = json.loads(city.by_token("GET", path, {"limit": "500"}).text)[member]
        assert own == [row for row in everything if row["platform"] in OWN]
        assert own
        assert {row["platform"] for row in everything} == set(REGISTRY.slugs)
    case = officer.by_token("GET", f"/v1/cases/{COUNTY}/late-{COUNTY}")
    assert marker(COUNTY, "content") in case.text
    assert case == city.by_token("GET", f"/v1/cases/{COUNTY}/late-{COUNTY}")


def test_pages_through_a_list_are_those_of_the_own_county(officer: Officer) -> None:
    for path, member in (("/v1/cases", "cases"), ("/v1/alerts", "alerts")):
        whole = json.loads(officer.by_token("GET", path).text)[member]
        found, cursor = [], ""
        while cursor is not None:
            query = {"limit": "1"} | ({"cursor": cursor} if cursor else {})
            page = json.loads(officer.by_token("GET", path, query).text)
            found += page[member]
            cursor = page["next"]
        assert found == whole


@pytest.mark.parametrize("query", [{}, {"as_of": isoformat(AS_OF)}])
def test_figures_and_exports_hold_own_platforms_and_the_total_of_these(
    officer: Officer, city: Officer, query: Json
) -> None:
    own = json.loads(officer.by_token("GET", "/v1/rates", {"period": "2022", **query}).text)
    everything = json.loads(city.by_token("GET", "/v1/rates", {"period": "2022", **query}).text)
    assert own["rows"] == [row for row in everything["rows"] if row["platform"] in OWN]
    (row,) = own["rows"]
    assert own["total"] == {name: value for name, value in row.items() if name in own["total"]}
    assert own["total"]["received"] == 4 < everything["total"]["received"]
    export = officer.by_token("GET", "/v1/exports/2022.csv", query).text
    assert [line.split(",")[0].lstrip("\ufeff") for line in export.splitlines()[:3]] == ["平台", "镇康县", "合计"]
    assert json.loads(officer.by_token("GET", "/v1/exports/2022.json", query).text)["rows"] == own["rows"]


def test_anothers_case_is_answered_exactly_as_one_that_there_is_not(officer: Officer, city: Officer) -> None:
    """The same, but for what was asked."""
    there = officer.by_token("GET", "/v1/cases/yunxian/late-yunxian")
    assert city.by_token("GET", "/v1/cases/yunxian/late-yunxian").status == 200
    for nothing in ("/v1/cases/yunxian/nothing", "/v1/cases/nothing/late", f"/v1/cases/{COUNTY}/nothing"):
        assert officer.by_token("GET", nothing) == there
    assert there.status == 404


def test_anothers_county_is_a_value_that_there_is_not(officer: Officer) -> None:
    for name, value in (("county", "yunxian"), ("platform", "yunxian")):
        for path in ("/v1/cases", "/v1/overdue", "/v1/alerts"):
            refused = officer.by_token("GET", path, {name: value})
            unknown = officer.by_token("GET", path, {name: "nothing"})
            assert refused == unknown
            assert refused.status == 400


def test_an_auditor_of_a_county_sees_as_much_and_one_of_the_city_everything(service: Served, officer: Officer) -> None:
    auditor, watcher = (Officer(service, name, Hands()) for name in ("auditor", "watcher"))
    assert auditor.by_token("GET", "/v1/cases") == officer.by_token("GET", "/v1/cases")
    everything = json.loads(watcher.by_token("GET", "/v1/cases").text)["cases"]
    assert {row["platform"] for row in everything} == set(REGISTRY.slugs)


# Keys and tokens


def test_a_push_key_reads_nothing_and_a_read_token_pushes_nothing(service: Served, officer: Officer) -> None:
    key = {"Authorization": f"Bearer {service.keys[COUNTY]}"}
    assert ask(service.app, "GET", "/v1/cases", headers=key).status == 401
    pushed = service.client.post(
        "/v1/events",
        content=json.dumps(story(COUNTY)[0]),
        headers={"Authorization": f"Bearer {officer.token}", "Content-Type": "application/cloudevents+json"},
    )
    assert pushed.status_code == 401
    assert pushed.json()["reason"] == "unauthorized"


def test_a_token_that_is_revoked_reads_nothing_at_once(service: Served) -> None:
    from services.alerts.people.tokens import revoke_token

    watcher = Officer(service, "watcher", Hands())
    assert watcher.by_token("GET", "/v1/cases").status == 200
    with service.database.writing() as connection:
        revoke_token(connection, watcher.token.split("_")[1], Hands()())
    assert watcher.by_token("GET", "/v1/cases").status == 401


def test_a_wrong_token_is_not_made_good_by_a_session(officer: Officer, service: Served) -> None:
    headers = {"Authorization": "Bearer lyr_x", "Cookie": f"liuyan-session={officer.session()}"}
    assert ask(service.app, "GET", "/v1/cases", headers=headers).status == 401


def test_an_officer_acknowledges_their_own_alerts_and_no_others(officer: Officer, city: Officer) -> None:
    alerts = json.loads(city.by_token("GET", "/v1/alerts", {"limit": "500"}).text)["alerts"]
    assert {alert["platform"] for alert in alerts} == set(REGISTRY.slugs)
    for alert in alerts:
        answer = officer.by_script("POST", f"/v1/alerts/{alert['id']}/acknowledge", {"note": "已联系"})
        assert answer.status == (200 if alert["platform"] in OWN else 404), answer.text
        assert foreign_in(answer, "") == set()
