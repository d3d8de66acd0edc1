"""Drivers of live simulated machines: the agent's view of one machine in a :class:`Hall`."""

import time

from dermafleet.contracts.channels import Profile
from device_agent.clock import Instant
from device_agent.drivers import Sample
from device_agent.simulator.faults import Scheduled, parse
from device_agent.simulator.hall import Guest, Hall
from device_agent.simulator.life import Life, begin
from device_agent.simulator.plan import Plan
from device_agent.simulator.treatment import RATE_HZ
from device_agent.simulator.truth import TruthFile

DEFAULT_MODEL = "crystal-m1"
TREATMENT_S = Plan().pump_s
"""Pump time of a treatment, unless a machine has its own."""
CLOGGED_INDEX = 30.0
"""Half as much again as the rated limit of the crystal machine's filter."""

_LONG_PAUSE_MS = 600_000
_TRUTH_EVERY = RATE_HZ


class HallDriver:
    """One machine of a hall, sampled at a rate of its own."""

    ended = False

    def __init__(self, hall: Hall, number: int, *, rate_hz: float = RATE_HZ, truth: TruthFile | None = None) -> None:
        """
        Args:
            number: of the machine in the hall.
            rate_hz: samples per second of event time; beyond 10 readings repeat.
            truth: where to note what is wrong.
        """
        self._hall = hall
        self._number = number
        self._period_ms = round(1000 / rate_hz)
        self._steps = RATE_HZ * self._period_ms / 1000
        self._truth = truth
        self._taken = 0
        self._next_at: int | None = None

    def read(self, now: Instant) -> Sample | None:
        """One sample per period; after a long pause it goes on from now."""
        if self._next_at is None or now.up - self._next_at > _LONG_PAUSE_MS:
            self._next_at = now.up
        if now.up < self._next_at:
            return None
        when = Instant(now.at - (now.up - self._next_at), self._next_at, now.boot, now.clock)
        self._next_at += self._period_ms
        values, told = self._hall.read(self._number, int(self._taken * self._steps + 1e-6), when.at)
        self._taken += 1
        if self._truth is not None and self._taken % _TRUTH_EVERY == 0:
            self._truth.note(when.at, self._hall.truth(self._number), self._hall.filter_index(self._number))
        return Sample(when, values, time.time(), told)

    def close(self) -> None:
        if self._truth is not None:
            self._truth.close()


def live(
    seed: int,
    *,
    model: str = DEFAULT_MODEL,
    profile: Profile | None = None,
    clinic: str = "zurich",
    treatment_s: float = TREATMENT_S,
) -> Life:
    """A machine for a hall: somewhere in its life.

    Raises:
        SettingError: an unknown model or clinic.
    """
    return begin(Plan(model=model, profile=profile, clinics=(clinic,), pump_s=treatment_s), seed)


def begin_fault(text: str, clog_s: float) -> tuple[float, Scheduled]:
    """A fault as on the command line, and when it begins.

    Args:
        clog_s: seconds of pump time over which a filter clogs far beyond its limit, unless a level is given.

    Raises:
        SettingError: it is not written like that, or there is no such fault.
    """
    code, level, begins_s = parse(text)
    if code == "filter_clogged" and level is None:
        return begins_s, Scheduled(fault=code, level=CLOGGED_INDEX, growing_s=max(clog_s, 0.001))
    return begins_s, Scheduled(fault=code, level=level)


def alone(seed: int, rate_hz: float) -> HallDriver:
    """The driver of a single healthy machine."""
    return HallDriver(Hall([Guest(live(seed))]), 0, rate_hz=rate_hz)
