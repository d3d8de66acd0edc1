"""The clogged-filter detector on the simulated machine, at its real rate."""

import numpy as np
import pytest

from device_agent.clock import Instant
from device_agent.drivers.sim import SimDriver
from services.alerts.detectors.filter_clogged import CHANNELS, State, evaluate
from services.alerts.limits import Limits
from services.alerts.observation import Block, Observation

LIMITS = Limits(filter_dp_kpa=5.0, filter_flow_lpm=30.0)
START_MS = 1_790_000_000_000
PERIOD_MS = 200


def run(driver: SimDriver, seconds: float) -> list[Observation]:
    state, seen = State(), []
    times = range(0, round(seconds * 1000), PERIOD_MS)
    for first in range(0, len(times), 10):
        samples = [driver.read(Instant(START_MS + up, up, "b", "synced")) for up in times[first : first + 10]]
        taken = [sample for sample in samples if sample is not None]
        channels = {name: np.array([sample.values[name] for sample in taken], dtype=float) for name in CHANNELS}
        at_ms = np.array([sample.when.at for sample in taken], dtype=np.int64)
        seen += evaluate(state, Block("e", first + 1, "b", taken[0].when.up, at_ms, channels), LIMITS)
    return seen


@pytest.mark.parametrize("seed", range(4))
def test_healthy_machine_never_alarms(seed: int) -> None:
    assert not any(each.severity for each in run(SimDriver(seed, rate_hz=5), 1200))


@pytest.mark.parametrize("seed", range(4))
def test_clogging_filter_is_found_before_it_is_clogged(seed: int) -> None:
    seen = run(SimDriver(seed, rate_hz=5, fault="filter_clogged", clog_s=90), 180)
    first = next(each for each in seen if each.severity)
    assert first.at.timestamp() - START_MS / 1000 < 90
    assert seen[-1].severity in {3, 4}
    assert None not in [each.severity for each in seen[seen.index(first) :]]
