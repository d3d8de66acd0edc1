"""The stream: everything that changes, once, in order, and never a gap without a word."""

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import event as sql_event

from dermafleet.storage import changes
from dermafleet.storage.changes import Position
from services.api.routes.stream import MAX_STREAMS, RECHECK_EVERY
from services.api.subscriber import Subscriber
from tests.builders import EMAIL, NOW, Builder, every
from tests.integration.api import Api, open_api
from tests.integration.streams import Event, Stream, open_stream


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with open_api(database_url) as found:
        await found.parts.feed.step()
        yield found


def resuming(stream: Stream) -> dict[str, str]:
    assert stream.last_id is not None
    return {"Last-Event-ID": stream.last_id}


async def test_changes_arrive_as_the_things_now_are(api: Api) -> None:
    device = api.build.device("D-1")
    async with open_stream(api) as stream:
        api.build.status(device, state="treating")
        api.build.change("device", device, {"online": False})
        api.build.change("device", device, {"online": True})
        alarm = api.build.alarm(device, severity=3)
        api.build.change("alarm", device, {"alarm_id": str(alarm), "transition": "raised"})
        api.build.session(device, "s1", started_at=NOW, last_at=NOW)
        api.build.change("session", device, {"session_id": "s1"})
        await api.parts.feed.step()
        events = await stream.take(3)
    told = {event.kind: event.data for event in events}
    assert told["device"] == {**(await api.get("/api/v1/devices"))["data"][0], "activity": "treating"}
    assert told["device"]["worst_severity"] == 3
    assert told["alarm"] == (await api.get("/api/v1/alarms"))["data"][0]
    assert told["session"] == (await api.get("/api/v1/devices/D-1/sessions"))["data"][0]
    positions = [Position.parse(event.id or "") for event in events]
    assert positions == sorted(p for p in positions if p)


async def test_stream_tells_only_of_what_it_was_asked_for(api: Api) -> None:
    first, second = api.build.device("D-1"), api.build.device("D-2")
    async with open_stream(api, "/api/v1/stream?topics=alarms&device_id=D-2") as stream:
        for device in (first, second):
            alarm = api.build.alarm(device)
            api.build.change("alarm", device, {"alarm_id": str(alarm)})
            api.build.change("device", device)
        await api.parts.feed.step()
        [event] = await stream.take(1)
        api.parts.feed.close()
        assert (event.kind, event.data["device_id"]) == ("alarm", "D-2")
        assert await stream.next() is None


async def test_new_samples_of_a_watched_device_arrive_once(api: Api) -> None:
    device, other = api.build.device("D-1"), api.build.device("D-2")
    api.build.samples(device, every(1, 5), {"flow_lpm": [0.0] * 5})
    async with open_stream(api, "/api/v1/stream?device_id=D-1") as stream:
        api.build.samples(device, every(0.1, 3), {"flow_lpm": [0.41, None, 0.43], "maker.x": [None, 2.0, 3.0]})
        api.build.samples(other, every(0.1, 3), {"flow_lpm": [9.0] * 3})
        for _ in range(3):
            await api.parts.live.step()
        api.build.samples(device, every(0.1, 1, until=NOW + timedelta(seconds=1)), {"flow_lpm": [0.5]})
        await api.parts.live.step()
        first, second = await stream.take(2)
    assert first == Event(
        "telemetry",
        {
            "device_id": "D-1",
            "t": [round(at.timestamp() * 1000) for at in every(0.1, 3)],
            "channels": {"flow_lpm": [0.41, None, 0.43], "maker.x": [None, 2.0, 3.0]},
        },
        None,
    )
    assert second.data["channels"] == {"flow_lpm": [0.5]}


async def test_backlog_arrives_in_pieces_without_a_gap(api: Api) -> None:
    device = api.build.device("D-1")
    async with open_stream(api, "/api/v1/stream?device_id=D-1") as stream:
        for block in range(5):
            at = every(0.1, 1000, until=NOW + timedelta(seconds=100 * block))
            api.build.samples(device, at, {"flow_lpm": [float(block)] * 1000})
        await api.parts.live.step()
        await api.parts.live.step()
        pieces = await stream.take(2)
    assert [len(piece.data["t"]) for piece in pieces] == [3000, 2000]
    assert [piece.data["channels"]["flow_lpm"][::1000] for piece in pieces] == [[0, 1, 2], [3, 4]]


async def test_resumed_stream_gets_what_it_missed_and_nothing_twice(api: Api) -> None:
    device = api.build.device("D-1")

    def tell(name: str) -> None:
        api.build.session(device, name, started_at=NOW, last_at=NOW)
        api.build.change("session", device, {"session_id": name})

    async with open_stream(api) as stream:
        tell("s1")
        await api.parts.feed.step()
        await stream.take(1)
    tell("s2")
    await api.parts.feed.step()
    tell("s3")
    async with open_stream(api, headers=resuming(stream)) as stream:
        tell("s4")
        await api.parts.feed.step()
        events = await stream.take(3)
    assert [event.data["session_id"] for event in events] == ["s2", "s3", "s4"]


async def test_slow_transaction_with_a_smaller_id_is_not_overtaken(api: Api, database_url: str) -> None:
    device = api.build.device("D-1")
    for name in ("slow", "quick"):
        api.build.session(device, name, started_at=NOW, last_at=NOW)
    async with open_stream(api) as stream:
        with psycopg.connect(database_url) as slow:
            slow.execute(
                "insert into change (topic, device_id, body) values ('session', %s, '{\"session_id\": \"slow\"}')",
                (device,),
            )
            api.build.change("session", device, {"session_id": "quick"})
            await api.parts.feed.step()
            before = api.parts.feed.position
        await api.parts.feed.step()
        events = await stream.take(2)
    assert [event.data["session_id"] for event in events] == ["slow", "quick"]
    assert before is not None
    assert before < Position.parse(events[0].id or "")  # type: ignore[operator]  # parsed


async def test_no_change_is_missed_or_repeated_under_concurrent_writers_and_reconnects(
    api: Api, database_url: str
) -> None:
    device, writers, each = api.build.device("D-1"), 4, 15

    def write(writer: int) -> None:
        pause, chance = threading.Event(), random.Random(writer)
        with psycopg.connect(database_url) as connection:
            build = Builder(connection)
            for number in range(each):
                name = f"{writer}-{number}"
                build.session(device, name, started_at=NOW, last_at=NOW)
                connection.execute(
                    "insert into change (topic, device_id, body) values ('session', %s, jsonb_build_object("
                    "'session_id', %s::text))",
                    (device, name),
                )
                pause.wait(chance.random() * 0.02)  # between taking a number and committing it
                connection.commit()

    async def read() -> None:
        while True:
            await api.parts.feed.step()

    reader = asyncio.create_task(read())
    tasks: list[asyncio.Task[None]] = []
    seen: list[str] = []
    headers: dict[str, str] = {}
    while len(seen) < writers * each:
        async with open_stream(api, headers=headers) as stream:
            # Not before a stream is open: without a token it tells of nothing older than itself.
            tasks = tasks or [asyncio.create_task(asyncio.to_thread(write, writer)) for writer in range(writers)]
            event = await stream.next()
            assert event is not None
            assert event.kind == "session"
            seen.append(event.data["session_id"])
        headers = resuming(stream)
    reader.cancel()
    await asyncio.gather(*tasks)
    assert sorted(seen) == sorted(f"{w}-{n}" for w in range(writers) for n in range(each))


async def test_stream_that_opens_while_the_feed_is_read_misses_nothing_of_it(api: Api) -> None:
    api.build.change("device", api.build.device("D-1"))
    opened: list[Subscriber] = []
    with ExitStack() as stack:

        def open_one(*_: object) -> None:
            opened.append(stack.enter_context(api.parts.feed.subscribe(frozenset({"device"}), None, owner=EMAIL)))

        sql_event.listen(api.parts.reader.sync_engine, "checkin", open_one, once=True)
        await api.parts.feed.step()
        (stream,) = opened
        assert stream.take() or stream.position == api.parts.feed.position


async def test_token_from_before_what_was_pruned_starts_over(api: Api) -> None:
    device = api.build.device("D-1")
    async with open_stream(api) as stream:
        for _ in range(3):
            api.build.change("device", device)
            await api.parts.feed.step()
        events = await stream.take(3)
    api.clock.pass_(changes.RETENTION)
    api.build.connection.execute("update change set at = %s", (NOW - timedelta(seconds=1),))
    api.build.connection.commit()
    async with api.parts.engine.connect() as connection:
        assert await changes.prune(connection, now=api.clock()) == 2
        assert await changes.prune(connection, now=api.clock()) == 0
    api.build.change("device", device)

    for event, expected in zip(events, ("reset", "reset", "device"), strict=True):
        async with open_stream(api, headers={"Last-Event-ID": event.id or ""}) as stream:
            await api.parts.feed.step()
            found = await stream.next()
            assert found is not None
            assert found.kind == expected


async def test_token_that_cannot_be_ours_starts_over(api: Api, subtests: pytest.Subtests) -> None:
    for token in ("nonsense", "1-1-1", "9223372036854775806-1", "-1", "99999999999999999999999-1"):
        with subtests.test(token):
            async with open_stream(api, headers={"Last-Event-ID": token}) as stream:
                event = await stream.next()
            assert event is not None
            assert (event.kind, event.data) == ("reset", {})


async def test_ended_login_ends_its_stream(api: Api) -> None:
    device = api.build.device("D-1")
    async with open_stream(api) as stream:
        api.build.connection.execute("delete from api_key")
        api.build.connection.commit()
        api.clock.pass_(RECHECK_EVERY)
        api.build.change("device", device)
        await api.parts.feed.step()
        assert await stream.next() is None


async def test_streams_of_one_account_are_limited_and_given_back(api: Api) -> None:
    feed = api.parts.feed
    with ExitStack() as streams:
        for _ in range(MAX_STREAMS):
            streams.enter_context(feed.subscribe(frozenset(), None, owner=EMAIL))
        assert (await api.client.get("/api/v1/stream")).status_code == 429
    async with open_stream(api, "/api/v1/stream") as stream:
        assert (stream.status, feed.count_streams(EMAIL)) == (200, 1)
    assert feed.count_streams(EMAIL) == 0


async def test_sample_is_on_its_way_to_the_browser_within_a_second(api: Api) -> None:
    device = api.build.device("D-1")
    async with api.app.router.lifespan_context(api.app), open_stream(api, "/api/v1/stream?device_id=D-1") as stream:
        began = time.perf_counter()
        api.build.samples(device, every(0.1, 3), {"flow_lpm": [1.0] * 3})
        event = await stream.next()
    assert event is not None
    assert event.kind == "telemetry"
    assert time.perf_counter() - began < 5  # a second on an idle machine; this one may be busy
