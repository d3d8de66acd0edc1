"""Alarms in the database: one that is not closed per device, component and fault, whoever writes."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from dermafleet.errors import PermanentError
from dermafleet.storage.alarms import Alarm, Step, add_step, lock_alarms, save_alarm
from dermafleet.storage.engine import make_engine, translate

T0 = datetime(2026, 11, 1, tzinfo=UTC)
ALARM = Alarm(
    uuid.UUID(int=1), "main", "filter_clogged", 2, "raised", 0.9, T0, T0, None, 1, "filter_clogged", 1, {"ratio": 0.8}
)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    with psycopg.connect(database_url) as connection:
        connection.execute("insert into device (device_id, label, state) values ('D-0001', 'L', 'active')")
    engine = make_engine(database_url, 2)
    yield engine
    await engine.dispose()


async def test_alarm_is_read_as_it_was_saved(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await save_alarm(connection, 1, ALARM)
        await save_alarm(connection, 1, replace(ALARM, severity=3))
        assert await lock_alarms(connection, 1) == [replace(ALARM, severity=3)]


async def test_second_open_alarm_of_a_fault_is_refused_by_the_database(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await save_alarm(connection, 1, ALARM)
    with pytest.raises(PermanentError, match="alarm_open_idx"), translate():
        async with engine.begin() as connection:
            await save_alarm(connection, 1, replace(ALARM, id=uuid.UUID(int=2)))


async def test_closed_alarm_makes_room_for_a_new_one(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await save_alarm(connection, 1, replace(ALARM, standing="closed"))
        await save_alarm(connection, 1, replace(ALARM, id=uuid.UUID(int=2)))
        assert [alarm.id.int for alarm in await lock_alarms(connection, 1)] == [2]


async def test_history_only_grows_and_the_feed_hears_of_it(engine: AsyncEngine, database_url: str) -> None:
    async with engine.begin() as connection:
        await save_alarm(connection, 1, ALARM)
        for transition in ("raised", "cleared"):
            await add_step(connection, 1, ALARM.id, Step(transition, T0, "follower", "because", {"severity": 2}))
    with psycopg.connect(database_url) as reader:
        found = reader.execute("select transition, actor, data from alarm_event order by id").fetchall()
        told = reader.execute("select topic, device_id, body from change order by id").fetchall()
    assert found == [("raised", "follower", {"severity": 2}), ("cleared", "follower", {"severity": 2})]
    assert told[1] == ("alarm", 1, {"alarm_id": str(ALARM.id), "transition": "cleared"})
