"""Wall clocks that are wrong: never set, stepping, or drifting. Uptime is right."""

from dataclasses import replace
from typing import Literal

from device_agent.clock import Clock, Instant

ClockFault = Literal["unset", "stepped", "drifting"]

_STEP_AFTER_MS, _STEP_MS = 60_000, 3_600_000
_DRIFT = 2e-4


class FaultyClock:
    """Another clock with a fault of its wall clock, which begins when it is first read.

    ``unset``: it counts from 1970, as without a battery. ``stepped``: after a minute it is an hour ahead.
    ``drifting``: it gains 200 ppm.
    """

    def __init__(self, clock: Clock, fault: ClockFault) -> None:
        self._clock = clock
        self._fault = fault
        self._began_up: int | None = None

    def raise_floor(self, floor_ms: int) -> None:
        self._clock.raise_floor(floor_ms)

    def now(self) -> Instant:
        now = self._clock.now()
        if self._began_up is None:
            self._began_up = now.up
        passed = now.up - self._began_up
        if self._fault == "unset":
            return replace(now, at=passed, clock="unset")
        if self._fault == "stepped":
            return replace(now, at=now.at + (_STEP_MS if passed >= _STEP_AFTER_MS else 0))
        return replace(now, at=now.at + round(passed * _DRIFT))
