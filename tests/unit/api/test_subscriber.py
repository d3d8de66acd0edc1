"""The queue of one stream is bounded and says when it was too small."""

import pytest

from dermafleet.storage.changes import Position
from services.api.subscriber import MAX_QUEUED, Message, Subscriber, Topic

START = Position(10, 5)


def open_subscriber(*topics: Topic, device_id: str | None = None) -> Subscriber:
    return Subscriber(frozenset(topics), device_id, START, owner="a@b.c")


def message(number: int, topic: Topic = "device", device_id: str = "D-1") -> Message:
    return Message(topic, device_id, b"{}", Position(11, number))


async def test_full_queue_is_emptied_and_the_stream_told() -> None:
    queue = open_subscriber("device")
    for number in range(MAX_QUEUED):
        queue.put(message(number))
    assert not queue.is_behind
    queue.put(message(MAX_QUEUED))
    assert queue.is_behind
    assert [m.position for m in queue.take()] == [Position(11, MAX_QUEUED)]


async def test_only_what_is_wanted_and_new_is_queued() -> None:
    queue = open_subscriber("alarm", device_id="D-2")
    queue.put(message(1, "device", "D-2"))
    queue.put(message(2, "alarm", "D-1"))
    queue.put(message(3, "alarm", "D-2"))
    queue.put(Message("alarm", "D-2", b"{}", START))
    assert [m.position for m in queue.take()] == [Position(11, 3)]
    assert queue.take() == []


async def test_waiting_ends_with_a_message_with_the_time_or_with_the_end() -> None:
    queue = open_subscriber("device")
    assert not await queue.wait(0.001)
    queue.put(message(1))
    assert await queue.wait(5)
    queue.take()
    queue.close()
    queue.take()
    assert await queue.wait(5)
    assert queue.is_closed


@pytest.mark.parametrize("token", ["", "1", "a-b", "1-", "-1", "1--1", "1-1-1", "²-1", f"{2**63}-1", f"1-{2**63}"])
def test_text_that_is_no_position_is_none(token: str) -> None:
    assert Position.parse(token) is None


def test_position_survives_its_text() -> None:
    assert Position.parse(str(START)) == START
