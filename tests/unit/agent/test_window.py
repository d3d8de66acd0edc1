"""What is sent when: bounded in flight, one question after a timeout, patience with a server that asks for it."""

import math

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dermafleet.contracts.ranges import NOTHING, RangeSet
from device_agent.window import Flight, Pace, Window

EPOCH = "0123456789abcdef"


def window(**pace: float) -> Window:
    return Window(Pace(**pace), random=lambda: 0.0)  # type: ignore[arg-type]  # times only


def send(w: Window, *seqs: int, now: float, size: int = 1000) -> list[Flight]:
    flights = [w.add(seq, EPOCH, seq, size) for seq in seqs]
    for flight in flights:
        w.sent(flight, now)
    return flights


def ack(w: Window, *seqs: int, now: float) -> list[int]:
    return w.settle(EPOCH, RangeSet.of(seqs), NOTHING, now).acked


def due(w: Window, now: float) -> list[int]:
    return [flight.seq for flight in w.due(now)]


def test_room_ends_at_eight_entries_and_at_128_kib() -> None:
    w = window()
    assert w.room(0) == (8, 128 * 1024)
    send(w, *range(1, 9), now=0)
    assert w.room(0) == (0, 0)
    w = window()
    send(w, 1, now=0, size=128 * 1024)
    assert w.room(0) == (0, 0)


def test_after_a_timeout_only_the_oldest_is_asked_until_an_ack_comes() -> None:
    w = window()
    send(w, 1, 2, 3, now=0)
    assert due(w, 9.9) == []
    [probe] = w.due(10)
    assert probe.seq == 1
    w.sent(probe, 10)
    assert w.room(10) == (0, 0)
    assert due(w, 29.9) == []
    assert due(w, 30) == [1]  # 20 s: doubled
    ack(w, 1, now=31)
    assert due(w, 31) == [2, 3]
    assert w.room(31)[0] == 6


def test_one_entry_without_an_answer_is_repeated_alone_while_others_are_answered() -> None:
    w, asked = window(), []
    send(w, 1, now=0)
    for now in range(1, 600):
        send(w, now + 1, now=now)
        ack(w, now + 1, now=now)
        for flight in w.due(now):
            asked.append(now)
            w.sent(flight, now)
        assert w.room(now)[0] == 7
    assert asked == [10, 30, 70, 150, 310]


def test_an_entry_asked_in_vain_three_times_lets_another_one_ask() -> None:
    w, now = window(silence_s=10_000), 0.0
    send(w, 1, now=0)
    for _ in range(3):
        now = w.wake_at()
        assert w.room(now - 1)[0] == 7 * (now == 10)
        [flight] = w.due(now)
        w.sent(flight, now)
    assert w.room(now)[0] == 1
    send(w, 2, now=now)
    asked = []
    for _ in range(4):
        assert w.room(now)[0] == 0
        now = w.wake_at()
        [flight] = w.due(now)
        w.sent(flight, now)
        asked.append(flight.seq)
    assert asked == [1, 2, 1, 2]
    ack(w, 2, now=now)
    assert w.room(now)[0] == 7


def test_timeouts_double_up_to_five_minutes() -> None:
    w = window()
    send(w, 1, now=0)
    now, waits = 0.0, []
    for _ in range(7):
        flight = w._oldest()
        waits.append(flight.deadline - now)
        now = flight.deadline
        assert w.due(now) == [flight]
        w.sent(flight, now)
    assert waits == [10, 20, 40, 80, 160, 300, 300]


def test_timeout_follows_the_smoothed_ack_time() -> None:
    w = window()
    send(w, 1, now=0)
    ack(w, 1, now=8)
    [flight] = send(w, 2, now=10)
    assert flight.deadline == 10 + 3 * 8


def test_an_ack_of_a_repeated_entry_teaches_no_time() -> None:
    w = window()
    [flight] = send(w, 1, now=0)
    w.sent(w.due(10)[0], 10)
    ack(w, 1, now=11)
    assert flight.sends == 2
    assert w.ack_time_s is None


def test_jitter_only_lengthens() -> None:
    w = Window(Pace(), random=lambda: 0.999)
    [flight] = send(w, 1, now=0)
    assert 12 < flight.deadline < 12.5


def test_wait_ms_is_honoured_for_new_and_repeated_entries() -> None:
    w = window()
    send(w, 1, now=0)
    w.pause(60, now=5)
    assert due(w, 64.9) == []
    assert w.room(64.9) == (0, 0)
    assert due(w, 65) == [1]


def test_hold_waits_and_asks_with_the_oldest_and_is_over_with_the_first_ack() -> None:
    w = window()
    send(w, 1, 2, now=0)
    w.hold("unknown", 20, now=1)
    assert w.holding == "unknown"
    assert due(w, 20.9) == []
    assert not w.is_silent(10_000)
    [probe] = w.due(21)
    w.sent(probe, 21)
    assert probe.seq == 1
    w.hold("unknown", 20, now=22)
    assert due(w, 41.9) == []
    assert due(w, 42) == [1]
    ack(w, 1, now=43)
    assert w.holding is None
    assert due(w, 43) == [2]


def test_refused_entries_leave_the_window() -> None:
    w = window()
    send(w, 1, 2, now=0)
    settled = w.settle(EPOCH, RangeSet.of([1]), RangeSet.of([2]), 1)
    assert (settled.acked, settled.refused, len(w)) == ([1], [2], 0)


def test_an_ack_for_what_is_not_in_flight_counts_nothing() -> None:
    w = window()
    send(w, 5, now=0)
    assert ack(w, 1, 2, 3, now=1) == []
    assert w.settle("f" * 16, RangeSet([(1, 100)]), NOTHING, 1).acked == []
    assert len(w) == 1


def test_silence_is_noticed_after_a_minute_and_patience_doubles() -> None:
    w = window()
    send(w, 1, now=0)
    assert not w.is_silent(59)
    assert w.is_silent(60)
    w.moved(60)
    w.restart(61)
    assert not w.is_silent(180)
    assert w.is_silent(181)
    w.moved(181)
    assert not w.is_silent(181 + 239)
    ack(w, 1, now=430)
    send(w, 2, now=500)
    assert not w.is_silent(559)
    assert w.is_silent(560)


def test_an_idle_window_is_never_silent() -> None:
    w = window()
    w.restart(0)
    assert not w.is_silent(10_000)
    assert w.wake_at() == math.inf


def test_after_a_reconnect_the_oldest_goes_first_and_its_timeout_is_not_doubled() -> None:
    w = window()
    send(w, 1, 2, 3, now=0)
    w.restart(4)
    [probe] = w.due(4)
    w.sent(probe, 4)
    assert (probe.seq, probe.deadline) == (1, 14)
    assert due(w, 5) == []
    ack(w, 1, now=5)
    assert due(w, 5) == [2, 3]


@st.composite
def lossy_runs(draw: st.DrawFn) -> list[int]:
    """For each step: what happens to messages and acks."""
    return draw(st.lists(st.integers(0, 9), max_size=60))


@settings(max_examples=100, deadline=None)
@given(lossy_runs(), st.lists(st.integers(1, 200_000), min_size=1, max_size=40))
@example([5, 5, 5], [1, 131_072])
def test_limits_hold_always_and_everything_is_acked_when_the_network_comes_back(
    troubles: list[int], sizes: list[int]
) -> None:
    pace = Pace()
    w = Window(pace, random=lambda: 0.5)
    waiting = [(i + 1, size) for i, size in enumerate(sizes)]
    arrived: list[int] = []
    now, acked = 0.0, set()
    for step in range(3000):
        trouble = troubles[step] if step < len(troubles) else 0
        out = w.due(now)
        for flight in out:
            w.sent(flight, now)
        entries, payload_bytes = w.room(now)
        while entries and waiting and (waiting[0][1] <= payload_bytes or not len(w)):
            number, size = waiting.pop(0)
            flight = w.add(number, EPOCH, number, size)
            w.sent(flight, now)
            out.append(flight)
            entries, payload_bytes = w.room(now)
        assert len(w) <= pace.entries
        assert w.payload_bytes() <= pace.payload_bytes or len(w) == 1
        arrived += [flight.seq for flight in out if trouble < 5]
        if trouble == 9:
            w.restart(now)
        if trouble == 8:
            w.hold("suspended", 5, now)
        if trouble < 3 and arrived:
            acked.update(w.settle(EPOCH, RangeSet.of(arrived), NOTHING, now + 0.1).acked)
            arrived.clear()
        if len(acked) == len(sizes):
            return
        now = max(now + 0.2, min(w.wake_at(), now + 400) if trouble > 4 or not out else now)
    raise AssertionError(f"{len(sizes) - len(acked)} entries were never acknowledged")
