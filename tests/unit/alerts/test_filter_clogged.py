"""The clogged-filter detector, on filters whose state is known."""

import math
from collections.abc import Sequence
from random import Random

import msgspec
import numpy as np
import pytest

from services.alerts.detectors.filter_clogged import State, evaluate
from services.alerts.detectors.filter_ticks import find_ratios
from services.alerts.forecast.judge import SAMPLES, SERVICE_DUE
from services.alerts.limits import Limits, decode_limits
from services.alerts.observation import Block, Observation

LIMITS = Limits(filter_dp_kpa=5.0, filter_flow_lpm=30.0)
START_MS = 1_790_000_000_000
PERIOD_MS = 100


class Pump:
    """A running machine at 10 Hz whose filter the test sets; `feed` shows its samples to the detector, 20 at a time."""

    def __init__(self, limits: Limits = LIMITS, *, period_ms: int = PERIOD_MS, noise: float = 0.02) -> None:
        self.state, self.limits, self.period_ms, self.noise = State(), limits, period_ms, noise
        self.random = Random(1)
        self.now_ms, self.seq, self.boot = START_MS, 0, "b"
        self.seen: list[Observation] = []

    def feed(
        self,
        seconds: float,
        dp_kpa: float | None,
        *,
        flow: float | None = 30.0,
        pump: float | None = 1.0,
        **more: float | None,
    ) -> list[Observation]:
        """Run for some time; returns what the detector told."""
        count, told = round(seconds * 1000 / self.period_ms), len(self.seen)
        for first in range(0, count, 20):
            n = min(20, count - first)
            at = self.now_ms + np.arange(n, dtype=np.int64) * self.period_ms
            dp = [math.nan if dp_kpa is None else dp_kpa + self.random.gauss(0, self.noise) for _ in range(n)]
            values = {"filter_dp_kpa": np.array(dp), "flow_lpm": _filled(n, flow), "pump_on": _filled(n, pump)}
            values |= {name: _filled(n, value) for name, value in more.items()}
            self.seq += 1
            self.now_ms += n * self.period_ms
            block = Block("e", self.seq, self.boot, int(at[0]) - START_MS, at, values)
            self.seen += evaluate(self.state, block, self.limits)
        return self.seen[told:]


def _filled(count: int, value: float | None) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.full(count, math.nan if value is None else value)


def _severities(observations: Sequence[Observation]) -> list[int | None]:
    """Without repeats, which only renew the numbers."""
    found = [each.severity for each in observations]
    return [s for i, s in enumerate(found) if i == 0 or s != found[i - 1]]


def test_clean_filter_is_never_an_alarm() -> None:
    pump = Pump()
    assert _severities(pump.feed(600, 0.6)) == [None]


def test_clogging_filter_is_due_for_service_and_then_at_its_limit() -> None:
    pump = Pump()
    for percent in range(10, 120):
        pump.feed(5, 5.0 * percent / 100)
    assert _severities(pump.seen) == [None, 1, 2, 3]
    due = next(each for each in pump.seen if each.severity == SERVICE_DUE)
    assert due.detail["ratio"] == pytest.approx(0.8, abs=0.05)
    assert due.detail["limit_kpa"] == 5.0
    assert due.confidence > 0.9
    assert due.detail["since"] < due.at.isoformat()  # type: ignore[operator]  # a text


def test_alarm_waits_for_the_raise_delay() -> None:
    pump = Pump()
    pump.feed(30, 0.6)
    assert not pump.feed(SAMPLES.raise_s, 7.0)
    assert _severities(pump.feed(10, 7.0)) == [3]


def test_new_filter_clears_the_alarm_after_the_clear_delay() -> None:
    pump = Pump()
    pump.feed(60, 7.0)
    assert None not in _severities(pump.feed(SAMPLES.clear_s, 0.6))
    assert _severities(pump.feed(60, 0.6))[-1:] == [None]


def test_filter_just_below_its_limit_falls_to_service_due_only_after_the_clear_delay() -> None:
    pump = Pump()
    pump.feed(60, 5.5)
    assert 2 not in _severities(pump.feed(SAMPLES.clear_s, 4.6))
    assert _severities(pump.feed(60, 4.6)) == [2]


def test_level_that_swings_around_the_raise_level_makes_one_alarm() -> None:
    pump = Pump(noise=0.3)
    for _ in range(40):
        pump.feed(15, 4.2)
        pump.feed(15, 3.8)
    assert _severities(pump.seen)[-1] == 2
    assert len([s for s in _severities(pump.seen) if s]) == 1


def test_idle_pump_is_not_judged() -> None:
    pump = Pump()
    assert not pump.feed(600, 7.0, pump=0.0)
    assert not pump.feed(600, 7.0, pump=0.0, flow=0.0)


def test_open_alarm_stands_while_the_pump_is_off() -> None:
    pump = Pump()
    pump.feed(60, 7.0)
    assert not pump.feed(3600, 0.0, pump=0.0, flow=0.0)


def test_filter_of_a_machine_without_vacuum_gauges_is_judged_at_standard_pressure() -> None:
    pump = Pump()
    pump.feed(600, 6.0, vacuum_inlet_kpa=None, vacuum_handpiece_kpa=None, ambient_kpa=None)
    assert _severities(pump.seen)[-1] == 3


def test_flow_far_below_the_rated_one_is_not_comparable() -> None:
    assert not Pump().feed(600, 7.0, flow=8.0)


def test_drop_in_contact_is_judged_like_the_drop_with_open_tip() -> None:
    blocks = {
        "open": (4.66, 29.3, 6.4),
        "contact": (3.43, 13.0, 40.4),  # through the filter, without the 5 L/min of the bleed
    }
    ratios = {}
    for name, (dp, flow, vacuum) in blocks.items():
        channels = {"filter_dp_kpa": dp, "flow_lpm": flow, "vacuum_inlet_kpa": vacuum, "ambient_kpa": 101.3}
        block = Block("e", 1, "b", 0, np.array([0]), {key: _filled(1, value) for key, value in channels.items()})
        ratios[name] = float(find_ratios(block, LIMITS, has_flow=True, has_vacuum=True)[1][0])
    assert ratios["open"] == pytest.approx(0.93, abs=0.05)
    assert ratios["contact"] == pytest.approx(ratios["open"], rel=0.1)


def test_drop_in_contact_is_judged_by_the_handpiece_while_the_inlet_gauge_fails_and_not_at_all_without() -> None:
    values = {"filter_dp_kpa": 3.43, "flow_lpm": 13.0, "ambient_kpa": 101.3, "vacuum_handpiece_kpa": 36.5}
    channels = {key: _filled(2, value) for key, value in values.items()}
    channels["vacuum_inlet_kpa"] = np.array([40.4, np.nan])
    known, missing = find_ratios(
        Block("e", 1, "b", 0, np.array([0, 100]), channels), LIMITS, has_flow=True, has_vacuum=True
    )[1]
    assert missing == pytest.approx(known, rel=0.03)
    channels["vacuum_handpiece_kpa"] = _filled(2, np.nan)
    assert np.isnan(
        find_ratios(Block("e", 1, "b", 0, np.array([0, 100]), channels), LIMITS, has_flow=True, has_vacuum=True)[1][1]
    )


def test_spikes_are_no_alarm() -> None:
    pump = Pump()
    for _ in range(100):
        pump.feed(2, 0.6)
        pump.feed(0.2, 100.0)
    assert _severities(pump.seen) == [None]


def test_few_sparse_samples_are_no_alarm_and_five_are() -> None:
    pump = Pump(period_ms=360_000)
    pump.feed(36_000, 0.6)
    pump.seen.clear()
    pump.feed(2 * 360, 9.0)
    pump.feed(36_000, 0.6)
    assert _severities(pump.seen) == []
    pump.feed(36_000, 9.0)
    assert _severities(pump.seen) == [3]


def test_missing_drop_lowers_the_confidence() -> None:
    sure, unsure = Pump(), Pump()
    sure.feed(60, 7.0)
    for _ in range(60):
        unsure.feed(0.5, None)
        unsure.feed(0.5, 7.0)
    assert unsure.seen[0].confidence < 0.8 < sure.seen[0].confidence


@pytest.mark.parametrize("limits", [Limits(), decode_limits({"filter_flow_lpm": 30.0}), decode_limits(None)])
def test_without_a_limit_nothing_is_observable(limits: Limits) -> None:
    assert not Pump(limits).feed(600, 20.0)


def test_without_a_drop_nothing_is_observable() -> None:
    assert not Pump().feed(600, None)


def test_failing_flow_sensor_suspends_the_judgement() -> None:
    pump = Pump()
    pump.feed(60, 0.6)
    pump.seen.clear()
    assert not pump.feed(600, 7.0, flow=None)


def test_machine_without_flow_sensor_is_judged_with_less_confidence() -> None:
    pump = Pump()
    observations = pump.feed(60, 7.0, flow=None)
    assert _severities(observations) == [3]
    assert observations[0].confidence < 0.8


def test_delays_follow_uptime_when_the_clock_steps_back() -> None:
    stepped, steady = Pump(), Pump()
    for pump in (stepped, steady):
        pump.feed(5, 7.0)
    block = Block(
        "e",
        9,
        "b",
        5000,
        np.arange(3) * 2000 + stepped.now_ms - 86_400_000,
        {"filter_dp_kpa": _filled(3, 7.0), "flow_lpm": _filled(3, 30.0), "pump_on": _filled(3, 1.0)},
    )
    assert not evaluate(stepped.state, block, LIMITS)
    steady.feed(5, 7.0)
    assert stepped.state.standing.near_s == pytest.approx(steady.state.standing.near_s, abs=2)
    assert stepped.state.standing.near_s


def test_state_survives_json_between_any_two_entries() -> None:
    whole, torn = Pump(), Pump()
    for percent in (20, 60, 90, 120, 90, 20):
        whole.feed(80, 5.0 * percent / 100)
        for _ in range(20):
            torn.feed(4, 5.0 * percent / 100)
            torn.state = msgspec.json.decode(msgspec.json.encode(torn.state), type=State)
    assert torn.seen == whole.seen
    assert torn.state == whole.state


@pytest.mark.parametrize("size", [1, 7, 333])
def test_cut_of_the_log_into_entries_changes_nothing_also_when_the_filter_is_replaced(size: int) -> None:
    dp = np.concatenate([np.linspace(0.5, 6.0, 900), np.full(800, 0.5), np.linspace(0.5, 3.0, 300)])
    at = START_MS + np.arange(len(dp), dtype=np.int64) * PERIOD_MS
    pump = np.where(np.arange(len(dp)) % 400 < 380, 1.0, 0.0)
    states, told = [], []
    for step in (len(dp), size):
        state, seen = State(), []
        for first in range(0, len(dp), step):
            part = slice(first, first + step)
            values = {"filter_dp_kpa": dp[part], "flow_lpm": np.full(len(dp[part]), 30.0), "pump_on": pump[part]}
            seen += evaluate(state, Block("e", 1, "b", int(at[first]) - START_MS, at[part], values), LIMITS)
        states.append(msgspec.json.encode(state))
        told.append([(each.at, each.severity, each.reason, each.confidence, each.detail) for each in seen])
    assert told[0] == told[1]
    assert states[0] == states[1]
    assert [each[1] for each in told[0]][-1] in {None, 1}
    assert None in [each[1] for each in told[0]][1:]
