"""The dashboard in a real browser on a real demo. Each test also fails on any error, policy violation or request to
another host: see the fixture `visitor`.
"""

import re
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from dermafleet.storage.engine import connect
from tests.browser.conftest import Visitor
from tests.browser.guest import CLEAN, CLOGGED, GUEST, Guest
from tests.builders import Builder
from tests.running_demo import RunningDemo

expect.set_options(timeout=20_000)

SCREENS = {
    "/devices": "tr[data-device]",
    "/devices?q=nothing": ".empty",
    "/devices/D-0001": "figure canvas",
    "/devices/D-0001?range=24h": "figure canvas",
    "/alarms?standing=closed": ".empty",
    "/alarms?standing=all": "li[data-alarm], .empty",
    "/no-such-page": "main .empty",
}
"""And what is there when its content has come."""

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]


def test_login_leads_back_to_the_page_that_was_asked_for(visitor: Visitor) -> None:
    page = visitor.open("/devices/D-0001?range=1h", signed_in=False)
    expect(page).to_have_url(re.compile(r"/login\?return="))
    visitor.sign_in(page)
    expect(page).to_have_url(re.compile(r"/devices/D-0001\?range=1h$"))


def test_wrong_password_is_told(visitor: Visitor) -> None:
    page = visitor.open("/login", signed_in=False)
    page.get_by_label("E-mail").fill("nobody@dermafleet.example")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")


def test_ended_login_leads_to_the_login_page(visitor: Visitor) -> None:
    page = visitor.open("/devices")
    page.context.clear_cookies()
    expect(page).to_have_url(re.compile(r"/login\?return=%2Fdevices$"))


def test_signing_out_ends_the_login(visitor: Visitor) -> None:
    page = visitor.open("/alarms")
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(re.compile("/login$"))
    page.goto("/alarms")
    expect(page).to_have_url(re.compile("/login"))


def test_device_goes_live_on_the_list_without_reload(visitor: Visitor, guest: Guest) -> None:
    page = visitor.open("/devices")
    row = page.locator(f"tr[data-device='{GUEST}']")
    expect(row).to_contain_text("Never seen")
    expect(page.locator("[data-status='live']")).to_be_visible()
    mark(page)
    guest.report("treating")
    expect(row).to_contain_text("Treating")
    assert is_marked(page)


def test_new_samples_reach_the_open_page_without_reload(visitor: Visitor, guest: Guest) -> None:
    guest.record(CLEAN, seconds=10)
    page = visitor.open(f"/devices/{GUEST}")
    chart = page.locator("figure[data-channel='filter_dp_kpa']")
    expect(chart).to_contain_text("0.50")
    mark(page)
    last_ms = guest.record({**CLEAN, "filter_dp_kpa": 0.75}, seconds=1)
    expect(chart).to_contain_text("0.75")
    expect(chart).to_have_attribute("data-last-at", str(last_ms))
    assert is_marked(page)
    expect(page.locator("figure[data-channel='mains_v']")).to_have_count(0)


def test_alarm_appears_without_reload_and_leads_to_the_signals(visitor: Visitor, guest: Guest) -> None:
    page = visitor.open("/alarms")
    expect(page.locator("[data-status='live']")).to_be_visible()
    mark(page)
    guest.record(CLOGGED, seconds=60)
    alarm = page.locator("li[data-alarm]").filter(has_text="Guest")
    expect(alarm).to_contain_text("Intake filter clogged")
    expect(alarm).to_contain_text("Fault")
    assert is_marked(page)
    alarm.get_by_role("link").click()
    expect(page.get_by_text("Rated limit", exact=True)).to_be_visible()
    page.get_by_role("link", name="Signals when it was raised").click()
    expect(page.get_by_role("list", name="Alarms").get_by_role("link")).to_contain_text("Intake filter clogged")
    expect(page.locator("figure[data-channel='filter_dp_kpa'] [role='application']")).to_have_attribute(
        "aria-label", re.compile(r"limit 9\.72 kPa")
    )


def test_chart_can_be_read_by_keyboard_and_as_a_table(visitor: Visitor) -> None:
    page = visitor.open("/devices/D-0001")
    chart = page.locator("figure[data-channel='vacuum_inlet_kpa']")
    chart.get_by_role("application").focus()
    page.keyboard.press("ArrowLeft")
    expect(chart.locator("[aria-live]")).to_contain_text("kPa")
    chart.get_by_role("button", name="show as table").click()
    expect(chart.get_by_role("row").nth(1)).to_contain_text("kPa")


def test_pausing_keeps_the_window_in_the_address(visitor: Visitor) -> None:
    page = visitor.open("/devices/D-0001")
    page.get_by_role("link", name="Pause").click()
    expect(page).to_have_url(re.compile(r"[?&]at="))
    page.get_by_role("link", name="Live").click()
    expect(page).not_to_have_url(re.compile(r"[?&]at="))


def test_filters_of_the_list_live_in_the_address(visitor: Visitor) -> None:
    page = visitor.open("/devices?q=D-0002")
    expect(page.locator("tr[data-device]")).to_have_count(1)
    page.get_by_role("searchbox").fill("no such machine")
    expect(page.get_by_text("No device matches")).to_be_visible()
    expect(page).to_have_url(re.compile("q=no"))


def test_unknown_device_is_told_with_the_request_id(visitor: Visitor) -> None:
    visitor.complaints.expected.append("status of 404")
    page = visitor.open("/devices/NONE")
    expect(page.get_by_role("alert").first).to_contain_text("Request")


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_screen_fits_and_is_accessible_in_both_themes(visitor: Visitor, theme: str, width: int) -> None:
    page = visitor.open("/devices", width=width, theme=theme)
    for screen, content in SCREENS.items():
        page.goto(screen)
        expect(page.locator(content).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, screen
        assert is_dark(page) == (theme == "dark")
        assert find_barriers(page) == [], screen


def test_chosen_theme_beats_the_systems_and_stays(visitor: Visitor) -> None:
    page = visitor.open("/devices", theme="light")
    page.get_by_title("Dark theme").click()
    assert is_dark(page)
    page.reload()
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()
    assert is_dark(page)


def test_lost_connection_is_shown_and_found_again(visitor: Visitor) -> None:
    visitor.complaints.expected.append("ERR_FAILED")
    page = visitor.open("/login")
    page.route("**/api/v1/stream*", lambda route: route.abort())
    page.goto("/devices")
    expect(page.get_by_text("Live connection lost")).to_be_visible()
    page.unroute("**/api/v1/stream*")
    expect(page.locator("[data-status='live']")).to_be_visible()
    expect(page.get_by_text("Live connection lost")).to_have_count(0)


def test_condition_and_forecast_are_shown_and_what_an_alarm_may_be(visitor: Visitor, demo: RunningDemo) -> None:
    with connect(demo.info["database_url"]) as connection:
        alarm = add_condition(Builder(connection))
    page = visitor.open(f"/devices/{GUEST}")
    expect(page.locator("li[data-component='main']")).to_contain_text("62 % of this filter's life left")
    expect(page.locator("li[data-component='main']")).to_contain_text("20, most likely 12")
    rows = page.locator("tr[data-fault]")
    expect(rows.and_(page.locator("[data-fault='pump_worn']"))).to_have_attribute("data-kind", "watched")
    unseen = rows.and_(page.locator("[data-fault='leak_clean_side']"))
    expect(unseen).to_contain_text("Not observable")
    expect(unseen).to_contain_text("flow_lpm is not measured")
    expect(rows.and_(page.locator("[data-fault='exhaust_clogged']"))).to_have_attribute("data-kind", "found")
    page.goto(f"/alarms/{alarm}")
    expect(page.get_by_text("What it may be")).to_be_visible()
    expect(page.get_by_text("31 %")).to_be_visible()
    assert find_barriers(page) == []


def add_condition(build: Builder) -> uuid.UUID:
    """What the follower would have written of the spare device: returns the id of its alarm."""
    device = build.id_of(GUEST)
    build.forecast(device, share_left=0.62, sessions=(8.0, 12.0, 20.0))
    build.observability(device, "pump_worn")
    build.observability(device, "exhaust_clogged")
    build.observability(device, "leak_clean_side", reason="flow_lpm is not measured")
    candidates = {"exhaust_clogged": 0.69, "return_path_blocked": 0.31}
    return build.alarm(device, raised_at=datetime.now(UTC), fault="exhaust_clogged", detail={"candidates": candidates})


def mark(page: Page) -> None:
    """Leave a mark that a reload would wipe out."""
    page.evaluate("window.mark = true")


def is_marked(page: Page) -> bool:
    return bool(page.evaluate("window.mark === true"))


def find_barriers(page: Page) -> list[str]:
    """What axe finds against WCAG 2.2 AA, contrast of words included."""
    assert AXE.is_file(), "axe-core is missing: run npm ci in web/"
    page.evaluate(AXE.read_text())
    found = page.evaluate("rules => axe.run({ runOnly: rules })", RULES)["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found]


def is_dark(page: Page) -> bool:
    color = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    return sum(int(part) for part in re.findall(r"\d+", color)[:3]) < 3 * 128
