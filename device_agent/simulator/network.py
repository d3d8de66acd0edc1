"""One short step of the air in machines: the transient form of :mod:`dermafleet.physics.steady`, for the plant's loop.

The laws are those of ``dermafleet.physics``, written out with their slopes, because the step is linearly implicit: its
resting point is the exact operating point, and no step length makes it unstable.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dermafleet.physics import gas
from dermafleet.physics.gas import Array

_SMOOTH_PA = 2.0
"""Orifices are linear below some 2 Pa, or their slope would be infinite at rest."""
_HANDPIECE_ROUNDS = 2


class Openings(NamedTuple):
    """The network of one step, each (n,): effective areas, m2, and what belongs to them."""

    ambient: Array
    gas_heat: Array
    """R T, J/kg."""
    entry: Array
    path: Array
    leak_dirty: Array
    clean: Array
    """Regulator and leak behind the filter."""
    linear: Array
    """Of the intake filter with its load, Pa per m3/s."""
    quadratic: Array
    swept: Array
    """Displacement at the present speed, m3/s."""
    valve_leak: Array


@dataclass(slots=True)
class Pressures:
    """State of the air, each (n,), Pa; and the flows that the last step left behind, kg/s."""

    handpiece: Array
    canister: Array
    inlet: Array
    outlet: Array
    through_filter: Array
    through_pump: Array
    gas_power: Array
    """W."""


class Compression(NamedTuple):
    """Constants of the pumps, each (n,)."""

    clearance: Array
    inverse_exponent: Array


def advance(air: Pressures, net: Openings, pump: Compression, canister_hold: Array, inlet_hold: Array) -> None:
    """Advance canister and inlet by one step; the handpiece follows.

    Args:
        air: changed in place.
        net: during this step.
        pump: its constants.
        canister_hold, inlet_hold: volume / (n R T dt) of both volumes, kg/s per Pa.
    """
    drawn, drawn_slope = _drawn(air, net)
    leak, leak_slope = _inflow(net.leak_dirty, air.canister, net)
    clean, clean_slope = _inflow(net.clean, air.inlet, net)
    through, by_canister, by_inlet = _filter(air, net)
    pumped, pumped_slope = _pump(air, net, pump)
    at_canister = drawn + leak - through
    at_inlet = through + clean - pumped
    a = canister_hold - drawn_slope - leak_slope + by_canister
    d = inlet_hold - by_inlet - clean_slope + pumped_slope
    scale = 1 / (a * d + by_inlet * by_canister)
    canister = air.canister + (d * at_canister - by_inlet * at_inlet) * scale
    inlet = air.inlet + (a * at_inlet + by_canister * at_canister) * scale
    air.canister = np.minimum(np.maximum(canister, 500.0), net.ambient)
    air.inlet = np.minimum(np.maximum(inlet, 500.0), net.ambient)
    air.through_filter, air.through_pump = through, pumped


def _drawn(air: Pressures, net: Openings) -> tuple[Array, Array]:
    """Flow from the room through tip, feed and return path, and its slope by the canister pressure."""
    entry, path = net.entry * net.entry, net.path * net.path
    ambient, canister = net.ambient, air.canister
    entering = entry * ambient
    driven = entering * ambient
    pressure = np.sqrt((driven + path * canister * canister) / (entry + path))
    for _ in range(_HANDPIECE_ROUNDS):
        fall_in, slope_in = gas.discharge_with_slope(1 - pressure / ambient)
        fall_out, slope_out = gas.discharge_with_slope(1 - canister / pressure)
        out = path * pressure
        slope = entering * slope_in + 2 * out * fall_out + path * canister * slope_out
        step = (driven * fall_in - out * pressure * fall_out) / slope
        pressure = np.minimum(np.maximum(pressure + step, canister), ambient)
    air.handpiece = pressure
    square = np.maximum(driven * (fall_in - slope_in * step / ambient), 0.0)
    smooth = entering * _SMOOTH_PA + 1e-30
    inverse = 1 / np.sqrt(square + smooth)
    unit = np.sqrt(2 / net.gas_heat) * inverse
    steep = 0.5 + 0.5 * smooth * inverse * inverse
    return unit * square, unit * steep * -entering * slope_in * (out * slope_out / slope)


def _inflow(area: Array, pressure: Array, net: Openings) -> tuple[Array, Array]:
    """Flow from the room through an orifice, and its slope by the pressure behind."""
    fall, slope = gas.discharge_with_slope(1 - pressure / net.ambient)
    smooth = _SMOOTH_PA / net.ambient
    inverse = 1 / np.sqrt(fall + smooth)
    unit = area * np.sqrt(2 / net.gas_heat) * inverse
    return unit * net.ambient * fall, unit * slope * (-0.5 - 0.5 * smooth * inverse * inverse)


def _filter(air: Pressures, net: Openings) -> tuple[Array, Array, Array]:
    """Flow through the intake filter, either way, and its slopes by both pressures."""
    drop = air.canister - air.inlet
    root = np.sqrt(net.linear * net.linear + 4 * net.quadratic * np.abs(drop))
    per_heat = 0.5 / net.gas_heat
    flow = 2 * drop / (net.linear + root) * per_heat
    mean = air.canister + air.inlet
    steep = mean * per_heat / root
    return flow * mean, flow + steep, flow - steep


def _pump(air: Pressures, net: Openings, pump: Compression) -> tuple[Array, Array]:
    """Flow of the pump and its slope by the inlet pressure; notes the gas power."""
    ratio = air.outlet / air.inlet
    expanded = pump.clearance * ratio**pump.inverse_exponent
    full = 1 + pump.clearance
    swept = net.swept * np.maximum(full - expanded, 0.0)
    share = 1 - pump.inverse_exponent
    air.gas_power = air.inlet * swept * (ratio * pump.clearance / expanded - 1) / share
    flow = air.inlet * swept / net.gas_heat - net.valve_leak * (air.outlet - air.inlet)
    return flow, net.swept * (full - share * expanded) / net.gas_heat + net.valve_leak
