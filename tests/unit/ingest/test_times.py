"""Event time: the table of the rules."""

import pytest

from dermafleet.contracts.telemetry import ClockState
from services.ingest.times import EARLIEST_MS, MAX_AHEAD_MS, EventTime, Stamp, event_time
from tests.unit.ingest.messages import NOW_MS, Machine

UP = 3_000_000
ANCHOR = NOW_MS - 5_000_000
RUNNING = NOW_MS - 3_600_000
"""What the header tells of the running boot: up for an hour at `NOW`."""


def stamp(at_ms: int = NOW_MS - 1000, clock: ClockState = "synced", boot: str = "boot-1", span_ms: int = 0) -> Stamp:
    return Stamp(boot, at_ms, UP, clock, span_ms)


@pytest.mark.parametrize(
    ("given", "stored", "told", "expected", "to_store"),
    [
        pytest.param(stamp(), None, None, EventTime(NOW_MS - 1000, "device"), None, id="clock is believed"),
        pytest.param(stamp(clock="holdover"), None, None, EventTime(NOW_MS - 1000, "device"), None, id="holdover too"),
        pytest.param(stamp(), None, ANCHOR, EventTime(NOW_MS - 1000, "device"), ANCHOR, id="anchor kept for later"),
        pytest.param(stamp(), RUNNING, ANCHOR, EventTime(NOW_MS - 1000, "device"), None, id="first anchor stands"),
        pytest.param(stamp(clock="unset"), ANCHOR, RUNNING, EventTime(ANCHOR + UP, "anchor"), None, id="stored wins"),
        pytest.param(stamp(clock="unset"), None, ANCHOR, EventTime(ANCHOR + UP, "anchor"), ANCHOR, id="told"),
        pytest.param(stamp(clock="unset"), None, None, EventTime(RUNNING + UP, "anchor"), RUNNING, id="running boot"),
        pytest.param(
            stamp(clock="unset", boot="boot-0"), None, None, EventTime(NOW_MS, "received"), None, id="time unknown"
        ),
        pytest.param(
            stamp(clock="unset", boot="boot-0", span_ms=500),
            None,
            None,
            EventTime(NOW_MS - 500, "received"),
            None,
            id="time unknown: ends when received",
        ),
        pytest.param(stamp(0), None, None, EventTime(RUNNING + UP, "anchor"), RUNNING, id="1970"),
        pytest.param(stamp(EARLIEST_MS), None, None, EventTime(EARLIEST_MS, "device"), None, id="2020 just so"),
        pytest.param(stamp(EARLIEST_MS - 1), ANCHOR, None, EventTime(ANCHOR + UP, "anchor"), None, id="2019"),
        pytest.param(
            stamp(NOW_MS + MAX_AHEAD_MS), None, None, EventTime(NOW_MS + MAX_AHEAD_MS, "device"), None, id="a day ahead"
        ),
        pytest.param(
            stamp(NOW_MS + MAX_AHEAD_MS, span_ms=1), ANCHOR, None, EventTime(ANCHOR + UP, "anchor"), None, id="more"
        ),
        pytest.param(
            stamp(clock="unset", boot="boot-0"), None, 0, EventTime(NOW_MS, "received"), None, id="impossible anchor"
        ),
        pytest.param(stamp(clock="unset"), None, 0, EventTime(RUNNING + UP, "anchor"), RUNNING, id="then the uptime"),
    ],
)
def test_event_time(
    given: Stamp, stored: int | None, told: int | None, expected: EventTime, to_store: int | None
) -> None:
    header = Machine().header(1, anchor=told)
    assert event_time(given, header, NOW_MS, stored) == (expected, to_store)
