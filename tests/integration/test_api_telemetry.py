"""Series within a budget of points: exact where they fit, an exact envelope where they do not."""

import json
import math
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.api.models import BucketSeries, RawSeries
from services.api.series import bucket_ms
from tests.builders import NOW, every
from tests.integration.api import Api, open_api

PATH = "/api/v1/devices/D-1/telemetry"
FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-1000, max_value=1000)


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with open_api(database_url) as found:
        yield found


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


async def test_samples_that_fit_come_as_they_were_measured(api: Api) -> None:
    device = api.build.device()
    at = every(60, 10)
    api.build.samples(device, at, {"flow_lpm": [0.1 * i for i in range(10)], "filter_dp_kpa": [None, *[0.41] * 9]})
    found = await api.get(PATH, points=10, channels="filter_dp_kpa,flow_lpm")
    assert (found["resolution"], found["bucket_ms"], found["source"]) == ("raw", None, "raw")
    assert (found["from"], found["to"]) == ("2026-03-04T11:45:00Z", "2026-03-04T12:00:00Z")
    assert found["t"] == [ms(when) for when in at]
    assert list(found["channels"]) == ["filter_dp_kpa", "flow_lpm"]
    assert found["channels"]["filter_dp_kpa"] == {"unit": "kPa", "value": [None, *[0.41] * 9]}
    assert found["channels"]["flow_lpm"]["value"] == [float(f"{0.1 * i:.1f}") for i in range(10)]
    RawSeries.model_validate(found)


async def test_one_sample_too_many_makes_buckets_that_hold_every_extreme(api: Api) -> None:
    device = api.build.device()
    at = every(1, 900)
    values = [float(np.float32(math.sin(i / 7) + (100 if i == 451 else 0))) for i in range(900)]
    api.build.samples(device, at, {"flow_lpm": values})
    found = await api.get(PATH, points=100, channels="flow_lpm")
    BucketSeries.model_validate(found)
    assert found["bucket_ms"] == 10_000
    assert found["t"] == [ms(when) for when in at[::10]]
    flow = found["channels"]["flow_lpm"]
    pieces = [values[i : i + 10] for i in range(0, 900, 10)]
    assert [np.float32(v) for v in flow["min"]] == [np.float32(min(piece)) for piece in pieces]
    assert [np.float32(v) for v in flow["max"]] == [np.float32(max(piece)) for piece in pieces]
    assert flow["mean"] == pytest.approx([sum(piece) / 10 for piece in pieces], rel=1e-6)


async def test_range_is_half_open_and_empty_buckets_are_absent(api: Api) -> None:
    device = api.build.device()
    start = NOW - timedelta(minutes=10)
    at = [start + timedelta(milliseconds=100 * i) for i in range(30)]
    at += [start + timedelta(minutes=9, milliseconds=100 * i) for i in range(30)]
    api.build.samples(device, at, {"flow_lpm": list(range(60))})
    found = await api.get(PATH, points=20, channels="flow_lpm", **{"from": "-10m", "to": "-3s"})
    assert found["resolution"] == "bucket"
    assert found["t"] == [ms(start), ms(start + timedelta(minutes=9))]
    exact = await api.get(PATH, **{"from": at[10].isoformat(), "to": at[20].isoformat()}, channels="flow_lpm")
    assert exact["channels"]["flow_lpm"]["value"] == list(range(10, 20))
    nothing = await api.get(PATH, **{"from": "-9m", "to": "-8m"}, channels="flow_lpm")
    assert (nothing["t"], nothing["channels"]["flow_lpm"]["value"]) == ([], [])


async def test_channels_of_a_maker_are_read_by_name(api: Api) -> None:
    device = api.build.device()
    api.build.samples(device, every(1, 30), {"flow_lpm": [1.0] * 30, "maker.x": [None, *range(29)]})
    raw = await api.get(PATH, channels="maker.x")
    assert raw["channels"]["maker.x"] == {"unit": None, "value": [None, *range(29)]}
    buckets = await api.get(PATH, points=10, channels="maker.x", **{"from": "-30s"})
    assert max(buckets["channels"]["maker.x"]["max"]) == 28
    assert list((await api.get(PATH))["channels"]) == ["flow_lpm", "maker.x"]


async def test_unknown_channel_is_named(api: Api) -> None:
    api.build.samples(api.build.device(), every(1, 3), {"flow_lpm": [1.0] * 3})
    answer = await api.client.get(PATH, params={"channels": "flow_lpm,maker_y"})
    assert (answer.status_code, "'maker_y'" in answer.json()["detail"]) == (422, True)


async def test_answer_says_until_when_it_is_complete(api: Api) -> None:
    device = api.build.device()
    assert (await api.get(PATH))["complete_until"] is None
    first = every(1, 10, until=NOW - timedelta(minutes=2))
    second = every(1, 10, until=NOW - timedelta(minutes=1))
    api.build.samples(device, first, {"flow_lpm": [1.0] * 10})
    api.build.samples(device, second, {"flow_lpm": [1.0] * 10})
    api.build.log(device, {"head": 2, "upto": 2})
    assert (await api.get(PATH))["complete_until"] == second[-1].isoformat().replace("+00:00", "Z")
    api.build.connection.execute("update device_log set upto = 1, head = 3, received = '{}'")
    api.build.connection.commit()
    assert (await api.get(PATH))["complete_until"] == first[-1].isoformat().replace("+00:00", "Z")
    api.build.log(device, {"head": 4, "upto": 0}, epoch="00000000000000bb", number=2)
    assert (await api.get(PATH))["complete_until"] == first[-1].isoformat().replace("+00:00", "Z")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_envelope_is_the_envelope_of_the_raw_samples(api: Api, data: st.DataObject) -> None:
    """Any samples, range and budget: each sample lies in exactly one bucket, and no bucket says more or less."""
    device = api.build.device(f"H-{api.build.connection.execute('select count(*) from device').fetchone()}"[:60])
    offsets = sorted(data.draw(st.lists(st.integers(0, 3_600_000), min_size=11, max_size=60)))
    values = data.draw(st.lists(st.none() | FLOAT32, min_size=len(offsets), max_size=len(offsets)))
    low, high = sorted(data.draw(st.tuples(st.integers(0, 3_600_001), st.integers(0, 3_600_001))))
    points = data.draw(st.integers(10, 30))
    base = NOW - timedelta(hours=1)
    at = [base + timedelta(milliseconds=offset) for offset in offsets]
    api.build.samples(device, at, {"flow_lpm": values})
    name = api.build.connection.execute("select device_id from device where id = %s", (device,)).fetchone()
    assert name is not None

    start, end = base + timedelta(milliseconds=low), base + timedelta(milliseconds=high + 1)
    path = f"/api/v1/devices/{name[0]}/telemetry"
    found = await api.get(
        path, channels="flow_lpm", points=points, **{"from": start.isoformat(), "to": end.isoformat()}
    )

    inside = [(ms(w), v) for w, v in zip(at, values, strict=True) if start <= w < end]
    if len(inside) <= points:
        assert found["t"] == [when for when, _ in inside]
        assert as32(found["channels"]["flow_lpm"]["value"]) == as32([v for _, v in inside])
    else:
        check_envelope(found, inside, points)


def check_envelope(found: dict[str, Any], inside: list[tuple[int, float | None]], points: int) -> None:
    width = found["bucket_ms"]
    assert len(found["t"]) <= points
    buckets: dict[int, list[float]] = {}
    for when, value in inside:
        bucket = buckets.setdefault(when // width * width, [])
        if value is not None:
            bucket.append(value)
    assert found["t"] == sorted(buckets)
    flow = found["channels"]["flow_lpm"]
    assert as32(flow["min"]) == as32([min(b, default=None) for _, b in sorted(buckets.items())])
    assert as32(flow["max"]) == as32([max(b, default=None) for _, b in sorted(buckets.items())])


def as32(values: list[Any]) -> list[Any]:
    return [None if v is None else np.float32(v) for v in values]


async def test_full_answer_is_compact_and_quick(api: Api) -> None:
    """A day at 10 Hz, 864 000 samples of four channels, becomes an envelope of 1 000 points in a few seconds."""
    device = api.build.device()
    api.build.entry(device, NOW - timedelta(days=1), NOW, 864_000)
    api.build.connection.execute(
        "insert into telemetry (device_id, event_at, entry, flow_lpm, filter_dp_kpa, vacuum_inlet_kpa, pump_on)"
        " select %s, %s::timestamptz - i * interval '100 ms', 1, i %% 100, i %% 10, 40, 1"
        " from generate_series(1, 864000) i",
        (device, NOW),
    )
    api.build.connection.commit()
    answer = await api.client.get(PATH, params={"from": "-24h", "points": "1000"})
    found = json.loads(answer.content)
    assert found["resolution"] == "bucket"
    assert len(found["t"]) <= 1000
    assert len(found["channels"]) == 4
    assert len(answer.content) < 200_000


def test_buckets_are_the_least_that_keep_the_budget() -> None:
    assert bucket_ms(NOW - timedelta(minutes=15), NOW, 1000) == 1000
    assert bucket_ms(NOW - timedelta(minutes=15), NOW, 900) == 1000
    assert bucket_ms(NOW - timedelta(minutes=15), NOW, 899) == 2000
    assert bucket_ms(NOW - timedelta(minutes=15, milliseconds=1), NOW, 900) == 2000
    assert bucket_ms(NOW - timedelta(minutes=15), NOW + timedelta(microseconds=1), 900) == 2000
    assert bucket_ms(NOW - timedelta(days=93), NOW, 10) == 14 * 86_400_000
