"""A real headless Chromium, and the application behind a real HTTP server in this process."""

import asyncio
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from services.compose.server import bind
from tests.service import Served, until

WIDTHS = {"desktop": 1280, "phone": 375}


def chromium() -> str:
    """The program's path. Missing, the test is skipped; in CI it fails."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        found = shutil.which(name)
        if found:
            return found
    missing = "no Chromium: install the system's package chromium"
    if os.environ.get("CI"):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


@contextmanager
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield found
        found.close()


@contextmanager
def listening(service: Served) -> Iterator[str]:
    """The application's address."""
    listener = bind("127.0.0.1", 0)
    listener.listen(100)
    server = uvicorn.Server(uvicorn.Config(service.app, lifespan="off", log_config=None, access_log=False))
    thread = threading.Thread(target=lambda: asyncio.run(server._serve([listener])))
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), "the server listens")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        service.engine.ending.set()  # ends the event streams
        server.should_exit = True
        thread.join()


@contextmanager
def page_of(found: Browser, width: str = "desktop", script: bool = True, refused: int | None = None) -> Iterator[Page]:
    """A page whose every error and refused resource is one of the test: at the end there were none. `refused`: but one of that status."""
    context = found.new_context(
        viewport={"width": WIDTHS[width], "height": 800}, java_script_enabled=script, locale="zh-CN"
    )
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    allowed = []
    if refused is not None:
        phrase = HTTPStatus(refused).phrase
        allowed = [f"Failed to load resource: the server responded with a status of {refused} ({phrase})"]
    page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
    try:
        yield page
        assert wrong == allowed, wrong
    finally:
        context.close()


def screenshots(found: Browser, url: str, paths: dict[str, str], where: Path) -> None:
    """Of each page in both widths: `where/name-width.png`."""
    where.mkdir(parents=True, exist_ok=True)
    for width in WIDTHS:
        with page_of(found, width) as page:
            for name, path in paths.items():
                page.goto(url + path)
                page.screenshot(path=where / f"{name}-{width}.png", full_page=True)
