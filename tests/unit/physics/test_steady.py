"""Operating points against the published tables of the machine M1, and against what must hold for any machine."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermafleet.physics import steady
from dermafleet.physics.gas import STANDARD_PRESSURE_PA, Array, hole_m2
from dermafleet.physics.machine import DIAMOND, EMPTY_JAR_FEED, M1, Machine

NOTHING = 0.05
"""A figure of the tables holds within 5 %; where it is 0, within this, in kPa or L/min."""

HP, IN, DP, Q, AMP = "vacuum_handpiece_kpa", "vacuum_inlet_kpa", "filter_dp_kpa", "pump_flow_lpm", "motor_current_a"

LEAK_1_MM, LEAK_HALF_MM = float(hole_m2(1.0)), float(hole_m2(0.5))
REGULATOR_OPEN = 3.0 * float(hole_m2(0.88))
"""The table does not state the opening; three times the usual one gives every figure of its row."""
TORN = 0.9
"""The table does not state what is left of a missing filter; a tenth of both resistances gives its row."""

HEALTHY = {
    "open": {HP: 0.7, IN: 2.35, DP: 0.61, Q: 31.2, AMP: 0.516, "pump_rise_k": 19.0},
    "contact": {HP: 39.3, IN: 40.0, DP: 0.41, Q: 18.1, AMP: 0.613, "pump_rise_k": 30.0},
    "capped": {IN: 78.6, DP: 0.0, Q: 5.0},
    "dead_head": {IN: 94.3, DP: 0.0, Q: 0.0},
}

Row = tuple[Machine, float, float, dict[str, dict[str, float]]]

SEA, NOMINAL_V = STANDARD_PRESSURE_PA, 230.0

SIGNATURES: dict[str, Row] = {
    "F1 FI 16": (
        M1.with_(filter_load=15.0),
        SEA,
        NOMINAL_V,
        {
            "contact": {HP: 35.1, IN: 40.7, DP: 5.35, Q: 17.9, AMP: 0.613},
            "open": {IN: 8.5, DP: 7.14, Q: 29.0, AMP: 0.534},
            "capped": {IN: 78.6},
            "dead_head": {IN: 94.3},
        },
    ),
    "F2 exhaust x41": (
        M1.with_(exhaust_load=40.0),
        SEA,
        NOMINAL_V,
        {
            "contact": {HP: 38.5, IN: 39.2, DP: 0.41, Q: 18.1, AMP: 0.635, "pump_rise_k": 32.0, "exhaust_dp_kpa": 11.7},
            "open": {IN: 2.35, Q: 30.6, AMP: 0.570},
        },
    ),
    "F3 return x0.2": (
        M1.with_(return_area=0.2),
        SEA,
        NOMINAL_V,
        {"contact": {HP: 32.8, IN: 41.3, Q: 18.1, AMP: 0.613}, "open": {IN: 18.0, Q: 25.7, AMP: 0.562}},
    ),
    "F3 return x0.1": (M1.with_(return_area=0.1), SEA, NOMINAL_V, {"contact": {HP: 19.8}}),
    "F4 feed x0.2": (
        M1.with_(feed_area=0.2),
        SEA,
        NOMINAL_V,
        {
            "contact": {HP: 62.5, IN: 62.8, DP: 0.25, Q: 10.3, AMP: 0.629, "pump_rise_k": 33.0},
            "open": {IN: 2.35, Q: 31.2},
            "capped": {IN: 78.6},
        },
    ),
    "F5 dirty leak 1 mm": (
        M1.with_(leak_dirty_m2=LEAK_1_MM),
        SEA,
        NOMINAL_V,
        {
            "contact": {HP: 27.4, IN: 28.1, DP: 0.47, Q: 22.2, AMP: 0.588},
            "open": {IN: 2.18, Q: 31.2},
            "capped": {IN: 60.5},
            "dead_head": {IN: 75.4},
        },
    ),
    "F5 dirty leak 0.5 mm": (
        M1.with_(leak_dirty_m2=LEAK_HALF_MM),
        SEA,
        NOMINAL_V,
        {"contact": {IN: 36.5}, "capped": {IN: 74.0}, "dead_head": {IN: 89.4}},
    ),
    "F6 clean leak 1 mm": (
        M1.with_(leak_clean_m2=LEAK_1_MM),
        SEA,
        NOMINAL_V,
        {
            "contact": {HP: 27.5, IN: 28.0, DP: 0.31, Q: 22.3},
            "open": {Q: 31.2},
            "capped": {IN: 60.5},
            "dead_head": {IN: 75.0},
        },
    ),
    "F8a displacement x0.8": (
        M1.with_(displacement=0.8),
        SEA,
        NOMINAL_V,
        {
            "contact": {HP: 30.0, IN: 30.5, DP: 0.33, Q: 17.1, AMP: 0.575},
            "open": {IN: 1.59, Q: 25.1, AMP: 0.516},
            "capped": {IN: 74.8},
            "dead_head": {IN: 94.3},
        },
    ),
    "F8b valve leak": (
        M1.with_(valve_leak=1.5e-9),
        SEA,
        NOMINAL_V,
        {
            "contact": {HP: 33.5, IN: 34.1, DP: 0.36, Q: 17.6, AMP: 0.602},
            "open": {IN: 2.35, Q: 31.2},
            "capped": {IN: 64.3},
            "dead_head": {IN: 76.5, Q: 0.0},
        },
    ),
    "F9 regulator shut": (
        M1.with_(bleed_m2=0.0),
        SEA,
        NOMINAL_V,
        {
            "contact": {HP: 52.9, IN: 53.9, DP: 0.56, Q: 13.4, AMP: 0.629},
            "open": {IN: 2.57},
            "capped": {IN: 94.3},
            "dead_head": {IN: 94.3},
        },
    ),
    "F9b regulator open": (
        M1.with_(bleed_m2=REGULATOR_OPEN),
        SEA,
        NOMINAL_V,
        {"contact": {HP: 22.1, IN: 22.6, DP: 0.26, Q: 24.1}, "open": {IN: 1.98}, "capped": {IN: 48.9}},
    ),
    "F10 filter missing": (
        M1.with_(filter_missing=TORN),
        SEA,
        NOMINAL_V,
        {"contact": {HP: 39.6, IN: 40.0, DP: 0.04, Q: 18.1}, "open": {IN: 1.85}},
    ),
    "F11 jar empty": (
        M1.with_(feed_area=EMPTY_JAR_FEED),
        SEA,
        NOMINAL_V,
        {"contact": {HP: 35.8, IN: 36.6, DP: 0.41, Q: 19.3}, "open": {IN: 2.35, Q: 31.2}},
    ),
    "F13 mains 80 %": (
        M1,
        SEA,
        184.0,
        {
            "contact": {HP: 36.1, IN: 36.8, Q: 18.1, AMP: 0.613},
            "open": {IN: 2.07, Q: 29.1, AMP: 0.483},
            "capped": {IN: 78.6},
            "dead_head": {IN: 94.3},
        },
    ),
    "N1 seal 0.85": (
        M1.with_(seal=0.85),
        SEA,
        NOMINAL_V,
        {"contact": {HP: 12.7, IN: 14.0, DP: 0.54, Q: 27.1, AMP: 0.550}, "open": {IN: 2.35, Q: 31.2}},
    ),
    "N2 1600 m": (
        M1,
        83_500.0,
        NOMINAL_V,
        {
            "contact": {HP: 32.3, IN: 33.0, DP: 0.41, Q: 14.9},
            "open": {IN: 2.03, Q: 25.6},
            "capped": {IN: 64.8},
            "dead_head": {IN: 77.7},
        },
    ),
    "diamond": (DIAMOND, SEA, NOMINAL_V, {"contact": {IN: 44.5, Q: 16.3}}),
}

LADDER = (
    (1, 0.41, 0.61, 2.35),
    (3, 1.10, 1.55, 3.2),
    (5, 1.77, 2.46, 4.1),
    (10, 3.43, 4.66, 6.2),
    (20, 6.59, 8.71, 10.0),
    (40, 12.4, 15.8, 16.7),
)


def assert_matches(point: steady.Operating, expected: dict[str, float]) -> None:
    for name, figure in expected.items():
        tolerance = 0.05 * figure or NOTHING
        assert float(getattr(point, name)) == pytest.approx(figure, abs=tolerance), name


@pytest.mark.parametrize("state", HEALTHY)
def test_a_healthy_m1_works_where_the_table_says(state: steady.State) -> None:
    assert_matches(steady.solve(M1, state), HEALTHY[state])


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_fault_has_the_signature_of_the_table(name: str) -> None:
    machine, ambient_pa, mains_v, states = SIGNATURES[name]
    for state, expected in states.items():
        assert_matches(steady.solve(machine, state, ambient_pa, mains_v), expected)  # type: ignore[arg-type]


def test_a_clean_leak_leaves_the_open_vacuum_as_it_is_within_the_error_of_its_sensor() -> None:
    leaking = steady.solve(M1.with_(leak_clean_m2=LEAK_1_MM), "open")
    assert float(leaking.vacuum_inlet_kpa) == pytest.approx(2.35, abs=0.35)


@pytest.mark.parametrize(("index", "contact_dp", "open_dp", "open_vacuum"), LADDER)
def test_the_filter_index_ladder(index: float, contact_dp: float, open_dp: float, open_vacuum: float) -> None:
    machine = M1.with_(filter_load=index - 1.0)
    assert_matches(steady.solve(machine, "contact"), {DP: contact_dp})
    assert_matches(steady.solve(machine, "open"), {DP: open_dp, IN: open_vacuum})


def test_a_full_clog_costs_the_handpiece_a_quarter_of_its_vacuum_but_never_shows_at_the_pump() -> None:
    clean, clogged = steady.solve(M1, "contact"), steady.solve(M1.with_(filter_load=39.0), "contact")
    assert float(clogged.vacuum_handpiece_kpa / clean.vacuum_handpiece_kpa) == pytest.approx(0.75, abs=0.01)
    assert float(clogged.vacuum_inlet_kpa) == pytest.approx(42.2, rel=0.01)


@pytest.mark.parametrize(("displacement", "seconds"), [(1.0, 4.4), (0.8, 5.5)])
def test_pump_down_time_measures_wear(displacement: float, seconds: float) -> None:
    machine = M1.with_(displacement=displacement, bleed_m2=0.0)
    assert float(steady.pump_down_s(machine, 80.0, volume_m3=1.3e-3)) == pytest.approx(seconds, rel=0.02)


def test_a_vacuum_beyond_reach_takes_for_ever() -> None:
    assert np.isinf(steady.pump_down_s(M1, 85.0))


@pytest.mark.parametrize(("diameter_mm", "rate"), [(0.2, 0.3), (0.3, 0.7), (0.5, 2.0), (1.0, 7.8)])
def test_leak_down_rate_by_the_diameter_of_the_hole(diameter_mm: float, rate: float) -> None:
    for side in ("leak_dirty_m2", "leak_clean_m2"):
        machine = M1.with_(**{side: hole_m2(diameter_mm)})
        assert float(steady.leak_down_kpa_s(machine, 40.0, volume_m3=1.3e-3)) == pytest.approx(rate, rel=0.05)


def test_a_tight_machine_keeps_its_vacuum() -> None:
    assert float(steady.leak_down_kpa_s(M1, 40.0)) == 0.0


def test_ratios_to_ambient_pressure_do_not_depend_on_altitude() -> None:
    ambient = np.array([101_325.0, 83_500.0, 77_000.0])
    ratio = steady.solve(M1, "contact", ambient).vacuum_inlet_kpa * 1000 / ambient
    assert np.ptp(ratio) < 0.002


def test_the_regulator_opening_for_a_set_point_gives_that_vacuum() -> None:
    target = np.array([15.0, 25.0, 40.0, 50.0])
    machine = M1.with_(bleed_m2=steady.bleed_for_contact(M1, target))
    np.testing.assert_allclose(steady.solve(machine, "contact").vacuum_inlet_kpa, target, atol=0.01)


def test_a_set_point_out_of_reach_shuts_the_regulator() -> None:
    assert float(steady.bleed_for_contact(M1, 70.0)) == 0.0


def test_contact_at_a_given_vacuum_is_contact_with_the_regulator_that_gives_it() -> None:
    machine = M1.with_(filter_load=np.array([0.0, 9.0, 30.0]), return_area=0.5)
    regulated = machine.with_(bleed_m2=steady.bleed_for_contact(machine, 35.0))
    given, solved = steady.contact_at(machine, 35.0), steady.solve(regulated, "contact")
    for field in fields(given):
        np.testing.assert_allclose(
            getattr(given, field.name), getattr(solved, field.name), rtol=1e-3, atol=1e-3, err_msg=field.name
        )


def test_contact_at_a_vacuum_out_of_reach_asks_the_regulator_for_less_than_nothing() -> None:
    assert float(steady.contact_at(M1, 70.0).bleed_lpm) < 0


def test_a_pump_switched_off_rests_at_ambient_pressure() -> None:
    point = steady.solve(M1.with_(leak_dirty_m2=LEAK_1_MM, valve_leak=1e-9), "off")
    for name in (HP, IN, DP, Q, AMP, "heat_w", "pump_rise_k"):
        assert abs(float(getattr(point, name))) < 1e-3, name


share = st.floats(0.0, 1.0)


@settings(max_examples=60, deadline=None)
@given(
    load=st.floats(0.0, 1000.0),
    path=st.floats(0.01, 1.2),
    feed=st.floats(0.0, 1.3),
    leak=st.floats(0.0, 2.0),
    worn=st.floats(0.3, 1.2),
    valve=st.floats(0.0, 5e-9),
    bleed=st.floats(0.0, 3.0),
    seal=share,
    exhaust=st.floats(0.0, 80.0),
    ambient=st.floats(70_000, 106_000),
    state=st.sampled_from(["open", "contact", "capped", "dead_head"]),
)
def test_any_machine_has_a_point_where_no_air_is_lost(
    load: float,
    path: float,
    feed: float,
    leak: float,
    worn: float,
    valve: float,
    bleed: float,
    seal: float,
    exhaust: float,
    ambient: float,
    state: steady.State,
) -> None:
    machine = M1.with_(
        filter_load=load,
        return_area=path,
        feed_area=feed,
        leak_dirty_m2=hole_m2(leak),
        displacement=worn,
        valve_leak=valve,
        bleed_m2=hole_m2(bleed),
        seal=seal,
        exhaust_load=exhaust,
    )
    point = steady.solve(machine, state, ambient)
    assert all(np.isfinite(getattr(point, field.name)) for field in fields(point))
    assert float(point.pump_flow_lpm) == pytest.approx(float(point.flow_lpm + point.bleed_lpm), abs=0.03)
    assert -1e-9 <= point.vacuum_handpiece_kpa <= point.vacuum_canister_kpa + 1e-9
    assert point.vacuum_canister_kpa <= point.vacuum_inlet_kpa + 1e-9
    assert point.vacuum_inlet_kpa * 1000 < ambient


def test_arrays_of_machines_and_of_rooms_broadcast() -> None:
    loads: Array = np.array([[0.0], [9.0]])
    point = steady.solve(M1.with_(filter_load=loads), "open", np.array([101_325.0, 90_000.0, 80_000.0]))
    assert point.filter_dp_kpa.shape == (2, 3)
    lone = steady.solve(M1.with_(filter_load=9.0), "open", 90_000.0)
    assert float(point.filter_dp_kpa[1, 1]) == pytest.approx(float(lone.filter_dp_kpa), rel=1e-4)
