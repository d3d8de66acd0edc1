"""The pump: a displacement with clearance volume and a leaking valve.

Source: docs/physics.md, section "Pump".
"""

import numpy as np

from dermafleet.physics.gas import GAS_CONSTANT, Real


def swept_flow(displacement: Real, clearance: Real, exponent: Real, pressure_ratio: Real) -> Real:
    """Volume flow at the inlet pressure, m3/s; negative beyond the ultimate vacuum, where a real pump moves nothing.

    Args:
        displacement: swept volume times speed, m3/s.
        clearance: dead volume over swept volume.
        exponent: polytropic exponent of the compression.
        pressure_ratio: outlet over inlet pressure.
    """
    return displacement * (1 + clearance - clearance * pressure_ratio ** (1 / exponent))


def pump_flow(swept: Real, valve_leak: Real, inlet_pa: Real, outlet_pa: Real, temperature_k: Real) -> Real:
    """Mass flow of the pump, kg/s; negative where more leaks back through the valves than it sweeps.

    Args:
        swept: :func:`swept_flow`, m3/s.
        valve_leak: kg/s per Pa between outlet and inlet.
        inlet_pa, outlet_pa: absolute pressures, Pa.
        temperature_k: of the gas, K.
    """
    return inlet_pa / (GAS_CONSTANT * temperature_k) * swept - valve_leak * (outlet_pa - inlet_pa)


def ultimate_pa(outlet_pa: Real, clearance: Real, exponent: Real) -> Real:
    """Inlet pressure at which a pump without valve leak moves nothing, Pa."""
    return outlet_pa * (clearance / (1 + clearance)) ** exponent


def gas_power(swept: Real, exponent: Real, inlet_pa: Real, pressure_ratio: Real) -> Real:
    """Power that goes into the gas, W; it peaks near 60 kPa of vacuum.

    Args:
        swept: :func:`swept_flow`, m3/s.
        exponent: polytropic exponent of the compression.
        inlet_pa: absolute, Pa.
        pressure_ratio: outlet over inlet pressure.
    """
    share = (exponent - 1) / exponent
    return inlet_pa * np.maximum(swept, 0.0) * (pressure_ratio**share - 1) / share
