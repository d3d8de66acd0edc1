"""Strokes are counted right on machines that draw more or less than the first guess."""

import pytest

from device_agent.contact import Contact, Histogram


def strokes(contact: Contact, count: int, open_kpa: float, contact_kpa: float, setpoint: float | None = None) -> int:
    """How many of so many strokes of 2 s, with lifts of 1 s, are seen."""
    seen, up = 0, 0
    for _ in range(count):
        for kpa in [open_kpa] * 10 + [contact_kpa] * 20:
            seen += contact.step(kpa, up, 100, setpoint)
            up += 100
    return seen


@pytest.mark.parametrize(
    ("open_kpa", "contact_kpa"), [(2.4, 40), (0.7, 12), (2.4, 15), (6.5, 34), (12.4, 42), (2.0, 64)]
)
def test_strokes_are_seen_whatever_tip_filter_and_set_point(open_kpa: float, contact_kpa: float) -> None:
    contact = Contact()
    strokes(contact, 20, open_kpa, contact_kpa)
    assert strokes(contact, 50, open_kpa, contact_kpa) == 50


def test_a_lower_set_point_is_followed_at_once() -> None:
    contact = Contact()
    strokes(contact, 40, 2.4, 60, setpoint=60)
    assert strokes(contact, 10, 2.4, 14, setpoint=14) == 10


def test_a_lower_vacuum_is_followed_within_minutes_where_the_set_point_is_not_measured() -> None:
    contact = Contact()
    strokes(contact, 40, 2.4, 60)
    strokes(contact, 120, 2.4, 14)
    assert strokes(contact, 10, 2.4, 14) == 10


def test_an_open_tip_behind_a_clogged_filter_is_no_series_of_strokes() -> None:
    contact, up = Contact(), 0
    seen = 0
    for n in range(3000):
        seen += contact.step(12.0 + (n % 7) * 0.1, up, 100, None)
        up += 100
    assert seen == 1


def test_quantiles_are_those_of_time_not_of_samples() -> None:
    spread = Histogram()
    for kpa, ms in ((10.1, 1000), (30.1, 8000), (50.1, 1000)):
        spread.add(kpa, ms)
    assert [round(spread.quantile(share)) for share in (0.05, 0.5, 0.99)] == [10, 30, 50]
    assert Histogram().quantile(0.5) == 0
    spread.add(-5, 100)
    spread.add(500, 100)
    assert spread.max_kpa == 500
