"""Filters: Darcy and Forchheimer resistance with a load of dust, as a cake or in the depth of the medium.

Source: docs/physics.md, section "Filters".
"""

import numpy as np

from dermafleet.physics.gas import (
    GAS_CONSTANT,
    STANDARD_VISCOSITY,
    Real,
    viscosity,
)

ALUMINA_DENSITY = 3950.0  # kg/m3
CAKE_POROSITY = 0.45


def specific_resistance(grain_m: Real, porosity: Real = CAKE_POROSITY, density: Real = ALUMINA_DENSITY) -> Real:
    """Resistance of a cake of grains, m/kg (Kozeny-Carman).

    Args:
        grain_m: diameter, m.
        porosity: of the cake, 0..1.
        density: of the solid, kg/m3.
    """
    result: Real = 180 * (1 - porosity) / (density * porosity**3 * np.square(grain_m))
    return result


def cake_unit_kg(r1: Real, area_m2: Real, alpha: Real) -> Real:
    """Dust that adds the resistance of one clean filter, kg.

    Args:
        r1: clean linear resistance, Pa per m3/s.
        area_m2: of the medium, m2.
        alpha: specific resistance of the dust, m/kg.
    """
    return r1 * np.square(area_m2) / (STANDARD_VISCOSITY * alpha)


def cake_load(dust_kg: Real, unit_kg: Real) -> Real:
    """Load of a surface filter, linear in the dust; 0 = clean, filter index less one."""
    return dust_kg / unit_kg


def depth_load(dust_kg: Real, e_fold_kg: Real) -> Real:
    """Load of a depth medium (felt, cotton), exponential in the dust; 0 = clean."""
    result: Real = np.expm1(dust_kg / e_fold_kg)
    return result


def resistance(r1: Real, load: Real, temperature_k: Real) -> Real:
    """Linear resistance of a loaded filter at a temperature in K, Pa per m3/s."""
    return r1 * (1 + load) * (viscosity(temperature_k) / STANDARD_VISCOSITY)


def drop(volume_flow: Real, linear: Real, r2: Real) -> Real:
    """Pressure drop of a filter, Pa.

    Args:
        volume_flow: at the mean of the pressures before and behind it, m3/s.
        linear: :func:`resistance`, Pa per m3/s.
        r2: quadratic resistance, Pa per (m3/s)^2.
    """
    return volume_flow * (linear + r2 * volume_flow)


def volume_flow(drop_pa: Real, linear: Real, r2: Real) -> Real:
    """Inverse of :func:`drop`, m3/s; 0 against the pressure. ``linear`` must be positive."""
    fall = np.maximum(drop_pa, 0.0)
    result: Real = 2 * fall / (linear + np.sqrt(np.square(linear) + 4 * r2 * fall))
    return result


def pressure_behind(before_pa: Real, flow: Real, linear: Real, r2: Real, temperature_k: Real) -> Real:
    """Pressure behind a filter, Pa; 1 Pa where the filter cannot pass the flow.

    Exact for the linear part, whose drop times the mean pressure does not depend on the pressures; the quadratic part,
    small, is taken at a mean pressure found in two rounds.

    Args:
        before_pa: absolute, Pa.
        flow: mass flow, kg/s, not negative.
        linear, r2: as in :func:`drop`.
        temperature_k: of the gas, K.
    """
    actual = GAS_CONSTANT * temperature_k * flow
    mean = before_pa
    for _ in range(3):
        behind = np.sqrt(np.maximum(np.square(before_pa) - 2 * actual * (linear + r2 * actual / mean), 1.0))
        mean = (before_pa + behind) / 2
    return behind


def pressure_before(behind_pa: Real, flow: Real, linear: Real, temperature_k: Real) -> Real:
    """Pressure before a filter without quadratic resistance, Pa. Arguments as in :func:`pressure_behind`."""
    result: Real = np.sqrt(np.square(behind_pa) + 2 * GAS_CONSTANT * temperature_k * flow * linear)
    return result


def index(drop_pa: Real, volume_flow: Real, clean: Real, r2: Real) -> Real:
    """Filter index: resistance relative to the clean filter, 1 = clean.

    Args:
        drop_pa: pressure drop, Pa.
        volume_flow: through the filter at the mean of the pressures before and behind it, m3/s.
        clean: :func:`resistance` at load 0, Pa per m3/s.
        r2: quadratic resistance, Pa per (m3/s)^2.
    """
    return (drop_pa / volume_flow - r2 * volume_flow) / clean
