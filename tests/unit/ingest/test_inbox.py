"""The inbox: bounded, in order, and clear about what it leaves out."""

import threading

from services.ingest.decode import Message
from services.ingest.inbox import Inbox
from tests.unit.ingest.messages import NOW


def message(size: int = 1) -> Message:
    return Message("t", b"x" * size, NOW)


def take(inbox: Inbox, count: int = 100, max_bytes: int = 1000) -> int:
    return len(inbox.take(count, max_bytes, patience_s=0, gather_s=0))


def test_messages_come_out_in_order_and_in_batches() -> None:
    inbox = Inbox(100, 1000)
    sent = [message(size) for size in (5, 6, 7)]
    assert all(inbox.put(each) for each in sent)
    assert inbox.take(2, 1000, patience_s=0, gather_s=0) == sent[:2]
    assert inbox.take(2, 1000, patience_s=0, gather_s=0) == sent[2:]
    assert take(inbox) == 0


def test_batch_is_bounded_in_bytes_but_never_empty() -> None:
    inbox = Inbox(100, 10_000)
    for size in (2000, 400, 400, 400):
        inbox.put(message(size))
    assert [take(inbox), take(inbox), take(inbox)] == [1, 2, 1]


def test_inbox_is_full_by_number_or_by_bytes_and_drained_at_half() -> None:
    for inbox, size in ((Inbox(10, 1000), 1), (Inbox(1000, 100), 10)):
        for _ in range(9):
            inbox.put(message(size))
        assert not inbox.is_full
        inbox.put(message(size))
        assert inbox.is_full
        take(inbox, 4)
        assert not inbox.is_full
        assert not inbox.is_drained
        take(inbox, 1)
        assert inbox.is_drained


def test_overrun_leaves_messages_out_until_there_is_room() -> None:
    inbox = Inbox(4, 1000)
    assert [inbox.put(message()) for _ in range(7)] == [True] * 5 + [False] * 2
    take(inbox, 1)
    assert inbox.put(message())


def test_waiting_taker_gets_what_arrives() -> None:
    inbox = Inbox(10, 1000)
    taken: list[Message] = []
    thread = threading.Thread(target=lambda: taken.extend(inbox.take(2, 1000, patience_s=10, gather_s=10)))
    thread.start()
    inbox.put(message())
    inbox.put(message())
    thread.join(5)
    assert len(taken) == 2
