"""The single laws against their exact forms and the published figures."""

import numpy as np
import pytest

from dermafleet.physics import filters, gas, motor, pump
from dermafleet.physics.machine import M1

L_PER_MIN = 1e-3 / 60


def exact_orifice(area: float, upstream: float, downstream: float, temperature: float) -> float:
    g = gas.ADIABATIC_EXPONENT
    ratio = max(downstream / upstream, 0.528282)
    root = 2 * g / ((g - 1) * gas.GAS_CONSTANT * temperature) * (ratio ** (2 / g) - ratio ** ((g + 1) / g))
    return float(area * upstream * np.sqrt(root))


def flows(downstream_pa: gas.Array) -> gas.Array:
    return np.asarray(gas.orifice_flow(1e-6, gas.STANDARD_PRESSURE_PA, downstream_pa, 293.15))


@pytest.mark.parametrize("vacuum_pa", [50.0, 1_000.0, 20_000.0, 47_000.0, 60_000.0, 95_000.0])
def test_the_orifice_follows_the_isentropic_law_with_choking(vacuum_pa: float) -> None:
    exact = exact_orifice(1e-6, 101_325.0, 101_325.0 - vacuum_pa, 293.15)
    flow = float(gas.orifice_flow(1e-6, 101_325.0, 101_325.0 - vacuum_pa, 293.15))
    assert flow == pytest.approx(exact, rel=5e-5)


def test_an_orifice_chokes_at_47_percent_of_ambient() -> None:
    flow = flows(101_325.0 * np.array([0.53, 0.52, 0.1]))
    assert flow[1] == flow[2]
    assert flow[0] == pytest.approx(flow[1], rel=1e-3)


def test_an_orifice_is_linear_near_rest_and_closed_against_the_pressure() -> None:
    flow = flows(101_325.0 - np.array([0.0, 5.0, 10.0, 20.0]))
    np.testing.assert_allclose(flow / flow[3], [0.0, 0.25, 0.5, 1.0], rtol=1e-12)
    assert gas.orifice_flow(1e-6, 90_000.0, 91_000.0, 293.15) == 0.0


def test_the_slope_of_the_discharge_is_its_derivative() -> None:
    fall = np.linspace(0.01, 0.46, 10)
    numeric = (np.asarray(gas.discharge(fall + 1e-6)) - np.asarray(gas.discharge(fall - 1e-6))) / 2e-6
    np.testing.assert_allclose(gas.discharge_with_slope(fall)[1], numeric, rtol=1e-6)
    assert abs(gas.discharge_with_slope(np.array(0.5))[1]) < 1e-3  # choked


def test_standard_litres_and_mass_flow_are_inverse() -> None:
    assert gas.mass_flow(gas.standard_lpm(1e-4)) == pytest.approx(1e-4)
    assert gas.mass_flow(10.0) * 60_000 == pytest.approx(12.0, rel=0.01)  # 10 L/min of air are 12 g/min


@pytest.mark.parametrize(
    ("grain_um", "alpha", "small_kpa", "large_kpa"),
    [(110, 2.3e7, 0.008, 0.001), (20, 6.9e8, 0.25, 0.03), (10, 2.8e9, 1.0, 0.11), (5, 1.1e10, 4.0, 0.45)],
)
def test_fines_clog_and_crystals_do_not(grain_um: float, alpha: float, small_kpa: float, large_kpa: float) -> None:
    figures: tuple[tuple[float, float], ...] = ((50e-4, small_kpa), (150e-4, large_kpa))
    resistance = filters.specific_resistance(grain_um * 1e-6)
    assert resistance == pytest.approx(alpha, rel=0.05)
    for area, kpa in figures:
        load = filters.cake_load(1e-3, filters.cake_unit_kg(M1.filter_r1, area, resistance))
        added = M1.filter_r1 * load * 30 * L_PER_MIN / 1000
        assert added == pytest.approx(kpa, rel=0.05, abs=0.0005 if kpa < 0.01 else 0.005)


def test_a_depth_medium_clogs_exponentially() -> None:
    assert filters.depth_load(2.0e-3, 1.0e-3) == pytest.approx(np.e**2 - 1)


def test_the_drop_of_a_filter_is_that_of_the_flow_at_its_mean_pressure() -> None:
    flow, before, temperature = 4e-4, 80_000.0, 293.15
    linear = float(filters.resistance(M1.filter_r1, 15.0, temperature))
    behind = float(filters.pressure_behind(before, flow, linear, M1.filter_r2, temperature))
    actual = flow * gas.GAS_CONSTANT * temperature / ((before + behind) / 2)
    assert before - behind == pytest.approx(filters.drop(actual, linear, M1.filter_r2), rel=1e-4)
    assert filters.volume_flow(before - behind, linear, M1.filter_r2) == pytest.approx(actual, rel=1e-4)
    assert filters.index(before - behind, actual, M1.filter_r1, M1.filter_r2) == pytest.approx(16.0, rel=1e-3)
    assert filters.pressure_before(
        filters.pressure_behind(before, flow, linear, 0.0, 293.15), flow, linear, 293.15
    ) == (pytest.approx(before))


def test_warm_air_resists_more() -> None:
    assert gas.viscosity(313.15) / gas.viscosity(293.15) == pytest.approx(1.05, abs=0.005)


def test_the_ultimate_vacuum_of_m1_is_70_hpa() -> None:
    ultimate = pump.ultimate_pa(101_325.0, M1.clearance, M1.exponent)
    assert ultimate == pytest.approx(7_000, rel=0.01)
    assert pump.swept_flow(1.0, M1.clearance, M1.exponent, 101_325.0 / ultimate) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("vacuum_kpa", "watts"), [(0.0, 0.0), (30.0, 13.0), (60.0, 18.5), (80.0, 13.7), (90.0, 6.0)])
def test_the_gas_power_peaks_near_60_kpa(vacuum_kpa: float, watts: float) -> None:
    inlet = 101_325.0 - 1000 * vacuum_kpa
    ratio = 101_325.0 / inlet
    swept = pump.swept_flow(M1.displacement_m3s, M1.clearance, M1.exponent, ratio)
    assert pump.gas_power(swept, M1.exponent, inlet, ratio) == pytest.approx(watts, rel=0.05, abs=0.01)


def test_eighty_percent_of_the_voltage_cost_seven_percent_of_the_speed() -> None:
    assert motor.relative_speed(0.8, M1.slip) == pytest.approx(0.93, abs=0.001)
    assert motor.relative_speed(0.0, M1.slip) == 0.0


def test_a_blocked_fan_heats_by_its_factor() -> None:
    free = motor.thermal_resistance(0.30, 20.0, 1.0)
    assert free == pytest.approx(0.30)
    assert motor.thermal_resistance(0.30, 20.0, 1.6) == pytest.approx(0.48)
