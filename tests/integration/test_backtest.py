"""A rule tried on stored history says what it would have said live; bounded, and beside the follower."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from dermafleet.contracts.backtests import BacktestRequest, BacktestResult
from dermafleet.contracts.rules import Rule
from dermafleet.storage import backtests, rules
from dermafleet.storage.engine import make_engine
from services.alerts import backtest
from services.alerts.backtest import Bounds
from services.alerts.backtest_jobs import keep_backtesting, work_off_one
from tests.integration.test_follower import Site, alerts_process, until
from tests.integration.test_rules import LOADED, activate, of_rules
from tests.unit.alerts.machine import Machine

WIDE = Bounds(devices=10, days=30, samples=1_000_000)
START = datetime.now(UTC) - timedelta(days=12)
"""The past: what claims to come from the future is given another time when it is stored."""
NOW = START + timedelta(days=1)


def machine_of_then() -> Machine:
    return Machine(now_ms=int(START.timestamp()) * 1000)


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    engine = make_engine(database_url, 4)
    site = Site(database_url, engine)
    yield site
    site.connection.close()
    await engine.dispose()


def loaded_twice(machine: Machine) -> Machine:
    """Over the rule's level twice; a restart in between; the second time to the end."""
    machine.open()
    for ratio in (0.2, 0.6, 0.1):
        machine.block([ratio] * 8)
    machine.open()
    for ratio in (0.2, 0.7):
        machine.block([ratio] * 8)
    return machine


async def test_backtest_says_what_the_rule_says_live(site: Site) -> None:
    device, machine = site.add("D-0001"), loaded_twice(machine_of_then())
    site.deliver("D-0001", machine.log)
    tried = await backtest.run(site.engine, LOADED, BacktestRequest(), WIDE, now=NOW)
    await activate(site, LOADED)
    await site.follow(device)
    [alarm] = of_rules(site)
    events = site.query(
        "select transition, event_at, reason from alarm_event where alarm_id = %s order by id", alarm["id"]
    )
    assert [each["transition"] for each in events] == ["raised", "cleared", "reraised"]
    first, second = tried.examples
    assert (first.from_at, first.until_at) == (events[0]["event_at"], events[1]["event_at"])
    assert first.reason == events[0]["reason"]
    assert (second.from_at, second.until_at) == (events[2]["event_at"], None)
    [summary] = tried.devices
    assert (tried.fired, summary.fired, summary.samples, tried.left_out) == (2, 2, 40, [])


async def test_backtest_writes_nothing(site: Site) -> None:
    site.add("D-0001")
    site.deliver("D-0001", loaded_twice(machine_of_then()).log)
    await backtest.run(site.engine, LOADED, BacktestRequest(), WIDE, now=NOW)
    assert not site.query("select 1 from alarm")
    assert not site.query("select 1 from session_feature")
    assert not site.query("select 1 from detector_state")


async def test_backtest_says_what_it_left_out(site: Site) -> None:
    for number in range(1, 5):
        site.add(f"D-{number}")
    for number in (1, 2):
        site.deliver(f"D-{number}", loaded_twice(machine_of_then()).log)
    request = BacktestRequest(days=40, devices=["D-1", "D-2", "D-3", "D-9"])
    tight = Bounds(devices=3, days=30, samples=20)
    tried = await backtest.run(site.engine, LOADED, request, tight, now=NOW)
    assert tried.left_out == [
        "what is older than 30 days; 40 were asked for",
        "D-9: not in service, or the rule is not for its model",
        "D-1 from some point on: 20 samples were reached",
        "D-2, D-3: 20 samples were reached before",
    ]
    few = await backtest.run(site.engine, LOADED, BacktestRequest(), Bounds(2, 30, 10**6), now=NOW)
    assert few.left_out == ["2 devices after the first 2 by their ids"]
    silent = await backtest.run(site.engine, LOADED, BacktestRequest(devices=["D-3"]), WIDE, now=NOW)
    assert silent.left_out == ["D-3: told nothing in this period"]


async def test_backtest_looks_at_its_period_only(site: Site) -> None:
    site.add("D-0001")
    machine = loaded_twice(machine_of_then())
    machine.now_ms += 10 * 86_400_000
    machine.block([0.7] * 8)
    site.deliver("D-0001", machine.log)
    later = NOW + timedelta(days=10)
    tried = await backtest.run(site.engine, LOADED, BacktestRequest(days=5), WIDE, now=later)
    assert (tried.fired, tried.samples) == (1, 8)


async def order(site: Site, rule: Rule, **request: Any) -> backtests.Job:
    async with site.engine.begin() as connection:
        if await rules.find_rule(connection, rule.key) is None:
            await rules.add_rule(connection, rule, actor="ann")
        return await backtests.order(connection, rule.key, BacktestRequest(**request), actor="ann")


async def found(site: Site, job: backtests.Job) -> backtests.Job:
    async with site.engine.connect() as connection:
        stored = await backtests.find_job(connection, job.key, job.id)
    assert stored is not None
    return stored


async def test_ordered_backtest_is_worked_off_and_its_result_kept(site: Site) -> None:
    site.add("D-0001")
    site.deliver("D-0001", loaded_twice(machine_of_then()).log)
    job = await order(site, LOADED)
    assert job.state == "queued"
    assert await work_off_one(site.engine, WIDE, now=NOW)
    assert not await work_off_one(site.engine, WIDE, now=NOW)
    done = await found(site, job)
    assert done.state == "done"
    assert msgspec.convert(done.result, BacktestResult).fired == 2


async def test_backtest_that_another_process_works_on_is_left_to_it(site: Site) -> None:
    await order(site, LOADED)
    committing = site.engine.execution_options(isolation_level="AUTOCOMMIT")
    async with committing.connect() as other, backtests.take_job(other) as taken:
        assert taken is not None
        assert not await work_off_one(site.engine, WIDE, now=NOW)
    assert await work_off_one(site.engine, WIDE, now=NOW), "the other one has gone without finishing it"


async def test_backtest_that_fails_says_why_and_lets_the_next_one_go_on(site: Site) -> None:
    job = await order(site, LOADED)
    site.query('update rule_backtest set request = \'{"days": "many"}\' returning 1')
    next_one = await order(site, LOADED, days=1.0)
    task = asyncio.create_task(keep_backtesting(site.engine, WIDE))
    await until(
        "both are finished", lambda: not site.query("select 1 from rule_backtest where state in ('queued', 'running')")
    )
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    failed = await found(site, job)
    assert failed.state == "failed"
    assert "days" in (failed.reason or "")
    assert (await found(site, next_one)).state == "done"


async def test_alerts_process_works_off_what_was_ordered(site: Site) -> None:
    site.add("D-0001")
    site.deliver("D-0001", loaded_twice(machine_of_then()).log)
    job = await order(site, LOADED, days=3000.0)
    async with alerts_process(site):
        await until("it is done", lambda: site.query("select 1 from rule_backtest where state = 'done'"))
    assert (await found(site, job)).state == "done"


async def test_queue_of_backtests_is_bounded(site: Site) -> None:
    for _ in range(backtests.MAX_WAITING):
        await order(site, LOADED)
    with pytest.raises(rules.RuleConflict, match="waiting"):
        await order(site, LOADED)
