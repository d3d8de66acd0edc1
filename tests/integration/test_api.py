"""What the API answers, on real rows."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest

from dermafleet.settings import Settings
from dermafleet.storage.engine import make_engine
from services.api.app import make_app
from tests.builders import EPOCH, NOW, every
from tests.integration.api import Api, open_api

LOCAL = {"id", "name", "time_zone"}

FOUND_BY: list[tuple[dict[str, str], list[str]]] = [
    ({}, ["A-1", "B-1", "C-1"]),
    ({"q": "lyo"}, ["A-1"]),
    ({"q": "b-"}, ["B-1"]),
    ({"q": "%"}, []),
    ({"presence": "online"}, ["A-1"]),
    ({"presence": "offline"}, ["B-1"]),
    ({"presence": "never_seen"}, ["C-1"]),
    ({"alarm": "true"}, ["B-1"]),
    ({"alarm": "false", "presence": "online"}, ["A-1"]),
]


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with open_api(database_url) as found:
        yield found


async def test_device_tells_where_it_is_and_what_it_measured_last(api: Api) -> None:
    device = api.build.device("D-1", model=api.build.model())
    api.build.place(device)
    api.build.status(device, state="treating", latest={"flow_lpm": 30.0}, latest_at=NOW - timedelta(seconds=5))
    api.build.samples(device, every(0.1, 3), {"flow_lpm": [29.0, 29.5, 29.9], "maker_x": [1, 2, 3]})
    api.build.alarm(device, severity=3)

    found = await api.get("/api/v1/devices/D-1")

    assert found["model"] == {"id": "crystal-m1", "name": "Crystal-M1", "profile": "full"}
    assert found["site"]["name"] == "Lyon"
    assert found["site"]["organization"] == "Owner of Lyon"
    assert (found["presence"], found["activity"], found["agent"]) == ("online", "treating", "1.0")
    assert found["latest"] == {"flow_lpm": 29.9, "maker_x": 3}
    assert found["latest_at"] == "2026-03-04T11:59:59.900000Z"
    assert [channel["name"] for channel in found["channels"]] == ["flow_lpm", "maker_x"]
    assert found["limits"] == {"filter_dp_kpa": 5.0}
    assert (found["alarms_open"], found["worst_severity"]) == (1, 3)
    assert found["backlog"] is None


async def test_device_without_anything_is_shown_too(api: Api) -> None:
    api.build.device("D-1", state="pending")
    [found] = (await api.get("/api/v1/devices"))["data"]
    assert found["presence"] == "never_seen"
    assert found["latest"] == {}
    assert [found[key] for key in ("model", "site", "activity", "last_seen_at", "worst_severity")] == [None] * 5
    answer = await api.client.get("/api/v1/devices/D-1/latest")
    assert answer.status_code == 404


async def test_online_that_has_not_been_heard_of_for_long_is_offline(api: Api) -> None:
    device = api.build.device()
    api.build.status(device, online=True, received_at=NOW - timedelta(minutes=3))
    found = await api.get("/api/v1/devices/D-1")
    assert (found["presence"], found["activity"]) == ("offline", None)


async def test_newer_of_status_and_telemetry_is_the_latest(api: Api) -> None:
    device = api.build.device()
    api.build.samples(device, every(1, 2, until=NOW - timedelta(hours=1)), {"flow_lpm": [1.0, 2.0]})
    api.build.status(device, latest={"flow_lpm": 7.5}, latest_at=NOW - timedelta(seconds=1))
    found = await api.get("/api/v1/devices/D-1/latest")
    assert found == {
        "at": "2026-03-04T11:59:59Z",
        "received_at": "2026-03-04T12:00:00Z",
        "source": "status",
        "values": {"flow_lpm": 7.5},
    }


async def test_devices_are_found_by_text_presence_and_alarm(api: Api, subtests: pytest.Subtests) -> None:
    first, second, third = (api.build.device(name) for name in ("A-1", "B-1", "C-1"))
    api.build.place(first)
    api.build.status(first)
    api.build.status(second, online=False)
    api.build.alarm(second)
    api.build.alarm(third, standing="closed")
    for query, expected in FOUND_BY:
        with subtests.test(str(query)):
            assert [found["device_id"] for found in (await api.get("/api/v1/devices", **query))["data"]] == expected


async def test_paging_over_10_000_devices_is_complete_and_stable(api: Api) -> None:
    ids = api.build.devices(10_000)
    seen: list[str] = []
    cursor = ""
    while True:
        page = await api.get("/api/v1/devices", limit=500, **({"cursor": cursor} if cursor else {}))
        seen += [device["device_id"] for device in page["data"]]
        if len(seen) == 1000:
            api.build.device("AAA-before-the-cursor")
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == sorted(ids)


async def test_fleet_is_counted(api: Api) -> None:
    online, offline, retired = (
        api.build.device(f"D-{i}", state=s) for i, s in enumerate(("active", "active", "retired"))
    )
    api.build.device("D-9")
    api.build.status(online, state="treating")
    api.build.status(offline, online=False)
    api.build.status(retired)
    api.build.alarm(online, severity=3)
    api.build.alarm(online, severity=0, fault="evaluation_blocked")
    api.build.alarm(offline, standing="cleared")
    api.build.session(online, "s1", started_at=NOW - timedelta(hours=1), last_at=NOW)
    api.build.session(online, "s2", started_at=NOW - timedelta(hours=13), last_at=NOW)
    api.build.session(online, "s3", started_at=NOW - timedelta(hours=1), last_at=NOW, purpose="self_test")
    recently = NOW - timedelta(seconds=30)
    api.build.samples(online, every(0.1, 90, until=recently), {"flow_lpm": [1.0] * 90}, received_at=recently)
    assert await api.get("/api/v1/fleet/summary") == {
        "devices": 3,
        "online": 1,
        "offline": 1,
        "never_seen": 1,
        "treating": 1,
        "alarms_open": 2,
        "alarms_by_severity": {"0": 1, "1": 0, "2": 0, "3": 1, "4": 0},
        "sessions_today": 1,
        "samples_per_s": 1.5,
        "as_of": "2026-03-04T12:00:00Z",
    }


async def test_sessions_overlapping_a_range_come_newest_first_in_pages(api: Api) -> None:
    device, other = api.build.device("D-1"), api.build.device("D-2")
    for hour in range(5):
        start = NOW - timedelta(hours=hour + 1)
        api.build.session(device, f"s{hour}", started_at=start, last_at=start + timedelta(minutes=30))
    api.build.session(device, "no-start", started_at=None, last_at=NOW - timedelta(days=1))
    api.build.session(other, "s0", started_at=NOW, last_at=NOW)

    first = await api.get("/api/v1/devices/D-1/sessions", limit=4)
    second = await api.get("/api/v1/devices/D-1/sessions", limit=4, cursor=first["next_cursor"])
    ranged = await api.get("/api/v1/devices/D-1/sessions", **{"from": "-165m", "to": "-1h"})

    assert [s["session_id"] for s in first["data"] + second["data"]] == ["s0", "s1", "s2", "s3", "s4", "no-start"]
    assert second["next_cursor"] is None
    assert [s["session_id"] for s in ranged["data"]] == ["s1", "s2"]


async def test_alarms_are_filtered_paged_and_put_into_words(api: Api) -> None:
    device, other = api.build.device("D-1"), api.build.device("D-2")
    api.build.place(device)
    detail = {"ratio": 1.12, "dp_kpa": 5.6, "limit_kpa": 5.0, "flow_lpm": 29.7}
    newest = api.build.alarm(device, severity=3, detail=detail)
    api.build.alarm(device, standing="closed", raised_at=NOW - timedelta(days=2))
    api.build.alarm(other, severity=1, fault="evaluation_blocked", raised_at=NOW - timedelta(days=1))

    page = await api.get("/api/v1/alarms", limit=2)
    rest = await api.get("/api/v1/alarms", limit=2, cursor=page["next_cursor"])
    assert [a["device_id"] for a in page["data"] + rest["data"]] == ["D-1", "D-2", "D-1"]

    found = page["data"][0]
    assert found["title"] == "Intake filter clogged"
    assert found["statement"] == (
        "The pressure drop across the intake filter is at 112% of its rated limit: 5.60 kPa measured at 30 L/min, "
        "5.00 kPa allowed at rated flow. Replace the filter before the next session."
    )
    assert (found["severity_name"], found["site"].keys()) == ("fault", LOCAL)

    one = await api.get(f"/api/v1/alarms/{newest}")
    assert [step["transition"] for step in one["history"]] == ["raised"]

    async def count(path: str, query: str) -> int:
        answer = await api.client.get(f"/api/v1{path}?{query}")
        assert answer.status_code == 200, answer.text
        return len(answer.json()["data"])

    assert await count("/alarms", "standing=raised&standing=closed") == 3
    assert await count("/alarms", "standing=raised&severity_gte=2") == 1
    assert await count("/alarms", "fault=evaluation_blocked&device_id=D-1") == 0
    assert await count("/alarms", "device_id=D-1&device_id=D-2") == 3
    assert await count("/alarms", "from=-36h") == 2
    assert await count("/alarms", "from=-1h&device_id=D-2") == 1
    assert await count("/alarms", "to=-36h") == 1
    assert await count("/devices/D-1/alarms", "") == 2
    assert (await api.client.get(f"/api/v1/alarms/{uuid4()}")).status_code == 404


async def test_completeness_accounts_for_every_entry(api: Api) -> None:
    device = api.build.device()
    ranges: dict[str, int | str] = {
        "received": "{[10,13)}",
        "refused": "{[4,5)}",
        "lost": "{[1,3),[6,7)}",
        "late": "{[6,7)}",
    }
    numbers: dict[str, int | str] = {"opened": True, "head": 20, "low": 3, "upto": 8, "duplicates": 4, "samples": 5}
    api.build.log(device, ranges | numbers)
    api.build.log(device, {"head": 2, "upto": 2, "samples": 7}, epoch="00000000000000bb", number=2)
    api.build.status(device, head=(EPOCH, 22))

    found = await api.get("/api/v1/devices/D-1/completeness")

    # 1, 2 lost; 4 refused; 6 lost and late; 3, 5, 7, 8 and 10 to 12 stored; 9 and 13 to 22 missing.
    assert found["entries"] == {"stored": 10, "duplicate": 4, "missing": 11, "lost": 2, "refused": 1, "late": 1}
    assert found["samples_stored"] == 12
    assert found["epochs"][0] == {
        "epoch": EPOCH,
        "head": 22,
        "upto": 8,
        "stored": 8,
        "missing": [[9, 9], [13, 22]],
        "lost": [[1, 2]],
        "refused": [[4, 4]],
        "late": [[6, 6]],
    }
    assert (await api.get("/api/v1/devices/D-1"))["backlog"] == 11


async def test_quarantine_is_listed_newest_first(api: Api) -> None:
    for reason in ("first", "second", "third"):
        api.build.refusal("D-1" if reason != "second" else None, reason)
    page = await api.get("/api/v1/quarantine", limit=2)
    rest = await api.get("/api/v1/quarantine", limit=2, cursor=page["next_cursor"])
    assert [row["reason"] for row in page["data"] + rest["data"]] == ["third", "second", "first"]
    assert [row["reason"] for row in (await api.get("/api/v1/quarantine", device_id="D-1"))["data"]] == [
        "third",
        "first",
    ]


async def test_channels_are_the_registry(api: Api) -> None:
    found = (await api.get("/api/v1/channels"))["data"]
    assert found[0]["name"] == "vacuum_inlet_kpa"
    assert found[0]["unit"] == "kPa"


async def test_readiness_names_what_is_missing(api: Api) -> None:
    anyone = api.anonymous()
    assert (await anyone.get("/healthz")).json() == {"status": "ok"}
    before = await anyone.get("/readyz")
    assert (before.status_code, before.json()["reasons"]) == (503, ["changes have not been read yet"])
    await api.parts.feed.step()
    api.build.worker("0123456789abcd")
    api.build.worker("ef", seen_at=NOW - timedelta(minutes=5))
    after = await anyone.get("/readyz")
    assert (after.status_code, after.json()["unserved_shards"]) == (200, ["e", "f"])
    api.build.connection.execute("update alembic_version set version_num = '9999'")
    api.build.connection.commit()
    assert "9999" in (await anyone.get("/readyz")).json()["reasons"][0]
    assert "dermafleet_api_requests_total" in (await anyone.get("/metrics")).text


async def test_without_a_database_every_answer_is_a_problem_and_health_is_well() -> None:
    engine = make_engine("postgresql://127.0.0.1:1/none", 2)
    app = make_app(Settings.load({}), engine)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as anyone:
        assert (await anyone.get("/healthz")).status_code == 200
        ready = await anyone.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert ready.json()["reasons"] == ["the database cannot be asked; the log says why"]
        answer = await anyone.get("/api/v1/me", headers={"Authorization": "Bearer flt_x"})
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert answer.json()["type"] == "urn:dermafleet:problem:unavailable"
