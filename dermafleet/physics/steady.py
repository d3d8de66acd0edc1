"""Steady operating points of machines, many at once: where the pump's curve meets the network's.

The unknown is the canister pressure. All else follows from it without iteration but the handpiece (one quadratic start
and Newton steps) and the exhaust (a contraction); a bracketed secant search then balances pump against network.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dermafleet.physics import filters, gas, motor, pump
from dermafleet.physics.gas import Array, Real
from dermafleet.physics.machine import Machine

State = Literal["open", "contact", "capped", "dead_head", "off"]
"""capped: feed pinched, regulator as set. dead_head: capped with the regulator shut."""

_EXHAUST_STEPS = 4
_HANDPIECE_STEPS = 3
_SEARCH_STEPS = 40
_PRESSURE_TOLERANCE = 0.02  # Pa


@dataclass(frozen=True, slots=True)
class Operating:
    """One operating point per element, in the units of the channels; every field has the broadcast shape.

    Attributes:
        vacuum_inlet_kpa, vacuum_canister_kpa, vacuum_handpiece_kpa: below ambient.
        filter_dp_kpa, exhaust_dp_kpa: drops across the intake and the exhaust filter.
        flow_lpm: through the intake filter.
        pump_flow_lpm: through the pump, with regulator and clean-side leak.
        bleed_lpm: through the regulator.
        feed_lpm: air through the crystal feed.
        motor_current_a: rms.
        power_w, heat_w: electrical power, and its share that warms the pump.
        pump_rise_k: settled temperature of the pump above the room.
    """

    vacuum_inlet_kpa: Array
    vacuum_canister_kpa: Array
    vacuum_handpiece_kpa: Array
    filter_dp_kpa: Array
    exhaust_dp_kpa: Array
    flow_lpm: Array
    pump_flow_lpm: Array
    bleed_lpm: Array
    feed_lpm: Array
    motor_current_a: Array
    power_w: Array
    heat_w: Array
    pump_rise_k: Array


@dataclass(frozen=True, slots=True)
class _Circuit:
    """The network of machines in one state: effective areas (discharge coefficient times area) and resistances."""

    ambient: Array
    temperature: Array
    entry: Array
    feed: Array
    path: Array
    leak_dirty: Array
    leak_clean: Array
    bleed: Array
    filter_r1: Array
    filter_r2: Array
    exhaust: Array
    displacement: Array
    clearance: Array
    exponent: Array
    valve_leak: Array


@dataclass(frozen=True, slots=True)
class _Balance:
    """Everything that follows from an assumed canister pressure."""

    handpiece: Array
    canister: Array
    inlet: Array
    outlet: Array
    through_filter: Array
    through_pump: Array

    surplus: Array
    """What the pump moves beyond what the network lets in, kg/s; rises with the canister pressure."""


def solve(
    machine: Machine,
    state: State,
    ambient_pa: Real = gas.STANDARD_PRESSURE_PA,
    mains_v: Real = 230.0,
    temperature_k: Real = gas.STANDARD_TEMPERATURE_K,
) -> Operating:
    """Settled operating points.

    Args:
        machine: parameters; its fields, and the arguments below, broadcast against each other.
        state: of tip and pump.
        ambient_pa: room pressure, Pa.
        mains_v: V rms.
        temperature_k: of the room and of the gas, K.

    Returns:
        Finite values for every finite machine.
    """
    speed = motor.relative_speed(mains_v / machine.mains_nominal_v, machine.slip)
    if state == "off":
        speed = speed * 0.0
    circuit = _circuit(machine, state, ambient_pa, temperature_k, speed)
    balance = _settle(circuit)
    return _operating(machine, circuit, balance, mains_v, speed, running=state != "off")


def bleed_for_contact(
    machine: Machine,
    vacuum_inlet_kpa: Real,
    ambient_pa: Real = gas.STANDARD_PRESSURE_PA,
    mains_v: Real = 230.0,
    temperature_k: Real = gas.STANDARD_TEMPERATURE_K,
) -> Array:
    """Opening of the regulator at which a machine in contact has this vacuum at the pump inlet.

    Returns:
        m2; 0 where the machine does not reach it with the regulator shut.
    """
    circuit, balance = _contact_at(machine, vacuum_inlet_kpa, ambient_pa, mains_v, temperature_k)
    per_area = machine.bleed_cd * gas.orifice_flow(1.0, circuit.ambient, balance.inlet, circuit.temperature)
    opening: Array = np.maximum(balance.surplus, 0.0) / np.maximum(per_area, 1e-9)
    return opening


def contact_at(
    machine: Machine,
    vacuum_inlet_kpa: Real,
    ambient_pa: Real = gas.STANDARD_PRESSURE_PA,
    mains_v: Real = 230.0,
    temperature_k: Real = gas.STANDARD_TEMPERATURE_K,
) -> Operating:
    """Operating points in contact that have this vacuum at the pump inlet, whatever the regulator's opening.

    Returns:
        ``bleed_lpm`` is what the regulator has to let in for it; negative where the machine cannot reach the vacuum.
    """
    circuit, balance = _contact_at(machine, vacuum_inlet_kpa, ambient_pa, mains_v, temperature_k)
    speed = motor.relative_speed(mains_v / machine.mains_nominal_v, machine.slip)
    operating = _operating(machine, circuit, balance, mains_v, speed, running=True)
    return replace(operating, bleed_lpm=operating.bleed_lpm + gas.standard_lpm(balance.surplus))


def _contact_at(
    machine: Machine, vacuum_inlet_kpa: Real, ambient_pa: Real, mains_v: Real, temperature_k: Real
) -> tuple[_Circuit, _Balance]:
    """Network in contact with the regulator shut, balanced against the vacuum instead of the pump."""
    speed = motor.relative_speed(mains_v / machine.mains_nominal_v, machine.slip)
    circuit = _circuit(machine.with_(bleed_m2=0.0), "contact", ambient_pa, temperature_k, speed)
    target = circuit.ambient - 1000 * np.asarray(vacuum_inlet_kpa)

    def above(canister: Array) -> Array:
        difference: Array = _balance(circuit, canister).inlet - target
        return difference

    return circuit, _balance(circuit, _search(above, circuit.ambient))


_STEPS = 200
"""Of pressure, over which the time of a pump-down is summed."""


def pump_down_s(
    machine: Machine,
    vacuum_kpa: float,
    ambient_pa: Real = gas.STANDARD_PRESSURE_PA,
    mains_v: Real = 230.0,
    *,
    volume_m3: Real | None = None,
    temperature_k: Real = gas.STANDARD_TEMPERATURE_K,
) -> Array:
    """Time from ambient pressure to a vacuum with the tip capped and the feed pinched, s.

    Args:
        machine: parameters; the regulator is as set (``bleed_m2``).
        vacuum_kpa: to reach, at canister and pump inlet alike.
        volume_m3: total gas volume; by default that of handpiece, canister and pump inlet.

    Returns:
        Infinite where the vacuum is not reached.
    """
    speed = motor.relative_speed(mains_v / machine.mains_nominal_v, machine.slip)
    circuit = _circuit(machine, "capped", ambient_pa, temperature_k, speed)
    volume = np.asarray(_volume(machine) if volume_m3 is None else volume_m3)
    shares = (np.arange(_STEPS) + 0.5).reshape(-1, *[1] * circuit.ambient.ndim) / _STEPS
    pressure = circuit.ambient - 1000 * vacuum_kpa * shares
    _, flow = _through_pump(circuit, pressure)
    surplus = flow - _into_clean(circuit, pressure) - _into_canister(circuit, pressure)
    seconds = volume * (1000 * vacuum_kpa / _STEPS) / (gas.GAS_CONSTANT * circuit.temperature)
    total: Array = np.where(surplus > 0, seconds / np.where(surplus > 0, surplus, 1.0), np.inf).sum(axis=0)
    return total


def leak_down_kpa_s(
    machine: Machine,
    vacuum_kpa: Real,
    ambient_pa: Real = gas.STANDARD_PRESSURE_PA,
    *,
    volume_m3: Real | None = None,
    temperature_k: Real = gas.STANDARD_TEMPERATURE_K,
) -> Array:
    """Rate at which the vacuum falls after the pump has stopped, tip capped, feed pinched and regulator shut, kPa/s.

    A check valve keeps exhaust and pump away; what enters are the leaks on both sides of the intake filter.
    """
    circuit = _circuit(machine.with_(bleed_m2=0.0), "capped", ambient_pa, temperature_k, 0.0)
    pressure = circuit.ambient - 1000 * np.asarray(vacuum_kpa)
    entering = _into_clean(circuit, pressure) + _into_canister(circuit, pressure)
    volume = _volume(machine) if volume_m3 is None else volume_m3
    rate: Array = entering * gas.GAS_CONSTANT * circuit.temperature / volume / 1000
    return rate


def _volume(machine: Machine) -> Real:
    return machine.handpiece_m3 + machine.canister_m3 + machine.inlet_m3


def _circuit(machine: Machine, state: State, ambient_pa: Real, temperature_k: Real, speed: Real) -> _Circuit:
    opening = {"open": 1.0, "contact": 1 - machine.seal, "off": 1.0}.get(state, 0.0)
    pinched = state in ("capped", "dead_head")
    feed = 0.0 if pinched else machine.feed_cd * machine.feed_m2 * machine.feed_area
    fitted = 1 - machine.filter_missing
    values = np.broadcast_arrays(
        ambient_pa,
        temperature_k,
        machine.tip_cd * machine.tip_m2 * opening + feed,
        feed,
        machine.return_cd * machine.return_m2 * machine.return_area,
        machine.leak_cd * machine.leak_dirty_m2,
        machine.leak_cd * machine.leak_clean_m2,
        0.0 if state == "dead_head" else machine.bleed_cd * machine.bleed_m2,
        fitted * filters.resistance(machine.filter_r1, machine.filter_load, temperature_k),
        fitted * machine.filter_r2,
        filters.resistance(machine.exhaust_r1, machine.exhaust_load, temperature_k),
        machine.displacement_m3s * machine.displacement * speed,
        machine.clearance,
        machine.exponent,
        machine.valve_leak,
    )
    return _Circuit(*(np.asarray(value, dtype=np.float64) for value in values))


def _settle(circuit: _Circuit) -> _Balance:
    balance: _Balance

    def surplus(canister: Array) -> Array:
        nonlocal balance
        balance = _balance(circuit, canister)
        return balance.surplus

    _search(surplus, circuit.ambient)
    return balance


def _balance(circuit: _Circuit, canister: Array) -> _Balance:
    handpiece = _handpiece(circuit, canister)
    drawn = gas.orifice_flow(circuit.entry, circuit.ambient, handpiece, circuit.temperature)
    through_filter = np.asarray(drawn + _into_canister(circuit, canister))
    filter_ = circuit.filter_r1, circuit.filter_r2
    inlet = np.asarray(filters.pressure_behind(canister, through_filter, *filter_, circuit.temperature))
    outlet, through_pump = _through_pump(circuit, inlet)
    surplus = np.asarray(through_pump - _into_clean(circuit, inlet) - through_filter)
    return _Balance(handpiece, canister, inlet, outlet, through_filter, through_pump, surplus)


def _handpiece(circuit: _Circuit, canister: Array) -> Array:
    """Pressure between two orifices in series, Pa: where the squares of both flows are equal, by Newton's method."""
    entry, path = np.square(circuit.entry), np.square(np.maximum(circuit.path, 1e-12))
    ambient = circuit.ambient
    entering, behind = entry * ambient, path * canister
    driven = entering * ambient
    pressure: Array = np.sqrt((driven + behind * canister) / (entry + path))
    for _ in range(_HANDPIECE_STEPS):
        fall_in, slope_in = gas.discharge_with_slope(1 - pressure / ambient)
        fall_out, slope_out = gas.discharge_with_slope(1 - canister / pressure)
        out = path * pressure * fall_out
        slope = entering * slope_in + 2 * out + behind * slope_out
        moved = pressure + (driven * fall_in - out * pressure) / np.maximum(slope, 1e-30)
        pressure = np.minimum(np.maximum(moved, canister), ambient)
    return pressure


def _into_canister(circuit: _Circuit, canister: Array) -> Real:
    return gas.orifice_flow(circuit.leak_dirty, circuit.ambient, canister, circuit.temperature)


def _into_clean(circuit: _Circuit, inlet: Array) -> Real:
    return gas.orifice_flow(circuit.bleed + circuit.leak_clean, circuit.ambient, inlet, circuit.temperature)


def _through_pump(circuit: _Circuit, inlet: Array) -> tuple[Array, Array]:
    """Outlet pressure, Pa, and mass flow, kg/s, of the pump at an inlet pressure."""
    outlet = circuit.ambient
    for step in range(_EXHAUST_STEPS):
        swept = pump.swept_flow(circuit.displacement, circuit.clearance, circuit.exponent, outlet / inlet)
        flow = pump.pump_flow(swept, circuit.valve_leak, inlet, outlet, circuit.temperature)
        if step < _EXHAUST_STEPS - 1:
            blown = np.maximum(flow, 0.0)
            outlet = np.asarray(filters.pressure_before(circuit.ambient, blown, circuit.exhaust, circuit.temperature))
    return outlet, np.asarray(flow)


def _search(function: Callable[[Array], Array], ambient: Array) -> Array:
    """Root of a rising function of the canister pressure, by bracketed secants (Anderson and Bjorck)."""
    low, high = 0.01 * ambient, ambient.copy()
    at_low, at_high = np.minimum(function(low), -1e-12), np.maximum(function(high), 0.0)
    guess, was_above = high, np.zeros(ambient.shape, dtype=bool)
    for step in range(_SEARCH_STEPS):
        previous, guess = guess, high - at_high * (high - low) / (at_high - at_low)
        value = function(guess)
        above = value > 0
        again = (above == was_above) & (step > 0)
        replaced = np.where(above, at_high, at_low)
        weight = 1 - value / np.where(replaced == 0, 1.0, replaced)
        weight = np.where(again, np.where(weight > 0, weight, 0.5), 1.0)
        at_low = np.where(above, at_low * weight, np.minimum(value, -1e-30))
        at_high = np.where(above, value, at_high * weight)
        low, high = np.where(above, low, guess), np.where(above, guess, high)
        was_above = above
        if np.all(np.minimum(np.abs(guess - previous), high - low) < _PRESSURE_TOLERANCE):
            break
    return guess


def _operating(
    machine: Machine, circuit: _Circuit, balance: _Balance, mains_v: Real, speed: Real, *, running: bool
) -> Operating:
    ambient, inlet, outlet = circuit.ambient, balance.inlet, balance.outlet
    ratio = outlet / inlet
    swept = pump.swept_flow(circuit.displacement, circuit.clearance, circuit.exponent, ratio)
    gas_w = pump.gas_power(swept, circuit.exponent, inlet, ratio)
    share = mains_v / machine.mains_nominal_v
    power = motor.electrical_power(gas_w, machine.friction_w * machine.friction, speed, machine.motor_efficiency)
    amperes = motor.current(power, mains_v, machine.magnetising_a, share) if running else 0.0
    heat = motor.heating_power(power, gas_w)
    pumped = gas.standard_lpm(np.maximum(balance.through_pump, 0.0))
    rise = heat * motor.thermal_resistance(machine.thermal_k_per_w, pumped, machine.cooling)
    bleed = gas.orifice_flow(circuit.bleed, ambient, inlet, circuit.temperature)
    feed = gas.orifice_flow(circuit.feed, ambient, balance.handpiece, circuit.temperature)
    columns = (
        (ambient - inlet) / 1000,
        (ambient - balance.canister) / 1000,
        (ambient - balance.handpiece) / 1000,
        (balance.canister - inlet) / 1000,
        (outlet - ambient) / 1000,
        gas.standard_lpm(balance.through_filter),
        pumped,
        gas.standard_lpm(bleed),
        gas.standard_lpm(feed),
        amperes,
        power,
        heat,
        rise,
    )
    return Operating(*np.broadcast_arrays(*columns))
