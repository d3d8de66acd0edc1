"""The clogged-filter detector on simulated machines, at their real rate."""

import numpy as np

from device_agent.clock import Instant
from device_agent.simulator.driver import HallDriver, begin_fault, live
from device_agent.simulator.faults import Scheduled
from device_agent.simulator.hall import Guest, Hall
from services.alerts.detectors.filter_clogged import CHANNELS, State, evaluate
from services.alerts.limits import Limits
from services.alerts.observation import Block, Observation

LIMITS = Limits(filter_dp_kpa=9.72, filter_flow_lpm=30.0)
START_MS = 1_790_000_000_000
PERIOD_MS = 200
MACHINES = range(4)


def run(seconds: float, faults: tuple[tuple[float, Scheduled], ...] = ()) -> list[list[Observation]]:
    """What is observed of each of some machines."""
    hall = Hall([Guest(live(seed), faults) for seed in MACHINES])
    return [observe(HallDriver(hall, number, rate_hz=5), seconds) for number in MACHINES]


def observe(driver: HallDriver, seconds: float) -> list[Observation]:
    state, seen = State(), []
    times = range(0, round(seconds * 1000), PERIOD_MS)
    for first in range(0, len(times), 10):
        samples = [driver.read(Instant(START_MS + up, up, "b", "synced")) for up in times[first : first + 10]]
        taken = [sample for sample in samples if sample is not None]
        channels = {name: np.array([sample.values[name] for sample in taken], dtype=float) for name in CHANNELS}
        at_ms = np.array([sample.when.at for sample in taken], dtype=np.int64)
        seen += evaluate(state, Block("e", first + 1, "b", taken[0].when.up, at_ms, channels), LIMITS)
    return seen


def test_healthy_machines_never_alarm() -> None:
    assert not any(each.severity for seen in run(50) for each in seen)


def test_a_clogging_filter_is_found_before_it_is_clogged() -> None:
    for seen in run(55, (begin_fault("filter_clogged", 40.0),)):
        first = next(each for each in seen if each.severity)
        assert first.at.timestamp() - START_MS / 1000 < 40
        assert seen[-1].severity in {3, 4}
        assert None not in [each.severity for each in seen[seen.index(first) :]]
