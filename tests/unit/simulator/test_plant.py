"""The plant against its own steady model, against the published times, and against what must hold for any machine."""

import numpy as np
import pytest

from dermafleet.physics import steady
from dermafleet.physics.gas import Array, hole_m2
from dermafleet.physics.machine import HYDRA, M1, Machine
from device_agent.simulator.plant import CAPPED, CONTACT, DT_S, OPEN, SIGNALS, Control, Plant, Quirks, Signals

NO_QUIRKS = Quirks()


def plant(machine: Machine = M1, count: int = 1, quirks: Quirks = NO_QUIRKS, seed: int = 0) -> Plant:
    return Plant(machine, count, quirks, np.random.default_rng(seed))


def reached_s(values: Array, level: float) -> float:
    """Time of the first crossing upwards, s, from the start of the call."""
    at = int(np.argmax(values >= level))
    before = values[at - 1] if at else 0.0
    return float(DT_S * (at + (level - before) / (values[at] - before)))


def two(first: float, second: float) -> Array:
    return np.array([first, second])


HEALTHY_AND_ILL = M1.with_(
    filter_load=two(0.0, 15.0),
    leak_dirty_m2=two(0.0, float(hole_m2(0.5))),
    exhaust_load=two(0.0, 20.0),
    return_area=two(1.0, 0.4),
    canister_m3=0.3e-3,
)


@pytest.mark.parametrize(
    ("state", "control"),
    [
        ("open", Control(60, 1, OPEN)),
        ("contact", Control(100, 1, CONTACT)),
        ("capped", Control(250, 1, CAPPED, feed_open=False)),
        ("dead_head", Control(250, 1, CAPPED, feed_open=False, changes={"bleed_m2": 0.0})),
        ("off", Control(5, 0, OPEN)),
    ],
)
def test_a_machine_settles_at_the_operating_point_of_the_model(state: steady.State, control: Control) -> None:
    signals = plant(HEALTHY_AND_ILL, 2).run(control)
    point = steady.solve(HEALTHY_AND_ILL, state)
    for name in ("vacuum_inlet_kpa", "vacuum_handpiece_kpa", "filter_dp_kpa", "exhaust_dp_kpa", "flow_lpm"):
        np.testing.assert_allclose(signals[name][-1], getattr(point, name), rtol=2e-3, atol=0.02, err_msg=name)
    np.testing.assert_allclose(signals["motor_current_a"][-1], point.motor_current_a, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("canister_l", "rise_s", "release_s"), [(0.3, 0.7, 0.14), (1.0, 1.3, 0.24)])
def test_vacuum_rises_on_contact_and_is_released_on_lift_in_the_published_times(
    canister_l: float, rise_s: float, release_s: float
) -> None:
    device = plant(M1.with_(canister_m3=canister_l * 1e-3))
    opened = device.run(Control(20, 1, OPEN))
    treated = device.run(Control(120, 1, CONTACT))
    lifted = device.run(Control(30, 1, OPEN))
    low, vacuum = opened["vacuum_handpiece_kpa"][-1, 0], treated["vacuum_handpiece_kpa"][:, 0]
    assert reached_s(vacuum, low + 0.63 * (vacuum[-1] - low)) == pytest.approx(rise_s, rel=0.15)
    high, low = treated["vacuum_inlet_kpa"][-1, 0], opened["vacuum_inlet_kpa"][-1, 0]
    fallen = high - lifted["vacuum_inlet_kpa"][:, 0]
    assert reached_s(fallen, 0.63 * (high - low)) == pytest.approx(release_s, rel=0.15)


@pytest.mark.parametrize(("displacement", "seconds"), [(1.0, 4.4), (0.8, 5.5)])
def test_pump_down_of_1_3_litres_takes_the_published_time(displacement: float, seconds: float) -> None:
    machine = M1.with_(canister_m3=0.95e-3, bleed_m2=0.0, displacement=displacement)
    vacuum = plant(machine).run(Control(80, 1, CAPPED, feed_open=False))["vacuum_inlet_kpa"][:, 0]
    assert reached_s(vacuum, 80.0) == pytest.approx(seconds, rel=0.05)


@pytest.mark.parametrize("side", ["leak_dirty_m2", "leak_clean_m2"])
def test_a_stopped_machine_loses_vacuum_only_by_its_leaks(side: str) -> None:
    leaks = hole_m2(np.array([0.0, 0.2, 0.3, 0.5, 1.0]))
    machine = M1.with_(canister_m3=0.95e-3, bleed_m2=0.0, valve_leak=1e-10, **{side: leaks})
    device = plant(machine, 5)
    device.run(Control(25, 1, CAPPED, feed_open=False))
    vacuum = device.run(Control(15, 0, CAPPED, feed_open=False))["vacuum_inlet_kpa"]
    lost = (vacuum[10] - vacuum[14]) / (4 * DT_S)
    assert vacuum[10].min() > 35
    np.testing.assert_allclose(lost, [0.0, 0.3, 0.7, 2.0, 7.8], rtol=0.1, atol=0.01)


def random_strokes(steps: int, count: int) -> Control:
    rng = np.random.default_rng(7)
    tip = np.repeat(rng.integers(0, 2, (steps // 10, count)), 10, axis=0)
    return Control(steps, 1, tip, dust_g_per_s=1e-3, changes={"seal": rng.uniform(0.9, 1.0, (steps, count))})


def cut(control: Control, begin: int, end: int) -> Control:
    assert isinstance(control.tip, np.ndarray)
    seal = np.asarray(control.changes["seal"])[begin:end]
    return Control(end - begin, 1, control.tip[begin:end], dust_g_per_s=1e-3, changes={"seal": seal})


def test_the_cut_into_calls_does_not_change_the_course() -> None:
    quirks = Quirks(feed_noise_kpa=2.0, hysteresis=0.03, polytropic=1.15)
    control = random_strokes(120, 3)
    whole = plant(M1, 3, quirks).run(control)
    device = plant(M1, 3, quirks)
    parts: list[Signals] = [device.run(cut(control, 0, 37)), device.run(cut(control, 37, 120))]
    for name in SIGNALS:
        np.testing.assert_array_equal(whole[name], np.concatenate([part[name] for part in parts]))


def test_the_same_seed_gives_the_same_course_and_another_seed_another() -> None:
    quirks = Quirks(feed_noise_kpa=2.0)
    courses = [plant(M1, 2, quirks, seed).run(random_strokes(60, 2))["vacuum_handpiece_kpa"] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(courses[0], courses[1])
    assert not np.array_equal(courses[0], courses[2])


def test_a_machine_alone_runs_as_it_does_among_others() -> None:
    loads = np.linspace(0.0, 30.0, 33)
    among = plant(M1.with_(filter_load=loads), 33).run(Control(60, 1, CONTACT))
    alone = plant(M1.with_(filter_load=loads[20])).run(Control(60, 1, CONTACT))
    for name in SIGNALS:
        np.testing.assert_allclose(among[name][:, 20], alone[name][:, 0], rtol=1e-9, atol=1e-12)


def test_any_change_of_state_stays_finite_and_between_room_and_void() -> None:
    rng = np.random.default_rng(3)
    count, steps = 64, 150
    machine = M1.with_(
        filter_load=rng.uniform(0, 200, count),
        return_area=rng.uniform(0.0, 1.1, count),
        leak_dirty_m2=hole_m2(rng.uniform(0, 3, count)),
        leak_clean_m2=hole_m2(rng.uniform(0, 3, count)),
        exhaust_load=rng.uniform(0, 80, count),
        filter_missing=rng.choice([0.0, 0.9, 1.0], count),
        valve_leak=rng.uniform(0, 4e-9, count),
    )
    control = Control(
        steps,
        np.repeat(rng.integers(0, 2, (steps // 10, count)), 10, axis=0),
        rng.integers(0, 3, (steps, count)),
        rng.integers(0, 2, (steps, count)),
        mains_v=rng.choice([0.0, 150.0, 230.0, 250.0], (steps, count)),
        ambient_pa=rng.uniform(76_000, 104_000, count),
    )
    signals = plant(machine, count).run(control)
    assert set(signals) == set(SIGNALS)
    for name in SIGNALS:
        assert np.isfinite(signals[name]).all(), name
    for name in ("vacuum_inlet_kpa", "vacuum_canister_kpa", "vacuum_handpiece_kpa"):
        assert signals[name].min() >= -1e-9
        assert (signals[name] < signals["ambient_kpa"]).all()


def test_dust_clogs_a_surface_filter_linearly_and_a_depth_medium_exponentially() -> None:
    device = plant(M1, 2, Quirks(dust_unit_kg=0.5e-3, is_depth=np.array([False, True])))
    signals = device.run(Control(100, 1, CONTACT, dust_g_per_s=0.1))
    np.testing.assert_allclose(device.dust_kg, 1e-3)
    np.testing.assert_allclose(device.filter_index(), [3.0, np.e**2])
    assert (np.diff(signals["filter_dp_kpa"][30:, 0]) > 0).all()


@pytest.mark.parametrize(("pump_on", "tip"), [(0, CONTACT), (1, OPEN)])
def test_dust_comes_only_in_contact_with_the_pump_running(pump_on: int, tip: int) -> None:
    device = plant()
    device.run(Control(50, pump_on, tip, dust_g_per_s=0.1))
    assert device.dust_kg[0] == 0.0


def test_crystals_move_from_jar_to_canister_at_12_grams_a_minute() -> None:
    device = plant()
    device.run(Control(30, 1, CONTACT))
    before = device.jar_g[0]
    device.run(Control(100, 1, CONTACT))
    assert before - device.jar_g[0] == pytest.approx(2.0, rel=0.05)
    assert device.jar_g[0] + device.canister_g[0] == pytest.approx(500.0)


def test_an_empty_jar_costs_vacuum_and_ends_the_feed_noise() -> None:
    device = plant(M1, 40, Quirks(feed_noise_kpa=2.0))
    device.jar_g[20:] = 0.0
    vacuum = device.run(Control(120, 1, CONTACT))["vacuum_handpiece_kpa"][60:]
    full, empty = vacuum[:, :20], vacuum[:, 20:]
    assert full.std() == pytest.approx(2.0, rel=0.1)
    assert empty.std() < 0.1
    assert full.mean() - empty.mean() == pytest.approx(3.5, abs=0.3)


def test_a_jammed_feed_moves_hardly_a_crystal() -> None:
    device = plant()
    device.run(Control(100, 1, CONTACT, changes={"feed_area": 0.2}))
    assert 500.0 - device.jar_g[0] < 0.03


def test_the_pump_warms_towards_the_models_rise_and_cools_when_off() -> None:
    device = plant(M1.with_(thermal_j_per_k=5.0))
    warm = device.run(Control(150, 1, CONTACT))["pump_temp_c"]
    assert warm[-1, 0] - 20 == pytest.approx(float(steady.solve(M1, "contact").pump_rise_k), rel=0.02)
    assert device.run(Control(60, 0, OPEN))["pump_temp_c"][-1, 0] < 22


def test_the_thermal_cut_out_stops_the_pump_and_lets_it_start_again_when_cool() -> None:
    device = plant(M1.with_(thermal_j_per_k=5.0, cooling=4.0))
    signals = device.run(Control(200, 1, CONTACT))
    running, temperature = signals["pump_on"][:, 0] > 0, signals["pump_temp_c"][:, 0]
    trip = int(np.argmin(running))
    assert temperature[trip] == pytest.approx(115, abs=2)
    assert (signals["motor_current_a"][~running, 0] == 0).all()
    restart = trip + int(np.argmax(running[trip:]))
    assert restart > trip
    assert temperature[restart] == pytest.approx(85, abs=2)


def test_without_mains_nothing_runs() -> None:
    signals = plant().run(Control(50, 1, CONTACT, mains_v=0.0))
    assert signals["pump_on"].max() == 0
    assert signals["vacuum_inlet_kpa"].max() == 0
    assert signals["motor_current_a"].max() == 0


def test_the_float_of_a_full_canister_shuts_the_handpiece_off() -> None:
    device = plant(HYDRA, 1, Quirks(crystal_loading=0.0, waste_m3_per_g=1e-6, has_float=True))
    device.canister_g[:] = 0.96 * 600
    signals = device.run(Control(150, 1, CONTACT, fluid_g_per_s=0.2))
    assert signals["vacuum_handpiece_kpa"][-1, 0] < 1.0
    assert signals["vacuum_inlet_kpa"][-1, 0] > 75.0
    assert signals["flow_lpm"][-1, 0] < 0.5


def test_a_regulator_with_play_depends_on_the_direction() -> None:
    device = plant(M1, 1, Quirks(hysteresis=0.05))
    risen = device.run(Control(100, 1, CONTACT))["vacuum_inlet_kpa"][-1, 0]
    device.run(Control(60, 1, CONTACT, changes={"feed_area": 0.5}))
    fallen = device.run(Control(100, 1, CONTACT))["vacuum_inlet_kpa"][-1, 0]
    assert fallen - risen > 0.3


def test_a_polytropic_gas_answers_faster_and_settles_alike() -> None:
    vacuum = plant(M1, 2, Quirks(polytropic=two(1.0, 1.2))).run(Control(100, 1, CONTACT))["vacuum_inlet_kpa"]
    assert vacuum[8, 1] > vacuum[8, 0] + 1.0
    assert vacuum[-1, 1] == pytest.approx(vacuum[-1, 0], abs=0.05)
