"""Who may ask: logins, keys, other sites' pages, and guessing."""

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from fastapi.routing import APIRoute

from services.api.routes import alarms, devices, fleet, login, stream
from services.api.tries import MAX_PER_ACCOUNT, WINDOW
from tests.builders import EMAIL, NOW, PASSWORD
from tests.integration.api import Api, open_api

OURS = {"X-Requested-With": "dermafleet"}
ROUTES = [
    (method, route.path.format(device_id="D-1", alarm_id="00000000-0000-0000-0000-000000000000"))
    for module in (login, fleet, devices, alarms, stream)
    for route in module.router.routes
    if isinstance(route, APIRoute) and route.path != "/api/v1/login"
    for method in route.methods or ()
]


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with open_api(database_url, login_hours="12") as found:
        yield found


async def log_in(client: httpx.AsyncClient, password: str = PASSWORD, email: str = EMAIL) -> httpx.Response:
    return await client.post("/api/v1/login", json={"email": email, "password": password})


async def test_nothing_is_told_without_a_login(api: Api, subtests: pytest.Subtests) -> None:
    api.build.device("D-1")
    nonsense = {"Authorization": "Bearer flt_x_y", **OURS}
    async with api.anonymous() as anyone:
        for method, path in ROUTES:
            with subtests.test(path):
                answer = await anyone.request(method, path)
                assert answer.status_code == 401
                assert answer.headers["Content-Type"] == "application/problem+json"
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert (await anyone.request(method, path, headers=nonsense)).status_code == 401
    assert len(ROUTES) >= 15


async def test_login_lasts_until_logout(api: Api) -> None:
    async with api.anonymous() as browser:
        answer = await log_in(browser, email=f"  {EMAIL.upper()} ")
        assert answer.json() == {"email": EMAIL, "role": "admin"}
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Secure" not in cookie
        assert (await browser.get("/api/v1/me")).json() == {"email": EMAIL, "role": "admin"}
        token = browser.cookies["dermafleet_login"]
        assert (await browser.post("/api/v1/logout", headers=OURS)).status_code == 204
        browser.cookies.set("dermafleet_login", token)
        assert (await browser.get("/api/v1/me")).status_code == 401


async def test_login_expires(api: Api) -> None:
    async with api.anonymous() as browser:
        await log_in(browser)
        api.clock.pass_(timedelta(hours=12))
        assert (await browser.get("/api/v1/me")).status_code == 401


async def test_new_password_ends_logins(api: Api) -> None:
    async with api.anonymous() as browser:
        await log_in(browser)
        api.build.user(password="another horse battery")
        assert (await browser.get("/api/v1/me")).status_code == 401
        assert (await log_in(browser)).status_code == 401
        assert (await log_in(browser, "another horse battery")).status_code == 200


async def test_cookie_alone_changes_nothing(api: Api) -> None:
    async with api.anonymous() as browser:
        await log_in(browser)
        answer = await browser.post("/api/v1/logout")
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:dermafleet:problem:cross-site")
        assert (await browser.get("/api/v1/me")).status_code == 200


async def test_form_of_another_site_cannot_log_in(api: Api) -> None:
    async with api.anonymous() as browser:
        body = f'{{"email":"{EMAIL}","password":"{PASSWORD}"}}'
        answer = await browser.post("/api/v1/login", content=body, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 422


async def test_secure_cookie_is_a_setting(database_url: str) -> None:
    async with open_api(database_url, secure_cookies="true") as api, api.anonymous() as browser:
        assert "Secure" in (await log_in(browser)).headers["Set-Cookie"]


async def test_unknown_user_and_wrong_password_get_the_same_answer(api: Api) -> None:
    async with api.anonymous() as browser:
        wrong, unknown = await log_in(browser, "wrong"), await log_in(browser, email="nobody@example.org")
    told = [{**answer.json(), "request_id": ""} for answer in (wrong, unknown)]
    assert told[0] == told[1]
    assert told[0]["type"] == "urn:dermafleet:problem:login-failed"


async def test_guessing_is_stopped_for_a_while(api: Api) -> None:
    async with api.anonymous() as browser:
        for _ in range(MAX_PER_ACCOUNT):
            assert (await log_in(browser, "guess")).status_code == 401
        stopped = await log_in(browser)
        assert (stopped.status_code, stopped.headers["Retry-After"]) == (429, str(int(WINDOW.total_seconds())))
        api.clock.pass_(WINDOW)
        assert (await log_in(browser)).status_code == 200


async def test_key_expires_and_its_use_is_noted_once_a_minute(api: Api) -> None:
    key = api.build.key(expires_at=NOW + timedelta(hours=1))
    headers = {"Authorization": f"Bearer {key}"}
    uses = set()
    async with api.anonymous() as program:
        for _ in range(4):
            assert (await program.get("/api/v1/me", headers=headers)).status_code == 200
            uses.add(api.build.connection.execute("select max(used_at) from api_key").fetchone())
            api.build.connection.commit()
            api.clock.pass_(timedelta(seconds=40))
        api.clock.pass_(timedelta(hours=1))
        assert (await program.get("/api/v1/me", headers=headers)).status_code == 401
    assert len(uses) == 2
    assert key.startswith("flt_")


async def test_secrets_are_not_in_the_database(api: Api) -> None:
    async with api.anonymous() as browser:
        await log_in(browser)
        token = browser.cookies["dermafleet_login"]
    rows = api.build.connection.execute(
        "select l::text || u::text || k::text from login l, user_account u, api_key k"
    ).fetchall()
    assert rows
    assert not [row for row in rows if token in row[0] or PASSWORD in row[0]]
