"""Sensors: what they add to the truth, and how they fail."""

import numpy as np
import pytest

from dermafleet.contracts.channels import CHANNELS, fitted
from dermafleet.physics.gas import Array
from device_agent.simulator.sensors import (
    GOOD,
    MISSING,
    PROBES,
    RAIL_HIGH,
    RAIL_LOW,
    STUCK,
    ZERO,
    Probe,
    SensorFault,
    Sensors,
)

INLET = "vacuum_inlet_kpa"
PLANT_CHANNELS = tuple(channel.name for channel in CHANNELS if channel.name not in ("setpoint_kpa", "pump_duty"))
LEVELS = {
    INLET: 40.0,
    "vacuum_handpiece_kpa": 39.3,
    "filter_dp_kpa": 0.41,
    "pump_temp_c": 45.0,
    "motor_current_a": 0.6,
    "ambient_kpa": 101.3,
}


def truth(steps: int, count: int = 1, *, pump_on: int = 1, **changed: Array | float) -> dict[str, Array]:
    levels: dict[str, Array | float] = {**dict.fromkeys(PLANT_CHANNELS, 10.0), **LEVELS, "pump_on": float(pump_on)}
    return {name: np.broadcast_to(value, (steps, count)).copy() for name, value in {**levels, **changed}.items()}


def sensors(count: int = 1, seed: int = 0, **probes: Probe) -> Sensors:
    return Sensors({**PROBES, **probes}, CHANNELS, count, np.random.default_rng(seed))


QUIET = Probe(noise=0.0, resolution=0.001, low=-10.5, high=120.2, zero_limit=1.5, offset=0.7)


def test_only_fitted_channels_are_read() -> None:
    basic = Sensors(PROBES, fitted("basic"), 1, np.random.default_rng(0))
    readings = basic.measure(truth(5))
    assert set(readings) == {channel.name for channel in fitted("basic")}
    assert all(values.dtype == np.float32 and values.shape == (5, 1) for values in readings.values())


def test_what_the_caller_does_not_give_is_not_read() -> None:
    assert "setpoint_kpa" not in sensors().measure(truth(5))
    assert "setpoint_kpa" in sensors().measure(truth(5, setpoint_kpa=40.0))


def test_every_channel_of_the_registry_has_a_sensor() -> None:
    assert set(PROBES) == {channel.name for channel in CHANNELS}


def test_noise_is_that_of_the_part_and_more_while_the_pump_runs() -> None:
    at_rest = sensors(200).measure(truth(50, 200, pump_on=0))
    running = sensors(200).measure(truth(50, 200))
    for name in (INLET, "filter_dp_kpa", "flow_lpm", "motor_current_a"):
        probe = PROBES[name]
        steps = probe.resolution**2 / 12
        assert at_rest[name].std() == pytest.approx(np.sqrt(probe.noise**2 + steps), rel=0.03)
        both = np.sqrt(probe.noise**2 + probe.running_noise**2 + steps)
        assert running[name].std() == pytest.approx(both, rel=0.03)


def test_a_load_cell_is_calm_after_its_average() -> None:
    mass = sensors(300).measure(truth(400, 300, pump_on=0))["crystal_jar_g"]
    assert mass[-1].std() == pytest.approx(1.0, rel=0.15)
    assert np.abs(np.diff(mass, axis=0)).max() < 1.0


def test_readings_are_steps_of_the_converter() -> None:
    step = PROBES["pump_temp_c"].resolution
    readings = sensors().measure(truth(50))["pump_temp_c"] / step
    np.testing.assert_allclose(readings, np.round(readings), atol=1e-3)


def test_a_pump_head_thermometer_lags() -> None:
    device = sensors()
    device.measure(truth(1, pump_temp_c=20.0))
    readings = device.measure(truth(300, pump_temp_c=50.0))["pump_temp_c"][:, 0]
    assert readings[-1] == pytest.approx(20 + 30 * (1 - np.exp(-1)), abs=0.8)


def test_a_pause_ends_every_lag() -> None:
    device = sensors()
    device.measure(truth(1, pump_temp_c=80.0))
    device.settle({name: values[0] for name, values in truth(1, pump_temp_c=22.0).items()})
    assert device.measure(truth(1, pump_temp_c=22.0))["pump_temp_c"] == pytest.approx(22.0, abs=0.6)


def test_ten_seconds_without_pump_take_the_zero() -> None:
    device = sensors(vacuum_inlet_kpa=QUIET)
    readings = device.measure(truth(120, pump_on=0, vacuum_inlet_kpa=0.0))[INLET][:, 0]
    assert readings[:99] == pytest.approx(0.7, abs=1e-6)
    assert np.abs(readings[99:]).max() < 0.01
    assert device.measure(truth(5))[INLET] == pytest.approx(40.0, abs=0.01)


def test_a_shorter_stop_takes_no_zero() -> None:
    device = sensors(vacuum_inlet_kpa=QUIET)
    device.measure(truth(90, pump_on=0, vacuum_inlet_kpa=0.0))
    assert device.measure(truth(5))[INLET] == pytest.approx(40.7, abs=0.01)


@pytest.mark.parametrize("rest", [5.0, -3.0])
def test_a_reading_at_rest_beyond_the_limit_is_not_taken_as_zero(rest: float) -> None:
    device = sensors(vacuum_inlet_kpa=QUIET)
    held = device.measure(truth(120, pump_on=0, vacuum_inlet_kpa=rest))[INLET]
    assert held[-1, 0] == pytest.approx(rest + 0.7, abs=0.01)


def test_gain_offset_and_age_add_up() -> None:
    probe = Probe(noise=0.0, resolution=0.001, low=0.0, high=100.0, offset=0.5, gain=1.01, drift_per_year=0.1)
    device = sensors(flow_lpm=probe)
    assert device.measure(truth(1, flow_lpm=20.0), years=2.0)["flow_lpm"] == pytest.approx(20.9, abs=0.002)


def test_a_drifting_sensor_is_offset_alone() -> None:
    good, bad = sensors(), sensors()
    fault = {INLET: SensorFault(offset=np.linspace(0, 3, 30)[:, None], gain=1.0)}
    healthy, drifting = good.measure(truth(30)), bad.measure(truth(30), fault)
    np.testing.assert_allclose(drifting[INLET][:, 0] - healthy[INLET][:, 0], np.linspace(0, 3, 30), atol=0.031)
    np.testing.assert_array_equal(drifting["filter_dp_kpa"], healthy["filter_dp_kpa"])


def test_a_stuck_sensor_keeps_its_last_good_reading_across_calls() -> None:
    device = sensors(2)
    last = device.measure(truth(5, 2))[INLET][-1]
    frozen = {INLET: SensorFault(condition=np.array([STUCK, GOOD]))}
    for _ in range(2):
        readings = device.measure(truth(20, 2, vacuum_inlet_kpa=5.0), frozen)[INLET]
        assert (readings[:, 0] == last[0]).all()
        assert readings[:, 1].std() > 0.05
    healed = device.measure(truth(20, 2, vacuum_inlet_kpa=5.0))[INLET]
    assert np.abs(healed[5:] - 5).max() < 2


def test_a_sensor_stuck_from_the_first_sample_keeps_that() -> None:
    readings = sensors().measure(truth(20), {INLET: SensorFault(condition=STUCK)})[INLET]
    assert np.unique(readings).size == 1
    assert readings[0, 0] == pytest.approx(40, abs=2)


@pytest.mark.parametrize(("condition", "reading"), [(RAIL_HIGH, 120.2), (RAIL_LOW, -10.5), (ZERO, 0.0)])
def test_an_open_or_shorted_sensor_reads_its_rail(condition: int, reading: float) -> None:
    readings = sensors().measure(truth(10), {INLET: SensorFault(condition=condition)})[INLET]
    assert readings == pytest.approx(reading, abs=1e-4)


def test_rails_are_impossible_values() -> None:
    for channel in CHANNELS:
        probe = PROBES[channel.name]
        if channel.name in (INLET, "vacuum_handpiece_kpa", "ambient_kpa", "pump_temp_c"):
            assert probe.low < channel.low
            assert probe.high > channel.high


def test_a_drop_out_takes_several_channels_at_once_and_gives_them_back() -> None:
    gone = np.zeros((30, 1), dtype=np.int64)
    gone[10:20] = MISSING
    fault = SensorFault(condition=gone)
    readings = sensors().measure(truth(30), {INLET: fault, "motor_current_a": fault})
    for name in (INLET, "motor_current_a"):
        assert np.isnan(readings[name][10:20]).all()
        assert np.isfinite(readings[name][:10]).all()
        assert np.isfinite(readings[name][20:]).all()
    assert np.isfinite(readings["ambient_kpa"]).all()


def test_the_cut_into_calls_does_not_change_the_readings() -> None:
    rng = np.random.default_rng(1)
    signals = truth(300, 3)
    signals["pump_on"][100:250] = 0
    signals[INLET] = rng.uniform(0, 40, (300, 3))
    condition = np.where(rng.random((300, 3)) < 0.2, STUCK, GOOD)
    fault = {INLET: SensorFault(condition=condition)}
    whole = sensors(3).measure(signals, fault)
    device, parts = sensors(3), []
    for begin, end in ((0, 130), (130, 131), (131, 300)):
        piece = {name: values[begin:end] for name, values in signals.items()}
        parts.append(device.measure(piece, {INLET: SensorFault(condition=condition[begin:end])}))
    for name, values in whole.items():
        np.testing.assert_array_equal(values, np.concatenate([part[name] for part in parts]))
