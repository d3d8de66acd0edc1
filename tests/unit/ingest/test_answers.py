"""Refusing, pacing and marking: the small decisions of ingest."""

from collections import Counter

import pytest

from services.ingest.ack import pause_ms
from services.ingest.refusals import Refusals, Space
from services.ingest.rows import marks, table


def bad_devices(count: int, *, entries: int = 10, bad: int = 3) -> tuple[Counter[str], Counter[str]]:
    names = [f"D-{n:04d}" for n in range(count)]
    return Counter(dict.fromkeys(names, entries)), Counter(dict.fromkeys(names, bad))


def test_five_bad_devices_are_refused_for_ever_and_six_stop_it() -> None:
    for count, tripped in ((5, False), (6, True)):
        refusals = Refusals()
        refusals.note(*bad_devices(count, bad=10), now=0)
        assert refusals.is_tripped() is tripped


def test_one_entry_in_a_hundred_is_no_reason_to_stop() -> None:
    refusals = Refusals()
    refusals.note(*bad_devices(50, entries=300, bad=3), now=0)
    assert not refusals.is_tripped()
    refusals.note(*bad_devices(50, entries=1, bad=1), now=1)
    assert refusals.is_tripped()


def test_two_bad_entries_of_a_device_with_few_are_no_reason_to_stop() -> None:
    refusals = Refusals()
    refusals.note(*bad_devices(9, entries=2, bad=2), now=0)
    assert not refusals.is_tripped()
    refusals.note(*bad_devices(9, entries=1, bad=1), now=1)
    assert refusals.is_tripped()


def test_large_fleet_is_refused_for_ever_while_one_device_in_a_hundred_is_bad() -> None:
    for count, tripped in ((10, False), (11, True)):
        refusals = Refusals()
        refusals.note(bad_devices(1000)[0], bad_devices(count)[1], now=0)
        assert refusals.is_tripped() is tripped


def test_refusing_starts_again_when_the_window_has_passed() -> None:
    refusals = Refusals()
    refusals.note(*bad_devices(9), now=0)
    for now in (100, 299, 301, 599):
        refusals.note(Counter(), Counter(), now=now)
        assert refusals.is_tripped()
    refusals.note(Counter(), Counter(), now=602)
    assert not refusals.is_tripped()


def test_garbage_leaves_room_for_refusals() -> None:
    space = Space(limit_bytes=10_000)
    while space.has_room_unnumbered():
        space.note(700, is_numbered=False)
    assert space.unnumbered == 3000
    assert space.has_room()
    while space.has_room():
        space.note(700, is_numbered=True)
    assert space.numbered + space.unnumbered == 10_000


@pytest.mark.parametrize(
    ("fill", "lag", "expected"),
    [(0.0, 9999, 0), (0.25, 9999, 0), (1.0, 8, 0), (1.0, 500, 15_000), (1.0, 9999, 30_000), (0.625, 1000, 15_000)],
)
def test_pause_grows_with_fill_and_lag(fill: float, lag: int, expected: int) -> None:
    assert pause_ms(fill, lag) == expected


def test_marks_name_the_channel_that_is_out_of_range() -> None:
    assert marks(table({"vacuum_inlet_kpa": [40, None, 105]}, 3)).tolist() == [0, 0, 0]
    assert marks(table({"vacuum_inlet_kpa": [40, 106, -3], "pump_on": [1, 2, None]}, 3)).tolist() == [0, 3, 1]
