"""The machine's two clocks: wall clock, which may be wrong, and uptime, which only counts.

`SystemClock` is the real one; `WarpedClock` runs event time faster, for replays and simulated history.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dermafleet.contracts.telemetry import ClockState

SET_SINCE_MS = 1_577_836_800_000
"""2020-01-01: no machine of ours is older, so an earlier wall clock was never set."""

STEP_MS = 1000
"""A change of wall clock against uptime above this between two looks is a step; slewing is 500 ppm."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment by both clocks.

    Attributes:
        at: Unix ms by the wall clock.
        up: ms since boot, suspend included.
        boot: id of the running boot.
        clock: quality of ``at``.
    """

    at: int
    up: int
    boot: str
    clock: ClockState


class Clock(Protocol):
    """Where a machine's event time comes from."""

    def now(self) -> Instant: ...

    def raise_floor(self, floor_ms: int) -> None:
        """A wall-clock time that is surely past: an earlier reading means the clock is not set."""
        ...


def read_boot_id(path: Path = _BOOT_ID) -> str:
    """The kernel's boot id, or a random one where there is none (each start then counts as a boot)."""
    try:
        return path.read_text().strip()[:64] or secrets.token_hex(16)
    except OSError:
        return secrets.token_hex(16)


def uptime_ms() -> int:
    """Milliseconds since boot, suspend included where the system can tell."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class SystemClock:
    """The machine's own clocks; a wall clock below the persisted floor is not set, and time runs on from the floor."""

    def __init__(
        self,
        *,
        quality: ClockState = "synced",
        wall: Callable[[], int] = wall_ms,
        uptime: Callable[[], int] = uptime_ms,
        boot: str | None = None,
    ) -> None:
        self._floor_ms = 0
        self._floor_up = 0
        self._quality = quality
        self._wall = wall
        self._uptime = uptime
        self._boot = boot or read_boot_id()

    def raise_floor(self, floor_ms: int) -> None:
        if floor_ms > self._floor_ms:
            self._floor_ms, self._floor_up = floor_ms, self._uptime()

    def now(self) -> Instant:
        at, up = self._wall(), self._uptime()
        if at >= max(self._floor_ms, SET_SINCE_MS):
            return Instant(at, up, self._boot, self._quality)
        # It must go on: standing still it would be a step at every look.
        return Instant(max(at, self._floor_ms + up - self._floor_up), up, self._boot, "unset")


class WarpedClock:
    """Event time from ``start_at`` on, ``speed`` times as fast as the wall clock, until it reaches the present.

    It is a boot of its own, because its uptime runs as fast as its event time.
    """

    def __init__(self, *, start_at: int, speed: float, wall: Callable[[], int] = wall_ms) -> None:
        self._start_at = start_at
        self._speed = speed
        self._wall = wall
        self._began = wall()
        self._boot = f"warped-{secrets.token_hex(12)}"

    def raise_floor(self, floor_ms: int) -> None:
        """Event time of a replay is not the machine's time: no floor."""

    def now(self) -> Instant:
        present = self._wall()
        at = max(self._start_at, min(present, self._start_at + int(self._speed * (present - self._began))))
        return Instant(at, at - self._start_at, self._boot, "synced")


def anchor_of(now: Instant) -> int | None:
    """Wall clock minus uptime of the running boot, if the wall clock is set."""
    return None if now.clock == "unset" else now.at - now.up


class StepWatch:
    """Notices when the wall clock jumps against uptime."""

    def __init__(self) -> None:
        self._last: Instant | None = None

    def observe(self, now: Instant) -> int | None:
        """By how many ms the wall clock stepped since the last look; None if it did not."""
        last, self._last = self._last, now
        if last is None or last.boot != now.boot:
            return None
        step = (now.at - now.up) - (last.at - last.up)
        return step if abs(step) > STEP_MS else None
