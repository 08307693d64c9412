"""What the request for a page asks, checked against what its viewer sees, and how a page says that there is nothing to show."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Request, Response, Router
from litestar.exceptions import ValidationException
from litestar.params import QueryParameter

from services.alerts.app import Reader
from services.alerts.duty.pages import PageError, Place, render
from services.alerts.people.viewer import Viewer
from shared.http import TITLES, Problem, ProblemError
from shared.registry import Platform

County = Annotated[str | None, QueryParameter(name="county", max_length=64)]
Category = Annotated[str | None, QueryParameter(name="category", max_length=64)]
Cursor = Annotated[str | None, QueryParameter(name="cursor", max_length=300)]


class Chosen:
    """What a request narrows a page to, checked against what the viewer sees. Empty fields of a form narrow nothing."""

    def __init__(self, reader: Reader, viewer: Viewer, county: str | None, category: str | None) -> None:
        seen, policies = viewer.registry(reader.rules.registry), reader.rules.policies
        self.seen: Sequence[Platform] = seen.platforms
        self.counties = list(seen.county_names.items())
        slugs = dict.fromkeys(slug for policy in reversed(policies.versions) for slug in policy.categories)
        self.categories = [(slug, policies.category_name(slug)) for slug in slugs]
        self.county = one_of("county", "县区", county, seen.county_names)
        self.category = one_of("category", "类别", category, dict(self.categories))
        self.platforms = [platform for platform in seen if self.county in (None, platform.county)]

    @property
    def slugs(self) -> tuple[str, ...]:
        return tuple(platform.slug for platform in self.platforms)


def one_of(name: str, word: str, value: str | None, words: Mapping[str, str]) -> str | None:
    if not value:
        return None
    if value not in words:
        raise PageError(400, f"没有这个{word}", f"网址里的 {name} 不在可选的{word}之中，请回到上一页重新选择。")
    return value


def address(path: str, narrowed: Mapping[str, str | None], fragment: str = "", **cursors: str | None) -> str:
    query = urlencode({name: value for name, value in {**narrowed, **cursors}.items() if value})
    return f"{path}?{query}{fragment}" if query else f"{path}{fragment}"


def place_of(reader: Reader, viewer: Viewer | None, page: str) -> Place:
    """Where they are, and when."""
    return Place(reader.rules.registry, reader.now(), viewer.person if viewer and viewer.account else "", page)


def problem_page(reader: Reader) -> Callable[[Request[Any, Any, Any], Problem], Response[Any]]:
    """What is wrong, as a page; of whoever is known to look."""

    def shown(request: Request[Any, Any, Any], found: Problem) -> Response[Any]:
        here = place_of(reader, request.scope.get("user"), "")
        title = TITLES.get(found.status, "请求有误")
        return render("message.html", here, found.status, title=title, message=f"{found.detail}。")

    return shown


def pages(reader: Reader, handlers: Sequence[Any]) -> Router:
    """Routes of pages: what is refused is told on a page too."""
    shown = problem_page(reader)

    def refuse(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        if isinstance(error, ProblemError):
            return shown(request, error.problem)
        here = place_of(reader, request.scope.get("user"), "")
        if isinstance(error, PageError):
            return render("message.html", here, error.status, title=error.title, message=error.message)
        return render(
            "message.html", here, 400, title="请求有误", message="网址里有一项太长或不合要求，请回到值班页重新选择。"
        )

    refused: dict[int | type[Exception], Any] = dict.fromkeys((PageError, ProblemError, ValidationException), refuse)
    return Router("/", route_handlers=handlers, exception_handlers=refused, include_in_schema=False)
