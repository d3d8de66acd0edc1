import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.alerts.context import Context
from services.alerts.detectors import over_vacuum
from services.alerts.observation import Observation, Origin, utc
from tests.unit.detectors.signal import START_MS, Signal, told, treatment

CONTEXT = Context()
LOW = ("vacuum_inlet_kpa", "pump_on", "motor_current_a", "ambient_kpa", "mains_v")


def watch(signal: Signal, sizes: tuple[int, ...] = (20,), is_self_test: bool | None = False) -> list[Observation]:
    """Show a signal to the detector, which is written down and read again between blocks."""
    state, found = over_vacuum.State(), []
    for block in signal.blocks(sizes):
        state = msgspec.json.decode(msgspec.json.encode(state), type=over_vacuum.State)
        found += over_vacuum.watch(state, block, CONTEXT, is_self_test=is_self_test)
    return found


def stuck_shut(period_ms: int = 100, onset_s: float = 60.0) -> Signal:
    """From the onset on the handpiece stays at 53 kPa on skin, 13 above the set point, for 20 s."""
    signal = treatment(120, period_ms=period_ms)
    noise = np.random.default_rng(3).normal(0, 0.4, len(signal))
    signal.put("vacuum_handpiece_kpa", 53 + noise[signal.at(onset_s) : signal.at(onset_s + 20)], onset_s, onset_s + 20)
    return signal


def test_healthy_strokes_raise_nothing() -> None:
    assert watch(treatment(300)) == []


@pytest.mark.parametrize("onset_s", [60.0, 60.1, 61.7])
def test_too_much_vacuum_on_skin_is_told_after_a_second_and_cleared_when_it_is_gone(onset_s: float) -> None:
    raised, cleared = watch(stuck_shut(onset_s=onset_s))
    assert raised.severity == 4
    assert raised.at.timestamp() - START_MS / 1000 - onset_s <= 1.2
    assert raised.detail["channel"] == "vacuum_handpiece_kpa"
    assert cleared.severity is None
    assert 34.9 < cleared.at.timestamp() - START_MS / 1000 - onset_s <= 36.5


def test_at_one_sample_a_second_it_takes_two_of_them() -> None:
    (_, severity, at), _ = told(watch(stuck_shut(period_ms=1000)))
    assert (severity, at) == (4, 61.0)


def test_three_quarters_of_a_second_are_no_over_vacuum() -> None:
    signal = treatment(120)
    for start_s in (60, 64, 68):
        signal.put("vacuum_handpiece_kpa", 70.0, start_s, start_s + 0.8)
    assert watch(signal) == []


def test_lowering_the_set_point_raises_nothing_while_the_vacuum_follows() -> None:
    signal = treatment(120)
    time_s = np.arange(len(signal)) * 0.1 - 60.0
    signal.put("vacuum_handpiece_kpa", 15 + 25 * np.exp(-np.maximum(time_s, 0)[signal.at(56) :] / 1.3), 56)
    signal.put("setpoint_kpa", 15.0, 60)
    assert watch(signal) == []


def test_lowering_the_set_point_of_a_machine_that_does_not_follow_is_told_after_a_second() -> None:
    signal = treatment(120)
    signal.put("vacuum_handpiece_kpa", 40.0, 56, 90)
    signal.put("setpoint_kpa", 15.0, 60)
    (_, severity, at), *_ = told(watch(signal))
    assert severity == 4
    assert 61.0 <= at <= 61.2


def capped() -> Signal:
    """A tip closed for 8 s at 78 kPa, 30 s after the pump started; nothing comes through the filter."""
    signal = treatment(120, open_s=30)
    time_s = np.arange(signal.at(8)) * 0.1
    for channel in ("vacuum_handpiece_kpa", "vacuum_inlet_kpa"):
        signal.put(channel, 78.6 * (1 - np.exp(-time_s / 2)), 32, 40)
    signal.put("flow_lpm", 29.6 * np.exp(-time_s / 1.2), 32, 40)
    return signal


def test_a_self_test_is_no_over_vacuum() -> None:
    signal = capped()
    signal.put("flow_lpm", np.nan)
    assert watch(signal, is_self_test=True) == []
    assert [severity for _, severity, _ in told(watch(signal))] == [4, None]


def test_a_tip_capped_by_hand_is_none_either_because_no_air_comes_in() -> None:
    assert watch(capped()) == []


def test_a_machine_without_sessions_tests_itself_right_after_the_start() -> None:
    signal = treatment(60, open_s=40)
    signal.put("vacuum_handpiece_kpa", 78.0, 5, 12)
    signal.put("flow_lpm", np.nan)
    assert watch(signal, is_self_test=None) == []
    assert watch(signal, is_self_test=False) != []


def test_the_inlet_alone_makes_a_check_after_three_strokes() -> None:
    signal = treatment(120, channels=LOW)
    for start_s in (60, 64):
        signal.put("vacuum_inlet_kpa", 70.0, start_s, start_s + 3)
    assert watch(signal) == []
    signal.put("vacuum_inlet_kpa", 70.0, 68, 71)
    (raised, _) = watch(signal)
    assert raised.severity == 2
    assert raised.confidence < 0.7
    assert set(raised.candidates) == {"over_vacuum", "return_path_blocked"}


def test_a_blinking_handpiece_sensor_neither_hides_nor_makes_an_alarm() -> None:
    signal = stuck_shut()
    signal.values["vacuum_handpiece_kpa"][::3] = np.nan
    (_, severity, at), _ = told(watch(signal))
    assert severity == 4
    assert at <= 61.3


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=6), st.integers(1, 4))
def test_cutting_changes_nothing(sizes: list[int], seed: int) -> None:
    signal = treatment(60, seed=seed)
    random = np.random.default_rng(seed)
    for start_s in random.uniform(5, 55, 4):
        signal.put("vacuum_handpiece_kpa", 53.0, start_s, start_s + random.uniform(0.5, 3))
        signal.put("setpoint_kpa", 20.0, start_s + 2, start_s + 9)
    assert told(watch(signal, tuple(sizes))) == told(watch(signal, (3000,)))


def test_the_latest_values_are_judged_at_once() -> None:
    def judge(**latest: float | None) -> list[int | None]:
        found = over_vacuum.judge_latest(latest, CONTEXT, at=utc(START_MS), origin=Origin("e", 1))
        return [each.severity for each in found]

    assert judge(vacuum_handpiece_kpa=70.0, setpoint_kpa=40.0) == [4]
    assert judge(vacuum_handpiece_kpa=39.0, setpoint_kpa=40.0) == [None]
    assert judge(vacuum_handpiece_kpa=78.0, flow_lpm=0.1) == [None]
    assert judge(vacuum_handpiece_kpa=None, setpoint_kpa=40.0) == []
    assert judge(vacuum_inlet_kpa=70.0) == []
