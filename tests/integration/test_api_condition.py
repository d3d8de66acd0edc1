"""What the API answers about a device's condition, on real rows."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.builders import NOW
from tests.integration.api import Api, open_api

DEVICE = "/api/v1/devices/D-1"


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with open_api(database_url) as found:
        found.build.device("D-1", model=found.build.model())
        yield found


def insert(api: Api, table: str, **values: object) -> None:
    row = {name: Jsonb(value) if isinstance(value, Mapping | list) else value for name, value in values.items()}
    names, places = ", ".join(row), ", ".join(["%s"] * len(row))
    api.build.connection.execute(
        f"insert into {table} (device_id, {names}) select id, {places} from device where device_id = 'D-1'".encode(),
        list(row.values()),
    )
    api.build.connection.commit()


def add_features(api: Api, session_id: str, index: float | None, *, days_ago: int, component: str = "main") -> None:
    ended_at = NOW - timedelta(days=days_ago)
    insert(
        api,
        "session_feature",
        component=component,
        session_id=session_id,
        purpose="treatment",
        started_at=ended_at - timedelta(minutes=30),
        ended_at=ended_at,
        version=1,
        filter_index=index,
        features={"pump_s": 1500, "values": {"open_vacuum_ratio": 0.023}},
    )


def add_observability(api: Api, fault: str, *, observable: bool, reason: str = "", ambiguous: list[str]) -> None:
    insert(
        api,
        "observability",
        component="main",
        fault=fault,
        observable=observable,
        reason=reason,
        ambiguous_with=ambiguous,
        since_at=NOW,
    )


async def test_nothing_known_is_an_empty_condition_not_a_healthy_one(api: Api) -> None:
    assert await api.get(f"{DEVICE}/condition") == {"device_id": "D-1", "evaluated_until": None, "components": []}
    assert await api.get(f"{DEVICE}/forecast") == {"device_id": "D-1", "data": []}
    assert await api.get(f"{DEVICE}/maintenance") == {"data": [], "next_cursor": None}


async def test_condition_tells_trend_faults_baselines_and_what_cannot_be_seen(api: Api) -> None:
    for number, index in enumerate([1.5, 2.5, None]):
        add_features(api, f"s{number}", index, days_ago=3 - number)
    add_features(api, "s2", 4.0, days_ago=1, component="second")
    add_observability(api, "exhaust_clogged", observable=False, reason="exhaust_dp_kpa is not measured", ambiguous=[])
    add_observability(api, "filter_clogged", observable=True, ambiguous=["return_path_blocked"])
    for version, value in ((1, 0.02), (2, 0.03)):
        insert(
            api,
            "baseline",
            component="main",
            tip="",
            quantity="open_vacuum_ratio",
            version=version,
            value=value,
            spread=0.001,
            n=3,
            from_at=NOW,
            reason="learned",
        )
    [device] = api.build.connection.execute("select id from device").fetchone() or [0]
    api.build.alarm(device, severity=2)
    api.build.alarm(device, severity=3, fault="pump_worn")
    api.build.alarm(device, severity=4, fault="feed_blocked", standing="cleared")

    main, second = (await api.get(f"{DEVICE}/condition", sessions=2))["components"]

    assert (main["component"], second["component"]) == ("main", "second")
    assert [point["session_id"] for point in main["trend"]] == ["s1", "s2"]
    assert (main["filter_index"], second["filter_index"]) == (2.5, 4.0)
    assert main["trend"][0]["values"] == {"open_vacuum_ratio": 0.023}
    assert [(one["fault"], one["observable"], one["reason"]) for one in main["observability"]] == [
        ("exhaust_clogged", False, "exhaust_dp_kpa is not measured"),
        ("filter_clogged", True, ""),
    ]
    assert main["observability"][1]["ambiguous_with"] == [
        {"fault": "return_path_blocked", "title": "Return hose or handpiece blocked"}
    ]
    assert [(one["version"], one["value"]) for one in main["baselines"]] == [(2, 0.03)]
    assert [alarm["fault"] for alarm in main["alarms"]] == ["pump_worn", "filter_clogged"]


async def test_newest_forecast_of_each_component_is_told(api: Api) -> None:
    for days_ago, share in ((2, 0.5), (1, 0.4)):
        insert(
            api,
            "forecast",
            component="main",
            made_at=NOW - timedelta(days=days_ago),
            ratio=0.3,
            share_left=share,
            remaining={"sessions": [8, 12, 20], "hours": [3, 5, 8], "days": [2, 3, 5]},
            basis="library",
            filters=40,
            evening_probability=None,
        )
    [found] = (await api.get(f"{DEVICE}/forecast"))["data"]
    assert (found["share_left"], found["basis"], found["filters"]) == (0.4, "library", 40)
    assert found["sessions"] == {"p10": 8, "p50": 12, "p90": 20}


async def test_session_is_told_with_its_features(api: Api) -> None:
    [device] = api.build.connection.execute("select id from device").fetchone() or [0]
    api.build.session(device, "s1", started_at=NOW - timedelta(hours=1), last_at=NOW)
    add_features(api, "s1", 2.0, days_ago=0)
    add_features(api, "auto-1", None, days_ago=1)

    found = await api.get(f"{DEVICE}/sessions/s1")
    assert (found["session"]["session_id"], found["features"][0]["filter_index"]) == ("s1", 2.0)
    assert found["features"][0]["features"]["pump_s"] == 1500
    assert (await api.get(f"{DEVICE}/sessions/auto-1"))["session"] is None
    assert (await api.client.get(f"{DEVICE}/sessions/nothing")).status_code == 404


async def test_service_is_listed_newest_first_page_by_page(api: Api) -> None:
    for number in range(3):
        insert(
            api,
            "maintenance_record",
            id=UUID(int=number),
            component="main",
            type="FILTER_INTAKE_REPLACED",
            event_at=NOW - timedelta(days=number),
            source="person",
            data={"part_lot": "L1"},
        )
    first = await api.get(f"{DEVICE}/maintenance", limit=2)
    rest = await api.get(f"{DEVICE}/maintenance", limit=2, cursor=first["next_cursor"])
    assert [UUID(one["id"]).int for one in first["data"] + rest["data"]] == [0, 1, 2]
    assert (first["data"][0]["source"], first["data"][0]["data"]) == ("person", {"part_lot": "L1"})
    assert rest["next_cursor"] is None


async def test_alarm_names_what_it_may_be_instead(api: Api) -> None:
    [device] = api.build.connection.execute("select id from device").fetchone() or [0]
    api.build.alarm(device, detail={"candidates": {"return_path_blocked": 0.4, "filter_clogged": 0.55, "leak": 0.05}})
    [alarm] = (await api.get("/api/v1/alarms"))["data"]
    assert alarm["title"] == "Intake filter or return hose blocked"
    assert [(one["fault"], one["probability"]) for one in alarm["candidates"]] == [
        ("filter_clogged", 0.55),
        ("return_path_blocked", 0.4),
        ("leak", 0.05),
    ]
