"""Builders for tests of the agent."""

from pathlib import Path

from device_agent.clock import Instant
from device_agent.drivers import Sample
from device_agent.entries import NewEntry
from device_agent.outbox import Outbox, open_outbox
from device_agent.outbox_file import FILE_NAME

NOW_MS = 1_790_000_000_000
MIB = 1024 * 1024
DAY_MS = 86_400_000


def instant(seconds: float = 0.0, *, boot: str = "boot-1") -> Instant:
    """A moment ``seconds`` after the test's beginning."""
    return Instant(NOW_MS + round(seconds * 1000), 60_000 + round(seconds * 1000), boot, "synced")


class FixedClock:
    """A clock that stands where the test puts it."""

    def __init__(self, now: Instant | None = None) -> None:
        self.current = now or instant()
        self.floor_ms = 0

    def now(self) -> Instant:
        return self.current

    def raise_floor(self, floor_ms: int) -> None:
        self.floor_ms = floor_ms


def opened(folder: Path, *, budget_bytes: int = 64 * MIB, keep_acked_ms: int = 2 * DAY_MS) -> Outbox:
    """An outbox, at a new start of the agent."""
    return open_outbox(folder / FILE_NAME, FixedClock(), budget_bytes=budget_bytes, keep_acked_ms=keep_acked_ms)


def telemetry(size: int = 100) -> NewEntry:
    return NewEntry("telemetry", b'{"x":"' + b"t" * size + b'"}')


def session(size: int = 50) -> NewEntry:
    return NewEntry("session", b'{"s":"' + b"s" * size + b'"}')


def sample(seconds: float, **values: float | None) -> Sample:
    """A sample; without values, of a pump that is off."""
    return Sample(instant(seconds), values or {"pump_on": 0.0, "vacuum_inlet_kpa": 0.0}, seconds)
