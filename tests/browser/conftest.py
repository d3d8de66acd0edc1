"""A running demo, a device of our own in it, and Debian's Chromium, which must find nothing to complain about."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.browser.guest import Guest
from tests.missing import missing
from tests.running_demo import RunningDemo

STATIC = Path(__file__).parents[2] / "services" / "api" / "static"
_WATCH_POLICY = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""
_SIGNED_OUT = "status of 401"
"""Chromium itself reports every answer that is an error. This one is how the page learns that nobody is signed in."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    assert (STATIC / "index.html").is_file(), "the dashboard is not built: ./fleet test builds it"
    with RunningDemo(tmp_path_factory.mktemp("browser") / "demo", "--devices", "2") as demo:
        yield demo


@pytest.fixture(scope="module")
def guest(demo: RunningDemo) -> Iterator[Guest]:
    """The demo's spare device, connected, not online yet."""
    with Guest(demo.info["mqtt_url"]) as guest:
        yield guest


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of the module, not the session: while Playwright runs, no asynchronous test can."""
    path = shutil.which("chromium")
    if path is None:
        missing("Chromium", "chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@dataclass
class Complaints:
    """What a browser context has to complain about: errors, violations of the policy, requests to other hosts.

    Attributes:
        expected: parts of messages that the test itself provokes.
    """

    host: str
    expected: list[str] = field(default_factory=lambda: [_SIGNED_OUT])
    found: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.add_init_script(_WATCH_POLICY)
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.found.append(f"uncaught: {error.error}"))
        context.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        is_expected = any(part in message.text for part in self.expected)
        if message.type in ("error", "warning") and not is_expected:
            self.found.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme != "data" and parts.netloc != self.host:
            self.found.append(f"request to another host: {request.url}")


@dataclass(frozen=True)
class Visitor:
    """Opens pages of the demo's dashboard as a new visitor, and remembers all their complaints."""

    browser: Browser
    demo: RunningDemo
    complaints: Complaints

    def open(self, path: str, *, width: int = 1280, theme: str = "light", signed_in: bool = True) -> Page:
        context = self.browser.new_context(
            base_url=self.demo.info["api_url"],
            viewport={"width": width, "height": 800},
            color_scheme="dark" if theme == "dark" else "light",
            reduced_motion="reduce",
        )
        self.complaints.watch(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        if signed_in:
            page.goto("/login")
            self.sign_in(page)
            page.wait_for_url("**/devices")
        page.goto(path)
        return page

    def sign_in(self, page: Page) -> None:
        page.get_by_label("E-mail").fill(self.demo.info["email"])
        page.get_by_label("Password").fill(self.demo.info["password"])
        page.get_by_role("button", name="Sign in").click()


@pytest.fixture
def visitor(browser: Browser, demo: RunningDemo) -> Iterator[Visitor]:
    """Fails the test at its end if the browser complained about anything."""
    visitor = Visitor(browser, demo, Complaints(urlsplit(demo.info["api_url"]).netloc))
    yield visitor
    for context in browser.contexts:
        context.close()
    assert visitor.complaints.found == []
