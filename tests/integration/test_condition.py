"""What the follower keeps of a machine's condition: features, what can be seen, forecasts, service, filters' lives."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from dermafleet.storage import libraries as stored
from dermafleet.storage.engine import make_engine
from services.alerts.forecast.curve import Curve, advance
from services.alerts.forecast.life import Life
from services.alerts.libraries import HOLDS_AFTER, KNOWN_FOR, Libraries, learn_all
from tests.integration.test_follower import Site
from tests.unit.alerts.machine import START_MS, Machine

START = datetime.fromtimestamp(START_MS / 1000, UTC)


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    engine = make_engine(database_url, 4)
    site = Site(database_url, engine)
    yield site
    site.connection.close()
    await engine.dispose()


async def test_session_leaves_features_baselines_and_a_forecast(site: Site) -> None:
    device, machine = site.add("D-0001"), Machine()
    machine.open()
    for number in range(4):
        machine.treat(f"s{number}", load=0.5 * number, strokes=20)
    site.deliver("D-0001", machine.log)
    await site.follow(device)

    features = site.query("select * from session_feature order by ended_at")
    assert [row["session_id"] for row in features] == ["s0", "s1", "s2", "s3"]
    assert [row["component"] for row in features] == ["main"] * 4
    assert features[3]["filter_index"] == pytest.approx(2.5, rel=0.1)
    assert features[0]["features"]["open"]["mean"]["vacuum_inlet_kpa"] == pytest.approx(2.35, rel=0.1)
    learned = site.query("select quantity, version, n from baseline")
    assert learned
    assert {row["version"] for row in learned} == {1}
    forecasts = site.query("select share_left, remaining from forecast")
    assert forecasts
    assert all(0 <= row["share_left"] <= 1 and len(row["remaining"]["hours"]) == 3 for row in forecasts)


async def test_every_fault_is_told_as_seen_or_not_seen_with_the_reason(site: Site) -> None:
    device, machine = site.add("D-0001"), Machine()
    machine.open()
    machine.treat("s1", load=0.0)
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    rows = {row["fault"]: row for row in site.query("select * from observability")}
    assert rows["over_vacuum"]["observable"]
    assert rows["filter_clogged"]["observable"]
    assert not rows["crystals_low"]["observable"]
    assert "crystal_jar_g" in rows["crystals_low"]["reason"]
    assert all(row["reason"] for row in rows.values() if not row["observable"])


async def test_service_told_by_the_machine_is_kept_and_ends_the_filters_life(site: Site) -> None:
    device, machine = site.add("D-0001"), Machine()
    machine.open()
    for number in range(3):
        machine.treat(f"s{number}", load=2.0 + number, strokes=20)
    machine.maintain("FILTER_INTAKE_REPLACED")
    site.deliver("D-0001", machine.log)
    await site.follow(device)

    [record] = site.query("select * from maintenance_record")
    assert (record["component"], record["type"], record["source"]) == ("main", "FILTER_INTAKE_REPLACED", "machine")
    assert (record["epoch"], record["seq"]) == (machine.log[-1].epoch, machine.log[-1].seq)
    [life] = site.query("select * from filter_life")
    assert (life["censored"], life["reason"], life["model_id"]) == (True, "FILTER_INTAKE_REPLACED", "m")
    assert life["from_at"] >= START
    assert msgspec.convert(life["curve"], Life).curve.exposure_s > 60


async def add_life(site: Site, device: int, ended_at: datetime) -> None:
    curve = Curve()
    advance(curve, [100.0] * 50, [0.02 * i for i in range(50)])
    document = msgspec.json.encode(Life(curve, life_s=5000.0)).decode()
    site.query(
        "insert into filter_life (device_id, component, from_at, to_at, model_id, censored, reason, curve)"
        " values (%s, 'main', %s, %s, 'm', false, 'observed', %s) returning 1",
        device,
        ended_at - timedelta(days=1),
        ended_at,
        document,
    )


async def test_library_has_a_version_per_hour_in_which_filters_ended(site: Site) -> None:
    device = site.add("D-0001")
    await add_life(site, device, START)
    assert await learn_all(site.engine, now=START + timedelta(hours=1)) == 1
    assert await learn_all(site.engine, now=START + timedelta(hours=2)) == 0
    await add_life(site, device, START + timedelta(hours=2))
    assert await learn_all(site.engine, now=START + timedelta(hours=3)) == 1
    versions = site.query("select version, filters, learned_until from forecast_library order by version")
    assert [(row["version"], row["filters"]) for row in versions] == [(1, 1), (2, 2)]
    assert all(row["learned_until"].minute == 0 for row in versions)


async def test_entry_is_judged_by_the_library_of_its_time_whenever_it_is_read(site: Site) -> None:
    device = site.add("D-0001")
    hour = timedelta(hours=1)
    for number in range(2):
        await add_life(site, device, START + number * hour)
        await learn_all(site.engine, now=START + (number + 1) * hour)
    first, second = (
        row["learned_until"] for row in site.query("select learned_until from forecast_library order by 1")
    )
    known = Libraries()
    async with site.engine.connect() as connection:

        async def filters(at: datetime) -> int:
            found = await known.at(connection, "m", at, now=START)
            assert found == await Libraries().at(connection, "m", at, now=START)
            return found.complete

        assert await filters(first + HOLDS_AFTER - timedelta(seconds=1)) == 0
        assert await filters(first + HOLDS_AFTER) == 1
        assert await filters(second + HOLDS_AFTER) == 2
        assert await filters(first + HOLDS_AFTER) == 1
        assert (await known.at(connection, None, second + HOLDS_AFTER, now=START)).complete == 0


async def test_new_version_is_noticed_before_it_holds(site: Site) -> None:
    device, known = site.add("D-0001"), Libraries()
    async with site.engine.connect() as connection:
        assert (await known.at(connection, "m", START, now=START)).complete == 0
        await add_life(site, device, START - timedelta(hours=1))
        await learn_all(site.engine, now=START)
        later = START + HOLDS_AFTER
        assert later - START > KNOWN_FOR
        assert (await known.at(connection, "m", later, now=later)).complete == 1


async def test_only_one_process_learns_at_a_time(site: Site) -> None:
    await add_life(site, site.add("D-0001"), START)
    async with site.engine.begin() as other:
        assert await stored.lock_learning(other)
        assert await learn_all(site.engine, now=START + timedelta(hours=1)) == 0
    assert await learn_all(site.engine, now=START + timedelta(hours=1)) == 1
