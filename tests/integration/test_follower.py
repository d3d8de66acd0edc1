"""The follower on a real database: what it projects, how it waits for a hole, how it shares and stops."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest
import structlog.testing
from psycopg.rows import dict_row
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from dermafleet.contracts.envelope import encode
from dermafleet.contracts.records import Counters
from dermafleet.contracts.topics import Topics
from dermafleet.storage import follow as rows
from dermafleet.storage.engine import make_engine
from dermafleet.storage.migrate import REVISION
from dermafleet.storage.sessions import lifetime_of
from services.alerts.follow import Follower
from services.alerts.prune import keep_pruning
from services.alerts.step import Patience, Progress, step
from services.ingest.decode import Entry, Message, decode
from services.ingest.write import Rules, write
from tests.unit.alerts.machine import LIMIT_KPA, RATED_LPM, Item, Machine

NEVER = Patience()
AT_ONCE = Patience(timedelta(microseconds=1), timedelta(microseconds=1))
POLL = timedelta(milliseconds=10)
DEADLINE_S = 30
CLOGS = ["raised"]
"""What becomes of the alarm while `clogging`: in the middle of a session only the limit is told."""


class Site:
    """A database with machines whose entries the test delivers, and what the follower made of them."""

    def __init__(self, url: str, engine: AsyncEngine) -> None:
        self.url, self.engine = url, engine
        self.connection = psycopg.connect(url, autocommit=True, row_factory=dict_row)
        limits = msgspec.json.encode({"filter_dp_kpa": LIMIT_KPA, "filter_flow_lpm": RATED_LPM}).decode()
        self.connection.execute("insert into device_model values ('m', 'M', 'full', %s)", [limits])
        self.devices: dict[str, int] = {}

    def add(self, device_id: str) -> int:
        found = self.query(
            "insert into device (device_id, label, state, model_id) values (%s, 'L', 'active', 'm') returning id",
            device_id,
        )
        self.devices[device_id] = int(found[0]["id"])
        return self.devices[device_id]

    def deliver(self, device_id: str, items: Sequence[Item]) -> None:
        batch = []
        for item in items:
            header = item.header(low=("0" * 15 + "1", 1), head=item.seq)
            payload = encode(header, msgspec.json.encode(item.content))
            batch.append(decode(Message(Topics().up(device_id, item.kind), payload, datetime.now(UTC)), Topics()))
            assert isinstance(batch[-1], Entry)
        with psycopg.connect(self.url) as connection:
            write(connection, batch, Rules(server="s", payload_bytes=1 << 18))

    def query(self, statement: str, *values: object) -> list[dict[str, Any]]:
        return self.connection.execute(statement, values).fetchall()

    async def follow(self, device: int, patience: Patience = NEVER) -> None:
        for _ in range(1000):
            if await step(self.engine, device, patience) is Progress.NONE:
                return


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    engine = make_engine(database_url, 6)
    site = Site(database_url, engine)
    yield site
    site.connection.close()
    await engine.dispose()


def clogging(machine: Machine) -> Machine:
    """A log in which the filter passes its limit."""
    machine.open()
    for percent in range(40, 120, 5):
        machine.block([percent / 100] * 8)
    return machine


@asynccontextmanager
async def alerts_process(site: Site) -> AsyncIterator[asyncio.subprocess.Process]:
    environ = {**os.environ, "DERMAFLEET_DATABASE_URL": site.url, "DERMAFLEET_POLL_MS": "20"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dermafleet", "alerts", env=environ, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until(claim: str, holds: Any) -> None:
    """Await a condition on the database, with a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110  # the condition is in the database or in another process
            await asyncio.sleep(0.02)
    assert holds(), claim


async def test_session_is_projected_from_its_entries(site: Site) -> None:
    device, machine = site.add("D-0001"), Machine()
    machine.open()
    machine.session("start", "s1")
    machine.block([0.2] * 8)
    machine.session("checkpoint", "s1", 20.0)
    machine.session("end", "s1", 24.0)
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    [session] = site.query("select * from session")
    assert (session["session_id"], session["pump_s"], session["outcome"]) == ("s1", 24.0, "completed")
    assert session["ended_at"] - session["started_at"] == timedelta(seconds=24)
    assert [row["type"] for row in site.query("select type from event order by seq")] == ["opened"]
    told = site.query("select body from change where topic = 'session' order by id")
    assert [row["body"]["op"] for row in told] == ["start", "end"]


async def test_what_a_session_says_is_kept_and_what_an_entry_lacks_stays(site: Site) -> None:
    device, machine = site.add("D-0001"), Machine()
    machine.open()
    machine.session("start", "s1", tip_type="CRYSTAL_STEEL", tip_size_mm=5.0, vocabulary=1)
    machine.session("checkpoint", "s1", 20.0, setpoints=[(0.0, 36.0), (9.5, 40.0)], over_vacuum_s=1.5)
    machine.session("end", "s1", 24.0, purpose="demo", privacy="coded", body_sites=["NECK"])
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    [session] = site.query("select * from session")
    assert (session["purpose"], session["body_sites"], session["indications"]) == ("demo", ["NECK"], None)
    assert (session["tip_type"], session["tip_size_mm"], session["vocabulary"]) == ("CRYSTAL_STEEL", 5.0, 1)
    assert (session["setpoints"], session["over_vacuum_s"]) == ([[0, 36], [9.5, 40]], 1.5)


async def test_counters_never_go_back_and_generations_add_up(site: Site) -> None:
    device, machine = site.add("D-0001"), Machine()
    machine.open()
    first, second = "0" * 16, "f" * 16
    machine.session("start", "s1", counters=Counters(generation=first, pump_s=10, strokes=4))
    machine.session("end", "s1", counters=Counters(generation=first, pump_s=30, strokes=9, sessions=1))
    machine.session("start", "s2", counters=Counters(generation=second, pump_s=1))
    machine.session("end", "s2", counters=Counters(generation=second, pump_s=5, sessions=1))
    machine.session("start", "s3", counters=Counters(generation=first, pump_s=20, strokes=7, sessions=1))
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    counted = site.query("select generation, pump_s, strokes, sessions from device_counter order by generation")
    assert [tuple(row.values()) for row in counted] == [(first, 30, 9, 1), (second, 5, 0, 1)]
    async with site.engine.connect() as connection:
        life = await lifetime_of(connection, device)
    assert life is not None
    assert (life.pump_s, life.strokes, life.sessions) == (35, 9, 2)


async def test_clogged_filter_raises_one_alarm_and_a_new_one_clears_it(site: Site) -> None:
    device, machine = site.add("D-0001"), clogging(Machine())
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    [alarm] = site.query("select * from alarm")
    assert (alarm["fault"], alarm["severity"], alarm["standing"]) == ("filter_clogged", 3, "raised")
    for _ in range(10):
        machine.block([0.1] * 8)
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    [alarm] = site.query("select * from alarm")
    assert alarm["standing"] == "cleared"
    history = site.query("select transition from alarm_event order by id")
    assert [row["transition"] for row in history] == [*CLOGS, "severity_down", "cleared"]
    told = site.query("select body from change where topic = 'alarm' order by id")
    assert [row["body"]["transition"] for row in told] == [*CLOGS, "severity_down", "cleared"]


async def test_a_bad_limit_is_told_once_and_evaluation_goes_on_when_it_is_mended(site: Site) -> None:
    device, machine = site.add("D-0001"), clogging(Machine())
    site.deliver("D-0001", machine.log)
    follower, stop = Follower(site.engine, patience=NEVER, poll=POLL), asyncio.Event()
    await follower.poll(stop)
    site.query("""update device_model set limits = '{"filter_dp_kpa": -1}' returning 1""")
    machine.block([0.1] * 8)
    site.deliver("D-0001", machine.log)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            follower._failed_until.clear()
            await follower.poll(stop)
    assert [log["event"] for log in logs] == ["Evaluating a device failed"]
    assert "exc_info" not in logs[0] or logs[0]["exc_info"] is None
    site.query("update device_model set limits = '{}' returning 1")
    follower._failed_until.clear()
    await follower.poll(stop)
    [state] = site.query("select seq from detector_state where device_id = %s", device)
    assert state["seq"] == len(machine.log)


async def test_hole_stops_the_evaluation_until_it_is_filled(site: Site) -> None:
    device, machine = site.add("D-0001"), clogging(Machine())
    missing = machine.log[3]
    site.deliver("D-0001", [item for item in machine.log if item is not missing])
    await site.follow(device)
    [state] = site.query("select * from detector_state")
    assert state["seq"] == missing.seq - 1
    assert state["blocked_since"] is not None
    site.deliver("D-0001", [missing])
    await site.follow(device)
    [state] = site.query("select * from detector_state")
    assert (state["seq"], state["blocked_since"]) == (len(machine.log), None)


async def test_hole_is_named_by_an_alarm_that_clears_when_it_is_filled(site: Site) -> None:
    device, machine = site.add("D-0001"), clogging(Machine())
    missing = machine.log[3]
    site.deliver("D-0001", [item for item in machine.log if item is not missing])
    named = Patience(alarm_after=timedelta(microseconds=1), lost_after=timedelta(days=1))
    for _ in range(3):
        await site.follow(device, named)
    [alarm] = site.query("select * from alarm where fault = 'evaluation_blocked'")
    assert (alarm["component"], alarm["severity"], alarm["standing"]) == ("log", 1, "raised")
    assert alarm["detail"]["seq"] == missing.seq
    site.deliver("D-0001", [missing])
    await site.follow(device, named)
    history = site.query(
        "select transition from alarm_event e join alarm a on a.id = alarm_id where fault = 'evaluation_blocked' "
        "order by e.id"
    )
    assert [row["transition"] for row in history] == ["raised", "cleared"]


async def test_blocked_device_is_left_alone_ever_longer_until_what_is_missing_arrives(site: Site) -> None:
    device, machine = site.add("D-0001"), Machine()
    machine.open()
    ends_at = len(machine.log)
    machine.open()
    machine.block([0.2] * 8)
    missing = machine.log[ends_at]
    site.deliver("D-0001", [item for item in machine.log if item is not missing])
    follower, stop = Follower(site.engine, patience=NEVER, poll=POLL), asyncio.Event()
    while await follower.poll(stop):
        pass
    pauses_s = []
    for _ in range(7):
        pauses_s.append(follower._quiet[device].pause_s)
        follower._quiet[device] = replace(follower._quiet[device], until=0)
        await follower.poll(stop)
    assert pauses_s == [1, 2, 4, 8, 16, 30, 30]
    site.deliver("D-0001", [missing])
    assert await follower.poll(stop)
    [state] = site.query("select epoch, seq from detector_state")
    assert (state["epoch"], state["seq"]) == (machine.epoch, 2)


async def test_old_hole_is_declared_lost_and_what_arrives_of_it_is_late(site: Site) -> None:
    device, machine = site.add("D-0001"), clogging(Machine())
    missing = [machine.log[3], machine.log[4], machine.log[7]]
    site.deliver("D-0001", [item for item in machine.log if item not in missing])
    await site.follow(device, AT_ONCE)
    machine.block([1.3] * 8)
    site.deliver("D-0001", machine.log[-1:])  # newer entries still come, the missing ones do not
    for _ in range(3):
        await site.follow(device, AT_ONCE)
    [log] = site.query("select upto, lost::text, received::text, head from device_log")
    assert log == {"upto": len(machine.log), "lost": "{[4,6),[8,9)}", "received": "{}", "head": len(machine.log)}
    assert site.query("select seq from detector_state")[0]["seq"] == len(machine.log)
    site.deliver("D-0001", missing)
    [log] = site.query("select late::text from device_log")
    assert log["late"] == "{[4,6),[8,9)}"


async def test_hole_is_not_lost_while_nothing_newer_comes(site: Site) -> None:
    device, machine = site.add("D-0001"), clogging(Machine())
    site.deliver("D-0001", [item for item in machine.log if item is not machine.log[3]])
    for _ in range(3):
        await site.follow(device, AT_ONCE)
    assert site.query("select lost::text from device_log")[0]["lost"] == "{}"


async def test_lost_end_of_an_epoch_does_not_hold_up_the_next_one(site: Site) -> None:
    device, machine = site.add("D-0001"), Machine()
    machine.open()
    machine.block([0.2] * 8)
    missing = machine.log[-1]
    machine.open()
    machine.block([0.2] * 8)
    site.deliver("D-0001", [item for item in machine.log if item is not missing])
    await site.follow(device, AT_ONCE)
    machine.block([0.2] * 8)
    site.deliver("D-0001", machine.log[-1:])
    for _ in range(3):
        await site.follow(device, AT_ONCE)
    [state] = site.query("select epoch, seq from detector_state")
    assert (state["epoch"], state["seq"]) == (machine.epoch, 3)
    logs = site.query("select lost::text, done from device_log order by number")
    assert [(row["lost"], row["done"]) for row in logs] == [("{[2,3)}", True), ("{}", False)]


async def test_entry_that_arrives_while_the_follower_leaves_keeps_the_epoch_open(site: Site) -> None:
    device, machine = site.add("D-0001"), clogging(Machine())
    site.deliver("D-0001", machine.log)
    async with site.engine.begin() as connection:
        assert not await rows.leave_epoch(connection, device, machine.epoch, upto=len(machine.log) - 1)
        assert await rows.leave_epoch(connection, device, machine.epoch, upto=len(machine.log))


async def test_device_taken_by_another_worker_is_left_alone(site: Site) -> None:
    device = site.add("D-0001")
    site.deliver("D-0001", clogging(Machine()).log)
    assert await step(site.engine, device, NEVER) is not Progress.NONE
    async with site.engine.begin() as other:
        assert await rows.claim(other, device)
        assert await step(site.engine, device, NEVER) is Progress.NONE
    assert await step(site.engine, device, NEVER) is not Progress.NONE


async def test_many_workers_evaluate_every_device_once(site: Site) -> None:
    logs = {f"D-{number:04d}": clogging(Machine()).log for number in range(1, 9)}
    for device_id in logs:
        site.add(device_id)
    followers = [Follower(site.engine, patience=NEVER, poll=POLL, workers=2) for _ in range(3)]
    stop = asyncio.Event()
    tasks = [asyncio.create_task(follower.run(stop)) for follower in followers]
    for first in range(0, len(logs["D-0001"]), 3):
        for device_id, log in logs.items():
            site.deliver(device_id, log[first : first + 3])
        await asyncio.sleep(0)
    done = len(logs["D-0001"])
    await until(
        "all is evaluated",
        lambda: site.query("select count(*) as n from detector_state where seq = %s", done)[0]["n"] == len(logs),
    )
    stop.set()
    await asyncio.gather(*tasks)
    counted = site.query("select transition, count(*) as n from alarm_event group by 1 order by 1")
    assert {row["transition"]: row["n"] for row in counted} == {
        transition: CLOGS.count(transition) * len(logs) for transition in CLOGS
    }


async def test_step_that_is_cut_off_leaves_nothing_and_is_made_again(site: Site) -> None:
    device, machine = site.add("D-0001"), clogging(Machine())
    site.deliver("D-0001", machine.log)
    async with site.engine.begin() as blocker:
        await blocker.execute(text("lock table alarm in exclusive mode"))
        task = asyncio.create_task(site.follow(device))
        waiting = "select 1 from pg_locks where not granted and relation = 'alarm'::regclass"
        await until("the step waits for the table", lambda: bool(site.query(waiting)))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not site.query("select 1 from alarm")
    assert site.query("select seq from detector_state")[0]["seq"] == 0
    await site.follow(device)
    history = site.query("select transition from alarm_event order by id")
    assert [row["transition"] for row in history] == CLOGS


async def test_device_that_cannot_be_evaluated_is_told_of_once_and_does_not_stop_the_others(site: Site) -> None:
    for device_id in ("D-0001", "D-0002"):
        site.add(device_id)
        site.deliver(device_id, clogging(Machine()).log)
    site.query("update log_entry set body = '{}' where device_id = %s and seq = 1 returning 1", site.devices["D-0001"])
    follower, stop = Follower(site.engine, patience=NEVER, poll=POLL), asyncio.Event()
    with structlog.testing.capture_logs() as logs:
        while await follower.poll(stop):
            follower._failed_until.clear()
    assert [log["event"] for log in logs] == ["Evaluating a device failed"]
    positions = {row["device_id"]: row["seq"] for row in site.query("select device_id, seq from detector_state")}
    assert positions[site.devices["D-0002"]] == 17
    assert positions[site.devices["D-0001"]] == 0


async def test_follower_waits_for_a_database_that_is_away(site: Site) -> None:
    away = make_engine("postgresql://nobody@127.0.0.1:1/nothing")
    follower, stop = Follower(away, patience=NEVER, poll=POLL), asyncio.Event()
    task = asyncio.create_task(follower.run(stop))
    await until("it says so", lambda: follower.trouble == "the database does not answer")
    assert not task.done()
    stop.set()
    await task
    await away.dispose()


async def test_follower_waits_for_its_tables(site: Site) -> None:
    site.connection.execute("alter table detector_state rename to hidden")
    follower, stop = Follower(site.engine, patience=NEVER, poll=POLL), asyncio.Event()
    task = asyncio.create_task(follower.run(stop))
    await until("it says so", lambda: "detector_state" in (follower.trouble or ""))
    site.connection.execute("alter table hidden rename to detector_state")
    await until("it is ready", lambda: follower.trouble is None)
    stop.set()
    await task


async def test_follower_is_ready_once_it_has_polled(site: Site) -> None:
    follower, stop = Follower(site.engine, patience=NEVER, poll=POLL), asyncio.Event()
    assert follower.trouble is not None
    task = asyncio.create_task(follower.run(stop))
    await until("it is ready", lambda: follower.trouble is None)
    stop.set()
    await task


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_process_stops_when_told(site: Site, signal_number: signal.Signals) -> None:
    site.add("D-0001")
    site.deliver("D-0001", clogging(Machine()).log)
    async with alerts_process(site) as process:
        await until("it works", lambda: bool(site.query("select 1 from alarm")))
        process.send_signal(signal_number)
        async with asyncio.timeout(DEADLINE_S):
            assert await process.wait() == 0


async def test_old_changes_are_removed_without_an_api(site: Site) -> None:
    for age in ("3 hours", "2 hours", "1 minute"):
        site.query("insert into change (topic, at) values ('device', now() - %s::interval) returning 1", age)
    task = asyncio.create_task(keep_pruning(site.engine))
    await until("the oldest is gone", lambda: site.query("select count(*) as n from change")[0]["n"] == 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_process_begins_once_the_schema_fits(site: Site) -> None:
    site.add("D-0001")
    site.deliver("D-0001", clogging(Machine()).log)
    site.connection.execute("update alembic_version set version_num = '9999'")
    async with alerts_process(site) as process:
        assert process.stderr is not None
        async with asyncio.timeout(DEADLINE_S):
            while b"revision 9999" not in await process.stderr.readline():
                pass
        assert not site.query("select 1 from detector_state")
        site.connection.execute("update alembic_version set version_num = %s", [REVISION])
        await until("it works", lambda: bool(site.query("select 1 from alarm")))
