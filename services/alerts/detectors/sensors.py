"""What is known of each sensor, whatever machine it sits in: its noise, its zero, and what it cannot read.

Numbers are those of the sensors that such machines have (docs/detectors.md); a value learned from the device itself
goes before them.
"""

from collections.abc import Mapping

import numpy as np

from services.alerts.detectors.frames import NAMES, ROW, Flags, Frames
from services.alerts.observation import Floats

NOISE: Mapping[str, float] = {
    "vacuum_inlet_kpa": 0.05,
    "motor_current_a": 0.003,
    "filter_dp_kpa": 0.01,
    "flow_lpm": 0.2,
    "vacuum_handpiece_kpa": 0.05,
    "mains_v": 0.3,
}
"""Electronic noise (one sigma) of sensors that are never still while the pump runs."""

SLOW_NOISE: Mapping[str, float] = {"ambient_kpa": 0.001, "pump_temp_c": 0.1, "ambient_temp_c": 0.05}
"""Likewise of sensors whose quantity may stand still: only their own noise, if it shows, tells that they live."""

ZERO: Mapping[str, tuple[float, float]] = {
    "vacuum_inlet_kpa": (1.0, 2.0),
    "motor_current_a": (0.04, 0.06),
    "filter_dp_kpa": (0.3, 0.8),
    "flow_lpm": (1.5, 3.0),
    "vacuum_handpiece_kpa": (1.0, 2.0),
    "exhaust_dp_kpa": (0.25, 0.4),
}
"""With the pump off these read zero. How far from the device's own zero is drift, and how far from nothing at all."""

VACUUM = frozenset({"vacuum_inlet_kpa", "vacuum_handpiece_kpa", "filter_dp_kpa"})
HELD_KPA = 6.0
"""More than a gauge drifts: soon after the pump's stop it is vacuum behind a check valve and a closed tip."""

_WITNESSES: tuple[tuple[str, float, tuple[tuple[str, float], ...]], ...] = (
    ("vacuum_inlet_kpa", 1.5, (("flow_lpm", 6.0), ("motor_current_a", 0.06))),
    ("vacuum_handpiece_kpa", 1.5, (("vacuum_inlet_kpa", 15.0), ("flow_lpm", 6.0))),
    ("flow_lpm", 1.5, (("vacuum_inlet_kpa", 15.0), ("motor_current_a", 0.04))),
    ("motor_current_a", 0.015, (("vacuum_inlet_kpa", 25.0), ("flow_lpm", 6.0))),
    ("exhaust_dp_kpa", 0.01, (("flow_lpm", 8.0),)),
)
"""A channel that stays within its range while all of these swing contradicts them: they sit on one pump curve.

A machine must have two of the channels at least; those that it lacks do not count.
"""

RUNNING_A = 0.05
"""Below it the motor stands still, whatever it was told."""
FLOWING_LPM = 8.0
SUCKING_KPA = 5.0
MAX_FLOW_LPM = 200.0
"""Several times what any pump of such machines moves."""
MAX_CURRENT_A = 4.0
"""Three times what such motors take at 115 V."""
DEAD_MAINS_V = 70.0
ROOM_C = (-5.0, 50.0)
PUMP_C = (-15.0, 150.0)
COLDER_THAN_ROOM_K = 10.0

NOISE_FLOOR = np.array([NOISE.get(name, SLOW_NOISE.get(name, 0.0)) for name in NAMES])
HAS_NOISE = NOISE_FLOOR > 0
IS_SLOW = np.array([name in SLOW_NOISE for name in NAMES])
ZERO_DRIFT = np.array([ZERO.get(name, (np.inf, np.inf))[0] for name in NAMES])
ZERO_LIMIT = np.array([ZERO.get(name, (np.inf, np.inf))[1] for name in NAMES])


def at_rest(frames: Frames) -> Flags:
    """Whether a gauge stands at what it reads with the pump off; shape (c, k)."""
    stands = (frames.deviation == 0) & (frames.count > 0)
    near: Flags = stands & (np.abs(frames.mean) < np.where(np.isfinite(ZERO_LIMIT), ZERO_LIMIT, 0.0)[:, None])
    return near


def contradicts(frames: Frames) -> Flags:
    """Whether a channel stands while those that must move with it swing; shape (c, k). Only where the pump runs."""
    swing = frames.high - frames.low
    result = np.zeros(swing.shape, dtype=np.bool_)
    pumping = frames.is_pumping
    for name, own, others in _WITNESSES:
        stands = pumping & (swing[ROW[name]] < own)
        if not stands.any():
            continue
        fitted = [(swing[ROW[other]], limit) for other, limit in others if np.isfinite(swing[ROW[other]]).any()]
        if fitted:
            result[ROW[name]] = stands & np.logical_and.reduce([~(values < limit) for values, limit in fitted])
    return result


def impossible(frames: Frames) -> Flags:
    """Whether a channel's mean is one that the quantity cannot have, given the others; shape (c, k)."""
    mean, result = frames.mean, np.zeros(frames.mean.shape, dtype=np.bool_)

    def of(name: str) -> Floats:
        row: Floats = mean[ROW[name]]
        return row

    inlet, handpiece, flow = of("vacuum_inlet_kpa"), of("vacuum_handpiece_kpa"), of("flow_lpm")
    ceiling = np.fmin(of("ambient_kpa") + 2.0, 104.0)
    pumping = frames.is_pumping
    works = pumping & ((flow > FLOWING_LPM) | (inlet > SUCKING_KPA) | (handpiece > SUCKING_KPA))
    is_inlet_alive, is_alive = (
        frames.deviation[ROW[name]] > NOISE[name] / 2 for name in ("vacuum_inlet_kpa", "vacuum_handpiece_kpa")
    )
    # one that ripples took its zero while a leak still held some vacuum; at its rail it would stand
    result[ROW["vacuum_inlet_kpa"]] = (
        (inlet > ceiling)
        | ((inlet < -1.5) & ~is_inlet_alive)
        | (pumping & (flow > 2 * FLOWING_LPM) & (inlet < 0.3) & ~is_inlet_alive)
    )
    result[ROW["vacuum_handpiece_kpa"]] = (handpiece > ceiling) | ((handpiece < -1.5) & ~is_alive)
    current = of("motor_current_a")
    result[ROW["motor_current_a"]] = (works & (current < RUNNING_A)) | (current > MAX_CURRENT_A)
    result[ROW["mains_v"]] = works & (of("mains_v") < DEAD_MAINS_V)
    result[ROW["flow_lpm"]] = (flow > MAX_FLOW_LPM) | (flow < -3.5)
    dp = of("filter_dp_kpa")
    result[ROW["filter_dp_kpa"]] = (dp < -0.9) | (pumping & (dp > inlet + 1.5) & is_inlet_alive)
    room, pump = of("ambient_temp_c"), of("pump_temp_c")
    result[ROW["ambient_temp_c"]] = (room < ROOM_C[0]) | (room > ROOM_C[1])
    is_cold = (room - pump > COLDER_THAN_ROOM_K) & ~result[ROW["ambient_temp_c"]]
    result[ROW["pump_temp_c"]] = (pump < PUMP_C[0]) | (pump > PUMP_C[1]) | is_cold
    return result
