"""How the API says no, and what surrounds every answer."""

from collections.abc import AsyncIterator

import pytest
import structlog

from services.api import problems
from tests.integration.api import Api, open_api

FIELDS = {"type", "title", "status", "detail", "instance", "errors", "request_id"}


WRONG = [
    ("/api/v1/devices?limit=0", "?limit"),
    ("/api/v1/devices?limit=501", "?limit"),
    ("/api/v1/devices?presence=maybe", "?presence"),
    ("/api/v1/devices?presense=online", "?presense"),
    ("/api/v1/me?x=1", "?x"),
    ("/api/v1/devices?cursor=nonsense", "?cursor"),
    ("/api/v1/alarms?cursor=IkQtMSI", "?cursor"),
    ("/api/v1/alarms?severity_gte=5", "?severity_gte"),
    ("/api/v1/alarms?from=yesterday", "?from"),
    ("/api/v1/alarms/not-an-id", "path alarm_id"),
    ("/api/v1/devices/D-1/telemetry?points=9", "?points"),
    ("/api/v1/devices/D-1/telemetry?points=5001", "?points"),
    ("/api/v1/devices/D-1/telemetry?from=2026-03-04T10:00:00", "?from"),
    ("/api/v1/devices/D-1/telemetry?from=-1h&to=-2h", "?from"),
    ("/api/v1/devices/D-1/telemetry?from=-94d", "?from"),
    ("/api/v1/devices/D-1/telemetry?from=9999-01-01T00:00:00Z", "?from"),
    ("/api/v1/devices/D-1/telemetry?channels=flow_lpm,flux", "?channels"),
    ("/api/v1/devices/D-1/telemetry?channels=", "?channels"),
    ("/api/v1/stream?topics=devices,weather", "?topics"),
    ("/api/v1/stream?device_id=D%00", "?device_id"),
    ("/api/v1/devices?q=%00", "?q"),
]

ABSENT = [
    ("GET", "/api/v1/nothing-here", 404),
    ("GET", "/api/v1/devices/NOBODY", 404),
    ("GET", "/api/v1/devices/NOBODY/telemetry", 404),
    ("GET", "/api/v1/devices/D%00", 404),
    ("GET", "/api/v1/stream?device_id=NOBODY", 404),
    ("DELETE", "/api/v1/devices", 405),
]


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with open_api(database_url) as found:
        found.build.device("D-1")
        yield found


async def test_wrong_parameter_is_named(api: Api, subtests: pytest.Subtests) -> None:
    for path, pointer in WRONG:
        with subtests.test(path):
            answer = await api.client.get(path)
            assert answer.status_code == 422, answer.text
            problem = answer.json()
            assert answer.headers["Content-Type"] == problems.MEDIA_TYPE
            assert problem.keys() == FIELDS
            assert [error["pointer"] for error in problem["errors"]] == [pointer]
            assert problem["instance"] == path.split("?")[0]
            assert problem["request_id"] == answer.headers["X-Request-ID"]


async def test_what_is_not_there_is_a_problem_too(api: Api, subtests: pytest.Subtests) -> None:
    for method, path, status in ABSENT:
        with subtests.test(path):
            answer = await api.client.request(method, path)
            assert (answer.status_code, answer.json()["status"]) == (status, status)
            assert answer.json().keys() == FIELDS


async def test_body_is_checked_by_field_and_limited(api: Api) -> None:
    answer = await api.client.post("/api/v1/login", json={"email": "a@b.c"})
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/password"]
    answer = await api.client.post("/api/v1/login", json={"email": "a\0@b.c", "password": "x"})
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/email"]
    answer = await api.client.post("/api/v1/login", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    answer = await api.client.post("/api/v1/login", json={"email": "a@b.c", "password": "x" * 100_000})
    assert answer.status_code == 413
    assert answer.json().keys() == FIELDS


async def test_every_answer_carries_protection_and_an_id(api: Api) -> None:
    for path in ("/api/v1/me", "/api/v1/nothing", "/healthz", "/", "/openapi.json"):
        answer = await api.client.get(path, headers={"X-Request-ID": "trace-1"})
        assert answer.status_code != 500
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Request-ID"] == "trace-1"
    assert (await api.client.get("/api/v1/me")).headers["Cache-Control"] == "no-store"
    forged = await api.client.get("/healthz", headers={"X-Request-ID": "a b;c"})
    assert forged.headers["X-Request-ID"] != "a b;c"


async def test_error_of_ours_is_a_problem_without_its_inside(api: Api) -> None:
    api.build.connection.execute("alter table alarm rename to alarm_gone")
    api.build.connection.commit()
    with structlog.testing.capture_logs() as logs:
        answer = await api.client.get("/api/v1/alarms")
    assert [line["request_id"] for line in logs] == [answer.json()["request_id"]]
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:dermafleet:problem:internal")
    assert "alarm_gone" not in answer.text


async def test_documentation_that_loads_from_other_hosts_is_off(api: Api) -> None:
    for path in ("/docs", "/redoc"):
        assert "cdn" not in (await api.client.get(path)).text
