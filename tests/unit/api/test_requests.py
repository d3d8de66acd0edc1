"""Times, cursors and channel names of a request; the brake on guessing."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.pages import cut, decode_cursor, encode_cursor
from services.api.problems import Refused
from services.api.series import parse_channels
from services.api.times import parse_instant, parse_range
from services.api.tries import MAX_PER_ACCOUNT, MAX_PER_ADDRESS, MAX_REMEMBERED, WINDOW, Tries

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


class Key(NamedTuple):
    at: datetime
    id: UUID


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-15m", NOW - timedelta(minutes=15)),
        ("-24h", NOW - timedelta(days=1)),
        ("-7d", NOW - timedelta(days=7)),
        ("-250ms", NOW - timedelta(milliseconds=250)),
        ("2026-03-04T12:00:00Z", NOW),
        ("2026-03-04T13:00:00+01:00", NOW),
        ("2026-03-04T13:00:00 01:00", NOW),
        ("2026-03-04T12:00:00.5Z", NOW + timedelta(milliseconds=500)),
        ("-9999999w", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_instant_is_absolute_or_relative(text: str, expected: datetime) -> None:
    assert parse_instant(text, "from", NOW) == expected


@given(st.text(max_size=64))
def test_any_other_text_is_refused_and_nothing_else_raised(text: str) -> None:
    with suppress(Refused):
        assert parse_instant(text, "from", NOW).tzinfo is UTC


def test_range_defaults_to_the_last_minutes() -> None:
    found = parse_range(None, None, NOW, default=timedelta(minutes=15))
    assert (found.from_at, found.to_at) == (NOW - timedelta(minutes=15), NOW)
    found = parse_range(None, "-1h", NOW, default=timedelta(minutes=15))
    assert found.from_at == NOW - timedelta(minutes=75)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2199, 1, 1), timezones=st.just(UTC)), st.uuids())
def test_cursor_survives_its_text(at: datetime, id: UUID) -> None:
    assert decode_cursor(encode_cursor(Key(at, id)), Key) == Key(at, id)


@given(st.text(max_size=100) | st.binary(max_size=60).map(lambda b: b.hex()))
def test_any_other_cursor_is_refused_and_nothing_else_raised(cursor: str) -> None:
    with suppress(Refused):
        decode_cursor(cursor, Key)


@pytest.mark.parametrize(
    ("key", "form"),
    [
        ("a\0b", str),
        (2**63, int),
        (-(2**70), int),
        (("2026-01-01T00:00:00+23:00", str(uuid4())), Key),
        (("2026-01-01T00:00:00", str(uuid4())), Key),
    ],
)
def test_forged_cursor_that_postgresql_would_not_take_is_refused(key: object, form: type) -> None:
    with pytest.raises(Refused):
        decode_cursor(encode_cursor(key), form)


def test_last_page_has_no_cursor() -> None:
    key = Key(NOW, uuid4())
    assert cut([key], 1, lambda row: row) == ([key], None)
    page, cursor = cut([key, key], 1, lambda row: row)
    assert (page, decode_cursor(cursor, Key)) == ([key], key)


def test_channels_are_named_once() -> None:
    assert parse_channels("a, b,a") == ["a", "b"]
    assert parse_channels(None) is None
    for wrong in ("", "a,,b", "a\x00", "x" * 65, ",".join(f"c{i}" for i in range(65))):
        with pytest.raises(Refused):
            parse_channels(wrong)


def test_tries_are_forgotten_after_the_window() -> None:
    tries = Tries()
    for _ in range(MAX_PER_ACCOUNT):
        assert tries.wait_s("a@b.c", "10.0.0.1", NOW) == 0
        tries.note_failure("a@b.c", "10.0.0.1", NOW)
    assert tries.wait_s("a@b.c", "10.0.0.2", NOW) == WINDOW.total_seconds()
    assert tries.wait_s("d@b.c", "10.0.0.1", NOW) == 0
    assert tries.wait_s("a@b.c", "10.0.0.1", NOW + WINDOW) == 0


def test_address_that_tries_many_accounts_is_stopped_and_memory_is_bounded() -> None:
    tries = Tries()
    for number in range(MAX_PER_ADDRESS):
        tries.note_failure(f"{number}@b.c", "10.0.0.1", NOW)
    assert tries.wait_s("new@b.c", "10.0.0.1", NOW) > 0
    for number in range(2 * MAX_REMEMBERED):
        tries.note_failure(f"{number}@b.c", f"address {number}", NOW)
    assert len(tries._failed) <= MAX_REMEMBERED
