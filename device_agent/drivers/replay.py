"""A driver that replays one recorded run: each sample comes out when its event time has come."""

import time

from device_agent.clock import Instant
from device_agent.drivers import Sample
from device_agent.drivers.recording import Run


class ReplayDriver:
    """Replays a run once.

    Args:
        run: what was recorded.
        start_at: event time of the run's first sample, Unix ms.
        seconds_per_second: seconds of event time per recorded second.
    """

    def __init__(self, run: Run, *, start_at: int, seconds_per_second: float) -> None:
        self._start_at = start_at
        self._offsets_ms = [round((s - run.seconds[0]) * seconds_per_second * 1000) for s in run.seconds]
        self._channels = run.channels
        self._place = 0

    @property
    def ended(self) -> bool:
        return self._place >= len(self._offsets_ms)

    def read(self, now: Instant) -> Sample | None:
        if self.ended:
            return None
        behind_ms = now.at - (self._start_at + self._offsets_ms[self._place])
        if behind_ms < 0:
            return None
        when = Instant(now.at - behind_ms, max(now.up - behind_ms, 0), now.boot, now.clock)
        values = {name: column[self._place] for name, column in self._channels.items()}
        self._place += 1
        return Sample(when, values, time.time())

    def close(self) -> None:
        pass
