"""Air: constants, viscosity, and the mass flow through an orifice with choking.

Pressures are absolute, in Pa; mass flows in kg/s. Source: docs/physics.md, section "Gas".
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Real = float | Array
"""One number, or an array of any shape that broadcasts with the other arguments."""

GAS_CONSTANT = 287.05  # J/kg/K, dry air
ADIABATIC_EXPONENT = 1.4
STANDARD_PRESSURE_PA = 101_325.0
STANDARD_TEMPERATURE_K = 293.15
STANDARD_DENSITY = STANDARD_PRESSURE_PA / (GAS_CONSTANT * STANDARD_TEMPERATURE_K)  # kg/m3
STANDARD_VISCOSITY = 1.813e-5  # Pa s at 20 Cel
CHOKED_RATIO = (2 / (ADIABATIC_EXPONENT + 1)) ** (ADIABATIC_EXPONENT / (ADIABATIC_EXPONENT - 1))  # 0.528
CHOKED_FALL = 1 - CHOKED_RATIO
LINEAR_BELOW_PA = 20.0
"""An orifice is linear below this pressure difference: its square root has no slope at zero that a solver can use."""

FALL_1, FALL_2, FALL_3 = -1.07084923, -0.00627649, 0.03316041
"""Least-squares fit of the isentropic discharge over 0.528..1; the flow is within 3e-5 of the exact power law."""


def viscosity(temperature_k: Real) -> Real:
    """Dynamic viscosity of air, Pa s, at a temperature in K (Sutherland's law)."""
    relative = temperature_k / STANDARD_TEMPERATURE_K
    return STANDARD_VISCOSITY * relative**1.5 * (STANDARD_TEMPERATURE_K + 110.4) / (temperature_k + 110.4)


def discharge(fall: Real) -> Real:
    """Square of an orifice's dimensionless discharge.

    Args:
        fall: (upstream - downstream) / upstream pressure; beyond the choked 0.472 nothing grows any more.

    Returns:
        m^2 R T / (2 (CdA upstream)^2): ``fall`` itself where air were incompressible.
    """
    v = np.minimum(fall, CHOKED_FALL)
    result: Real = v * (1 + v * (FALL_1 + v * (FALL_2 + v * FALL_3)))
    return result


def discharge_with_slope(fall: Array) -> tuple[Array, Array]:
    """:func:`discharge` and its slope, which the clipped polynomial takes to zero, within 1e-3, where choked."""
    v = np.minimum(fall, CHOKED_FALL)
    cubic = FALL_3 * v
    square = v * (FALL_2 + cubic)
    return v * (1 + FALL_1 * v + v * square), 1 + v * (2 * FALL_1 + 3 * square + v * cubic)


def orifice_flow(effective_m2: Real, upstream_pa: Real, downstream_pa: Real, temperature_k: Real) -> Real:
    """Mass flow through an orifice, kg/s; 0 against the pressure.

    Args:
        effective_m2: discharge coefficient times area, m2.
        upstream_pa, downstream_pa: absolute pressures, Pa.
        temperature_k: of the gas upstream, K.
    """
    difference = np.maximum(upstream_pa - downstream_pa, 0.0)
    root = np.sqrt(discharge(np.maximum(difference, LINEAR_BELOW_PA) / upstream_pa))
    root = root * np.minimum(difference / LINEAR_BELOW_PA, 1.0)
    flow: Real = effective_m2 * upstream_pa * np.sqrt(2 / (GAS_CONSTANT * temperature_k)) * root
    return flow


def standard_lpm(mass_flow: Real) -> Real:
    """Mass flow in kg/s as litres per minute at 20 Cel and 101.325 kPa, the unit of every flow channel."""
    return mass_flow * (60_000 / STANDARD_DENSITY)


def mass_flow(standard_litres: Real) -> Real:
    """Inverse of :func:`standard_lpm`."""
    return standard_litres * (STANDARD_DENSITY / 60_000)


def hole_m2(diameter_mm: Real) -> Real:
    """Area of a round hole, m2."""
    return 0.25e-6 * np.pi * np.square(diameter_mm)
