"""Users' rules in the API: drafts, versions, activation; what is wrong is named by its field."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from psycopg.types.json import Jsonb

from tests.integration.api import Api, open_api

HOT: dict[str, Any] = {
    "key": "pump_hot",
    "name": "Pump runs hot",
    "quantity": "pump_temp_c",
    "comparison": "above",
    "level": 80,
    "clear_level": 70,
    "severity": 2,
    "message": "Let the machine rest.",
}


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with open_api(database_url) as api:
        api.build.model("m1")
        yield api


async def post(api: Api, path: str, body: object = None, **headers: str) -> httpx.Response:
    return await api.client.post(f"/api/v1/rules{path}", json=body, headers=headers)


async def test_a_rule_is_a_draft_until_it_is_activated_and_then_retired(api: Api) -> None:
    added = await post(api, "", HOT)
    assert (added.status_code, added.json()["active"], added.json()["newest"]["state"]) == (201, None, "draft")
    by_default = {"models": [], "component": "main", "duration_s": 10, "sessions": 1, "state": "any"}
    assert added.json()["newest"]["rule"] == {**HOT, **by_default, "version": 1}
    assert added.json()["newest"]["created_by"] == "service@example.org"
    activated = await post(api, "/pump_hot/activate")
    assert activated.json()["active"]["version"] == 1
    assert activated.json()["active"]["activated_at"] is not None
    retired = await post(api, "/pump_hot/retire")
    assert (retired.json()["active"], retired.json()["newest"]["state"]) == (None, "retired")
    transitions = [each["transition"] for each in retired.json()["history"]]
    assert transitions == ["retired", "activated", "created"]


async def test_a_new_version_leaves_the_old_one_active_until_it_takes_its_place(api: Api) -> None:
    await post(api, "", HOT)
    await post(api, "/pump_hot/activate")
    drafted = (await post(api, "/pump_hot/versions", {**HOT, "level": 90})).json()
    assert (drafted["active"]["version"], drafted["newest"]["version"]) == (1, 2)
    activated = (await post(api, "/pump_hot/activate", {"version": 2})).json()
    assert [(each["version"], each["state"]) for each in activated["versions"]] == [(2, "active"), (1, "retired")]
    assert [each["rule"]["level"] for each in activated["versions"]] == [90, 80]
    back = (await post(api, "/pump_hot/activate", {"version": 1})).json()
    assert back["active"]["version"] == 1


async def test_a_change_of_what_somebody_else_changed_is_refused(api: Api) -> None:
    seen = (await post(api, "", HOT)).headers["ETag"]
    await post(api, "/pump_hot/versions", HOT)
    refused = await post(api, "/pump_hot/activate", None, **{"If-Match": seen})
    assert (refused.status_code, refused.json()["type"]) == (412, "urn:dermafleet:problem:changed-meanwhile")
    now = (await api.client.get("/api/v1/rules/pump_hot")).headers["ETag"]
    assert (await post(api, "/pump_hot/activate", None, **{"If-Match": now})).status_code == 200


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"severity": 7}, "#/severity"),
        ({"clear_level": 99}, "#/clear_level"),
        ({"quantity": "phase_of_moon"}, "#/quantity"),
        ({"quantity": "session.mood"}, "#/quantity"),
        ({"models": ["m1", "m2"]}, "#/models/1"),
        ({"component": "second"}, "#/component"),
        ({"quantity": "session.filter_index", "state": "contact"}, "#/state"),
        ({"level": 1e999}, "#/level"),
    ],
)
async def test_a_wrong_rule_is_refused_by_the_name_of_its_field(
    api: Api, change: dict[str, object], pointer: str
) -> None:
    body = json.dumps({**HOT, **change}).replace("Infinity", "1e999")
    refused = await api.client.post("/api/v1/rules", content=body)
    assert refused.status_code == 422, refused.text
    assert [each["pointer"] for each in refused.json()["errors"]] == [pointer]


async def test_a_makers_own_channel_can_be_watched_sample_by_sample(api: Api) -> None:
    limits = Jsonb({"components": {"main": {}, "second": {"pump_temp_c": "pump2_temp_c"}}})
    api.build.connection.execute("insert into device_model values ('duo', 'Duo', 'full', %s)", [limits])
    api.build.connection.commit()
    second = {**HOT, "quantity": "pump2_temp_c"}
    assert (await post(api, "", second)).status_code == 201
    refused = await post(api, "", {**second, "key": "other", "state": "contact"})
    assert refused.json()["errors"][0]["pointer"] == "#/state"
    elsewhere = await post(api, "", {**second, "key": "other", "models": ["m1"]})
    assert elsewhere.json()["errors"][0]["pointer"] == "#/quantity"


async def test_what_does_not_fit_a_rules_state_is_a_conflict(api: Api) -> None:
    await post(api, "", HOT)
    assert (await post(api, "", HOT)).status_code == 409
    assert (await post(api, "/pump_hot/retire")).status_code == 409
    assert (await post(api, "/nothing/activate")).status_code == 404
    assert (await post(api, "/pump_hot/activate", {"version": 5})).status_code == 404
    misnamed = await post(api, "/pump_hot/versions", {**HOT, "key": "other"})
    assert misnamed.json()["errors"][0]["pointer"] == "#/key"


async def test_a_viewer_reads_rules_and_changes_none(api: Api) -> None:
    await post(api, "", HOT)
    api.build.user("guest@example.org", role="viewer")
    headers = {"Authorization": f"Bearer {api.build.key('guest@example.org')}"}
    refused = await post(api, "", {**HOT, "key": "mine"}, **headers)
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:dermafleet:problem:not-allowed")
    seen = await api.client.get("/api/v1/rules", headers=headers)
    assert [each["key"] for each in seen.json()["data"]] == ["pump_hot"]


async def test_rules_are_listed_in_pages_by_key(api: Api) -> None:
    for key in ("b", "c", "a"):
        await post(api, "", {**HOT, "key": key})
    first = await api.get("/api/v1/rules", limit=2)
    rest = await api.get("/api/v1/rules", limit=2, cursor=first["next_cursor"])
    assert [each["key"] for each in first["data"] + rest["data"]] == ["a", "b", "c"]
    assert rest["next_cursor"] is None


async def test_a_backtest_is_ordered_and_looked_at(api: Api) -> None:
    await post(api, "", HOT)
    ordered = await post(api, "/pump_hot/backtest", {"days": 7, "devices": ["D-1"]})
    assert (ordered.status_code, ordered.json()["state"], ordered.json()["result"]) == (202, "queued", None)
    seen = await api.get(ordered.headers["Location"])
    assert seen == ordered.json()
    assert (seen["version"], seen["request"]) == (1, {"version": None, "days": 7.0, "devices": ["D-1"]})
    assert (await post(api, "/pump_hot/backtest", {"days": 0})).json()["errors"][0]["pointer"] == "#/days"
    assert (await post(api, "/pump_hot/backtest", {"version": 3})).status_code == 404
    other = ordered.headers["Location"].replace("pump_hot", "pump_cold")
    assert (await api.client.get(other)).status_code == 404
