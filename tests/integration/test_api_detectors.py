"""Versions of the detectors in the API and on the command line."""

import json
from collections.abc import AsyncIterator

import pytest

from dermafleet.contracts.releases import Release
from dermafleet.storage import releases
from tests.integration.api import Api, open_api
from tests.integration.test_operator_verbs import Operator


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with open_api(database_url) as api:
        yield api


@pytest.fixture
def operator(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Operator:
    monkeypatch.setenv("DERMAFLEET_DATABASE_URL", database_url)
    return Operator(monkeypatch, capsys)


async def test_releases_are_listed_newest_first(api: Api) -> None:
    async with api.parts.writer.begin() as connection:
        await releases.start_release(connection, Release(2, "shadow"), actor="ann")
        await releases.end_releases(connection, 2)
        await releases.start_release(connection, Release(2, "active", percent=10), actor="bob")
    listed = (await api.get("/api/v1/detectors/releases"))["data"]
    assert [(each["mode"], each["percent"], each["created_by"]) for each in listed] == [
        ("active", 10, "bob"),
        ("shadow", 100, "ann"),
    ]
    assert [each["ended_at"] is None for each in listed] == [True, False]


async def test_report_tells_what_only_one_side_raised(api: Api) -> None:
    missing = await api.client.get("/api/v1/detectors/2/report")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:dermafleet:problem:not-found")
    device = api.build.device("D-1")
    connection = api.build.connection
    connection.execute(
        "insert into shadow_state (device_id, version, memory_version, alarms, from_at, until_at)"
        " values (%s, 2, 1, '[]', '2026-03-01', '2026-03-03')",
        [device],
    )
    connection.execute(
        "insert into shadow_alarm_event"
        " (device_id, version, component, fault, transition, severity, confidence, event_at, reason)"
        " values (%s, 2, 'main', 'pump_worn', 'raised', 2, 0.9, '2026-03-02', 'weak')",
        [device],
    )
    connection.commit()
    found = (await api.get("/api/v1/detectors/2/report"))["report"]
    assert found["judged"] == {"devices": 1, "failing": 0, "device_days": 2.0}
    [row] = found["faults"]
    assert (row["fault"], row["only_shadow"], row["only_active"]) == ("pump_worn", 1, 0)
    [example] = found["examples"]
    assert (example["side"], example["spell"]["from_at"]) == ("shadow", "2026-03-02T00:00:00Z")


def test_version_is_put_in_shadow_activated_and_ended(operator: Operator) -> None:
    assert operator.types("detector", "shadow", "2") == (0, "version 2 runs in shadow on 100 % of all models\n")
    said = operator.types("detector", "activate", "2", "--percent", "10")
    assert said == (0, "version 2 runs for real on 10 % of all models\n")
    _, printed = operator.types("detector", "list", "--json")
    listed = json.loads(printed)
    assert [each["version"] for each in listed["versions"]] == [1, 2]
    assert [(each["mode"], each["percent"]) for each in listed["releases"]] == [("active", 10), ("shadow", 100)]
    assert operator.types("detector", "end", "2") == (0, "2 releases of version 2 have ended\n")
    assert operator.types("detector", "activate", "9") == (2, "dermafleet: there is no version 9; known: 1, 2\n")
    code, printed = operator.types("detector", "activate", "2", "--model", "none")
    assert (code, printed) == (1, "dermafleet: there is no device model 'none'\n")
    assert operator.types("detector", "report", "2") == (1, "dermafleet: version 2 has judged nothing in shadow\n")
