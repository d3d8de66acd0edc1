import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.alerts.context import Context
from services.alerts.detectors import fast
from services.alerts.observation import Observation
from tests.unit.detectors.signal import START_MS, Signal, told, treatment

CONTEXT = Context()
NOISY = ("vacuum_inlet_kpa", "vacuum_handpiece_kpa", "flow_lpm", "motor_current_a", "filter_dp_kpa")


def watch(*signals: Signal, sizes: tuple[int, ...] = (100,), context: Context = CONTEXT) -> list[Observation]:
    """Show signals to all fast detectors, which are written down and read again between blocks."""
    state, found = fast.State(), []
    for signal in signals:
        for block in signal.blocks(sizes):
            state = msgspec.json.decode(msgspec.json.encode(state), type=fast.State)
            found += fast.take(state, block, context, is_self_test=False).observations
    return found


def test_a_healthy_treatment_raises_nothing() -> None:
    assert told(watch(treatment(900, off_s=60))) == []


@pytest.mark.parametrize("period_ms", [100, 1000])
@pytest.mark.parametrize("channel", NOISY)
def test_a_stuck_sensor_is_told_within_a_minute(channel: str, period_ms: int) -> None:
    signal = treatment(500, period_ms=period_ms, open_s=40)
    signal.put(channel, float(signal.values[channel][signal.at(300)]), 300)
    (raised,) = watch(signal)
    assert raised.fault == "sensor_stuck"
    assert raised.detail["channels"] == [channel]
    assert raised.severity == (3 if channel == "vacuum_handpiece_kpa" else 2)
    assert raised.at.timestamp() - START_MS / 1000 - 300 <= 60


@pytest.mark.parametrize("channel", NOISY[:4])
def test_a_sensor_stuck_from_the_first_sample_on_is_told_within_a_minute_of_its_strokes(channel: str) -> None:
    signal = treatment(200, open_s=10)
    signal.put(channel, float(signal.values[channel][0]) if channel != "motor_current_a" else 0.5)
    found = [each for each in watch(signal) if each.detail.get("channel") == channel]
    assert found
    assert found[0].at.timestamp() - START_MS / 1000 <= 60


def test_a_sensor_that_moves_again_is_cleared() -> None:
    signal = treatment(400, open_s=60)
    signal.put("vacuum_inlet_kpa", 40.0, 100, 200)
    assert [(fault, severity) for fault, severity, _ in told(watch(signal))] == [
        ("sensor_stuck", 2),
        ("sensor_stuck", None),
    ]


def test_room_and_dial_may_stand_still() -> None:
    signal = treatment(400)
    for channel in ("ambient_kpa", "ambient_temp_c", "pump_temp_c", "crystal_jar_g", "canister_g", "setpoint_kpa"):
        signal.put(channel, float(signal.values[channel][0]))
    assert watch(signal) == []


def test_a_coarse_sensor_is_not_stuck() -> None:
    signal = treatment(600, open_s=90)
    for channel, step in (("vacuum_inlet_kpa", 1.0), ("flow_lpm", 2.0), ("motor_current_a", 0.05)):
        signal.values[channel] = np.round(signal.values[channel] / step) * step
    assert watch(signal) == []


@pytest.mark.parametrize(("channel", "value"), [("vacuum_handpiece_kpa", 120.0), ("flow_lpm", -228.0)])
def test_a_rail_is_told_and_cleared(channel: str, value: float) -> None:
    signal = treatment(200)
    signal.put(channel, value, 60, 120)
    raised, cleared = watch(signal)
    assert (raised.fault, raised.detail["channel"]) == ("sensor_rail", channel)
    assert raised.at.timestamp() - START_MS / 1000 - 60 <= 31
    assert cleared.severity is None


def test_channels_that_go_together_are_no_sensor_faults_but_absent() -> None:
    signal, state = treatment(200), fast.State()
    for channel in ("flow_lpm", "exhaust_dp_kpa", "crystal_jar_g"):
        signal.put(channel, np.nan, 60, 120)
    absent = []
    for block in signal.blocks((100,)):
        assert fast.take(state, block, CONTEXT, is_self_test=False).observations == []
        absent.append(state.channels.absent)
    assert absent[7] == []
    assert absent[9] == ["flow_lpm", "exhaust_dp_kpa", "crystal_jar_g"]
    assert absent[-1] == []


def test_more_vacuum_than_there_is_air_is_impossible() -> None:
    signal = treatment(200)
    signal.put("ambient_kpa", 80.0)
    signal.put("vacuum_inlet_kpa", 95.0, 60)
    assert told(watch(signal))[0][:2] == ("sensor_rail", 2)


def test_a_gauge_away_from_its_zero_has_drifted_and_is_no_more_trusted() -> None:
    before = treatment(120, off_s=120)
    after = treatment(120, off_s=120, at_ms=START_MS + 120_000, up_ms=120_000)
    after.values["vacuum_inlet_kpa"] += 1.4
    (raised,) = watch(before, after)
    assert (raised.fault, raised.severity, raised.detail["channel"]) == ("sensor_drift", 1, "vacuum_inlet_kpa")


@pytest.mark.parametrize(("drop_kpa", "faults"), [(0.0, ["sensor_drift"]), (15.0, [])])
def test_gauge_that_zeroes_itself_on_a_wet_filter_has_not_drifted(drop_kpa: float, faults: list[str]) -> None:
    signals = [treatment(150, off_s=30, at_ms=START_MS + 150_000 * i, up_ms=150_000 * i) for i in range(4)]
    for signal in signals[1:]:
        signal.values["filter_dp_kpa"] += np.where(signal.values["vacuum_inlet_kpa"] > 20, drop_kpa, 0.0)
    for signal in signals[2:]:
        signal.values["filter_dp_kpa"] -= 0.6
    assert [each.fault for each in watch(*signals)] == faults


@pytest.mark.parametrize("channel", ["vacuum_handpiece_kpa", "vacuum_inlet_kpa"])
def test_gauge_that_took_its_zero_under_some_vacuum_is_not_at_its_rail(channel: str) -> None:
    signal = treatment(200, off_s=60)
    signal.put(channel, signal.values[channel][: signal.at(30)] - 1.7, 0, 30)
    assert "sensor_rail" not in {each.fault for each in watch(signal)}
    signal.put(channel, -2.0, 80)
    assert "sensor_rail" in {each.fault for each in watch(signal)}


def test_air_pressure_that_jumps_is_drift_and_weather_is_not() -> None:
    signal = treatment(400)
    signal.put("ambient_kpa", signal.values["ambient_kpa"][signal.at(200) :] - 3.0, 200)
    assert [each.detail["channel"] for each in watch(signal)] == ["ambient_kpa"]
    later = treatment(100, at_ms=START_MS + 10 * 3_600_000, up_ms=36_000_000)
    later.values["ambient_kpa"] -= 3.0
    assert watch(treatment(100), later) == []


def test_a_suspect_channel_is_blank_for_those_who_come_after() -> None:
    signal, state = treatment(200, open_s=60), fast.State()
    signal.put("flow_lpm", 20.0, 100)
    taken = [fast.take(state, block, CONTEXT, is_self_test=False) for block in signal.blocks((100,))]
    (raised,) = [each for one in taken for each in one.observations]
    flow = np.concatenate([one.block.channels["flow_lpm"] for one in taken])
    assert np.isnan(flow).argmax() == round(raised.at.timestamp() * 1000 - START_MS) / 100
    assert np.isnan(flow[-500:]).all()
    assert not np.isnan(np.concatenate([one.block.channels["vacuum_inlet_kpa"] for one in taken])).any()


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(7, 700), min_size=1, max_size=5), st.sampled_from(NOISY), st.integers(0, 60))
def test_cutting_changes_nothing(sizes: list[int], channel: str, after_s: int) -> None:
    signal = treatment(160, off_s=10, open_s=30)
    signal.put(channel, 12.0, 40 + after_s, 90 + after_s)
    signal.put("vacuum_handpiece_kpa", 55.0, 50 + after_s, 55 + after_s)
    signal.put("mains_v", np.nan, 60 + after_s, 90 + after_s)
    assert told(watch(signal, sizes=tuple(sizes))) == told(watch(signal, sizes=(1600,)))
