"""The motor: speed by mains voltage, electrical power, current, and the warming of the pump.

Source: docs/physics.md, section "Motor and heat".
"""

import numpy as np

from dermafleet.physics.gas import Real

PUMP_EFFICIENCY = 0.75
"""Mechanical power at the shaft that ends in the gas."""
EXHAUSTED_HEAT = 0.3
"""Share of the gas power that leaves with the exhausted air."""


def relative_speed(mains_share: Real, slip: Real) -> Real:
    """Speed relative to that at nominal voltage: the slip of an induction motor grows as 1/V^2.

    Args:
        mains_share: mains voltage over nominal.
        slip: at nominal voltage.
    """
    return np.maximum(1 - slip / np.square(np.maximum(mains_share, 1e-3)), 0.0) / (1 - slip)


def electrical_power(gas_w: Real, friction_w: Real, speed: Real, efficiency: Real) -> Real:
    """Active power of the motor, W.

    Args:
        gas_w: power into the gas, W.
        friction_w: of the pump at nominal speed, W.
        speed: relative speed.
        efficiency: of the motor.
    """
    return (gas_w / PUMP_EFFICIENCY + friction_w * speed) / efficiency


def current(power_w: Real, mains_v: Real, magnetising_a: Real, mains_share: Real) -> Real:
    """Current of the motor, A rms.

    Args:
        power_w: active power, W.
        mains_v: mains voltage, V.
        magnetising_a: reactive current at nominal voltage, A.
        mains_share: mains voltage over nominal.
    """
    result: Real = np.hypot(power_w / np.maximum(mains_v, 1.0), magnetising_a * mains_share)
    return result


def thermal_resistance(nominal: Real, flow_lpm: Real, cooling: Real) -> Real:
    """Thermal resistance of pump to room, K/W.

    Args:
        nominal: K/W.
        flow_lpm: through the pump, standard L/min; the air it moves cools it.
        cooling: factor of a hindered cooling; 1 = free, 1.6 = fan blocked.
    """
    return nominal * cooling * (1.12 - 0.006 * flow_lpm)


def heating_power(power_w: Real, gas_w: Real) -> Real:
    """Power that stays in the pump as heat, W."""
    return power_w - EXHAUSTED_HEAT * gas_w
