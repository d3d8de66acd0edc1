"""A version of the detectors in shadow, and then for real, on a real database."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog.testing

from dermafleet.contracts.releases import Mode, Release
from dermafleet.errors import PermanentError
from dermafleet.storage import releases
from dermafleet.storage.engine import make_engine
from services.alerts import evaluate, replay
from tests.integration.test_follower import Site
from tests.integration.test_rules import LOADED, activate
from tests.unit.alerts.machine import Machine


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    engine = make_engine(database_url, 3)
    site = Site(database_url, engine)
    yield site
    site.connection.close()
    await engine.dispose()


async def release(site: Site, version: int, mode: Mode, **who: Any) -> None:
    async with site.engine.begin() as connection:
        await releases.start_release(connection, Release(version, mode, **who), actor="ann")


async def report(site: Site) -> Any:
    async with site.engine.connect() as connection:
        return await releases.report(connection, 2)


def clog(machine: Machine, *, percent: range = range(10, 120, 10)) -> None:
    for each in percent:
        machine.block([each / 100] * 8)


async def follow(site: Site, machine: Machine) -> None:
    site.deliver("D-0001", machine.log)
    await site.follow(site.devices["D-0001"])


def steps(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["fault"], row["transition"], row["severity"], row["event_at"]) for row in rows]


async def test_shadow_decides_as_the_active_version_where_they_do_not_differ_and_tells_nobody(site: Site) -> None:
    site.add("D-0001")
    await release(site, 2, "shadow")
    machine = Machine()
    machine.open()
    clog(machine)
    machine.block([0.1] * 40)
    await follow(site, machine)
    told = site.query(
        "select a.fault, e.transition, (e.data->>'severity')::int as severity, e.event_at"
        " from alarm_event e join alarm a on a.id = alarm_id order by e.id"
    )
    shadowed = site.query("select * from shadow_alarm_event order by id")
    assert (told[0]["transition"], told[-1]["transition"]) == ("raised", "cleared")
    assert steps(shadowed) == steps(told)
    changes = site.query("select count(*) as n from change where topic = 'alarm'")
    assert changes[0]["n"] == len(told)
    found = await report(site)
    assert [(row.fault, row.both, row.only_active, row.only_shadow, row.lead_s) for row in found.faults] == [
        ("filter_clogged", 1, 0, 0, 0.0)
    ]


async def test_shadow_begins_with_what_the_active_version_remembers(site: Site) -> None:
    site.add("D-0001")
    machine = Machine()
    machine.open()
    clog(machine)
    await follow(site, machine)
    await release(site, 2, "shadow")
    machine.block([1.1] * 8)
    await follow(site, machine)
    [state] = site.query("select * from shadow_state")
    assert [alarm["fault"] for alarm in state["alarms"]] == ["filter_clogged"]
    assert not site.query("select 1 from shadow_alarm_event")
    machine.block([0.1] * 40)
    await follow(site, machine)
    assert [row["transition"] for row in site.query("select * from shadow_alarm_event")] == ["cleared"]
    [claim] = site.query("select evaluated_until from detector_state")
    [state] = site.query("select * from shadow_state")
    assert state["until_at"] == claim["evaluated_until"]


async def test_shadow_that_missed_something_begins_anew(site: Site) -> None:
    site.add("D-0001")
    await release(site, 2, "shadow")
    machine = Machine()
    machine.open()
    clog(machine, percent=range(10, 50, 10))
    await follow(site, machine)
    [before] = site.query("select * from shadow_state")
    async with site.engine.begin() as connection:
        assert await releases.end_releases(connection, 2) == 1
    machine.block([0.4] * 8)
    await follow(site, machine)
    assert site.query("select until_at from shadow_state") == [{"until_at": before["until_at"]}]
    [stood] = site.query("select evaluated_until from detector_state")
    await release(site, 2, "shadow")
    machine.block([0.4] * 8)
    await follow(site, machine)
    assert site.query("select from_at from shadow_state") == [{"from_at": stood["evaluated_until"]}]


async def test_version_in_shadow_that_fails_does_not_stop_the_active_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add("D-0001")
    await release(site, 2, "shadow")

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    machine = Machine()
    machine.open()
    with monkeypatch.context() as patched, structlog.testing.capture_logs() as logs:
        patched.setattr(replay, "take", fail)
        for percent in (range(10, 70, 10), range(70, 120, 10)):
            clog(machine, percent=percent)
            await follow(site, machine)
    assert site.query("select 1 from alarm where fault = 'filter_clogged'")
    assert [log["event"] for log in logs] == ["A version in shadow failed"], "told once"
    assert (await report(site)).judged.failing == 1
    machine.block([0.1] * 40)
    await follow(site, machine)
    assert (await report(site)).judged.failing == 0
    assert [row["transition"] for row in site.query("select * from shadow_alarm_event")] == ["cleared"]


async def test_users_rules_are_not_judged_in_shadow(site: Site) -> None:
    site.add("D-0001")
    await activate(site, LOADED)
    machine = Machine()
    machine.open()
    machine.block([0.6] * 8)
    await follow(site, machine)
    await release(site, 2, "shadow")
    machine.block([0.1] * 40)
    await follow(site, machine)
    assert not site.query("select 1 from shadow_alarm_event where fault like 'rule%%'")
    found = await report(site)
    assert not [row for row in found.faults if row.fault.startswith("rule")]


async def test_active_version_stands_in_the_history_of_alarms_and_judges_only_those_it_covers(site: Site) -> None:
    site.add("D-0001")
    await release(site, 2, "active", models=["m"])
    machine = Machine()
    machine.open()
    clog(machine)
    await follow(site, machine)
    told = site.query("select data from alarm_event")
    assert {row["data"]["release"] for row in told} == {2}
    with pytest.raises(PermanentError, match="no device model 'x'"):
        await release(site, 2, "active", models=["x"])
    with pytest.raises(PermanentError, match="judged nothing"):
        await report(site)


async def test_thresholds_of_the_released_version_are_the_ones_applied(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    take_block = evaluate.take_block

    def watch(memory: Any, block: Any, context: Any) -> Any:
        seen.append(context.tuning.filter_due_share)
        return take_block(memory, block, context)

    monkeypatch.setattr(evaluate, "take_block", watch)
    site.add("D-0001")
    await release(site, 2, "shadow")
    machine = Machine()
    machine.open()
    machine.block([0.1] * 8)
    await follow(site, machine)
    assert set(seen) == {0.17, 0.22}
