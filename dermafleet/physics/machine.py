"""The parameters of a machine: one record whose every field is a number or an array that broadcasts with the others.

A fault is a machine with other parameters: see the second half of the fields and docs/physics.md.
"""

from dataclasses import dataclass, fields, replace

from dermafleet.physics.gas import Real, hole_m2

_NOMINAL_M3S = 30e-3 / 60  # 30 L/min actual, at which the resistances of filters are stated
_TIP_M2 = hole_m2(5.0)
_FEED_M2 = hole_m2(1.2)
_RETURN_M2 = hole_m2(4.5)
_BLEED_M2 = hole_m2(0.88)


@dataclass(frozen=True, slots=True)
class Machine:
    """Design and condition of machines.

    Areas are geometric; the flow sees them times their discharge coefficient. The defaults are the crystal machine M1.

    Attributes:
        displacement_m3s: swept flow of the pump at nominal speed, m3/s.
        clearance, exponent: of the pump's compression.
        friction_w, motor_efficiency, magnetising_a, mains_nominal_v, slip: of the motor.
        thermal_k_per_w, thermal_j_per_k: of the pump, to the room.
        trip_c, reset_c: winding temperature at which the thermal cut-out opens and closes, Cel.
        filter_r1, filter_r2: intake filter, clean, Pa per m3/s and Pa per (m3/s)^2.
        exhaust_r1: exhaust filter, clean, Pa per m3/s.
        tip_m2, feed_m2, return_m2: openings of tip, crystal feed and return path.
        tip_cd, feed_cd, return_cd, bleed_cd, leak_cd: discharge coefficients.
        handpiece_m3, canister_m3, inlet_m3, outlet_m3: gas volumes.
        displacement: factor of the swept flow; worn < 1.
        valve_leak: kg/s per Pa back through the valves of the pump.
        friction: factor of the pump's friction; dragging bearings > 1.
        cooling: factor of the thermal resistance; 1.6 = fan blocked.
        filter_load, exhaust_load: filter index less one.
        filter_missing: share of the intake filter's resistance that is gone; 0 = fitted, 0.9 = torn or left out.
        return_area, feed_area: factors of the openings; blocked < 1, empty jar :data:`EMPTY_JAR_FEED`.
        leak_dirty_m2, leak_clean_m2: leaks before and behind the intake filter.
        bleed_m2: opening of the regulator.
        seal: share of the tip that the skin closes in contact.
    """

    displacement_m3s: Real = 32e-3 / 60
    clearance: Real = 0.121
    exponent: Real = 1.2
    friction_w: Real = 38.0
    motor_efficiency: Real = 0.58
    magnetising_a: Real = 0.42
    mains_nominal_v: Real = 230.0
    slip: Real = 0.1107
    thermal_k_per_w: Real = 0.30
    thermal_j_per_k: Real = 3000.0
    trip_c: Real = 115.0
    reset_c: Real = 85.0
    filter_r1: Real = 480 / _NOMINAL_M3S
    filter_r2: Real = 120 / _NOMINAL_M3S**2
    exhaust_r1: Real = 500 / _NOMINAL_M3S
    tip_m2: Real = _TIP_M2
    feed_m2: Real = _FEED_M2
    return_m2: Real = _RETURN_M2
    tip_cd: Real = 0.7
    feed_cd: Real = 0.75
    return_cd: Real = 0.75
    bleed_cd: Real = 0.7
    leak_cd: Real = 0.65
    handpiece_m3: Real = 0.05e-3
    canister_m3: Real = 0.6e-3
    inlet_m3: Real = 0.3e-3
    outlet_m3: Real = 0.3e-3

    displacement: Real = 1.0
    valve_leak: Real = 0.0
    friction: Real = 1.0
    cooling: Real = 1.0
    filter_load: Real = 0.0
    filter_missing: Real = 0.0
    exhaust_load: Real = 0.0
    return_area: Real = 1.0
    feed_area: Real = 1.0
    leak_dirty_m2: Real = 0.0
    leak_clean_m2: Real = 0.0
    bleed_m2: Real = _BLEED_M2
    seal: Real = 0.98

    def with_(self, **changes: Real) -> "Machine":
        """This machine with some fields changed."""
        return replace(self, **changes)


FIELDS: tuple[str, ...] = tuple(field.name for field in fields(Machine))

EMPTY_JAR_FEED = 1.15
"""Factor of ``feed_area`` when no crystals load the feed line."""
FULL_CANISTER_SHARE = 0.95
"""Liquid over canister volume at which the float of a hydra machine closes."""

M1 = Machine()
DIAMOND = Machine(feed_m2=0.0, seal=0.93)
HYDRA = Machine()
