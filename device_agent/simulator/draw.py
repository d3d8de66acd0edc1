"""Seeded draws of machines: no two are alike, and none is the model that the detectors know.

A machine's draw depends on its own seed alone, so that any machine of a batch can be run again by itself.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dermafleet.physics import filters
from dermafleet.physics.gas import Array
from dermafleet.physics.machine import Machine
from device_agent.simulator.plant import Quirks
from device_agent.simulator.sensors import PROBES, Probe

SPREAD = 0.15
"""Parameters lie evenly within this share of the model's."""

_DRAWN = (
    "displacement_m3s",
    "clearance",
    "friction_w",
    "magnetising_a",
    "thermal_k_per_w",
    "thermal_j_per_k",
    "filter_r1",
    "filter_r2",
    "exhaust_r1",
    "tip_m2",
    "feed_m2",
    "return_m2",
    "handpiece_m3",
    "canister_m3",
    "inlet_m3",
    "outlet_m3",
)

FINES_M = 10e-6
"""Grain of the dust that clogs: attrition fines."""
FILTER_M2 = 50e-4

_OFFSETS = {  # 1 sigma
    "vacuum_inlet_kpa": 0.3,
    "vacuum_handpiece_kpa": 0.3,
    "filter_dp_kpa": 0.15,
    "exhaust_dp_kpa": 0.15,
    "flow_lpm": 0.1,
    "motor_current_a": 0.002,
    "pump_temp_c": 0.5,
    "ambient_temp_c": 0.4,
    "ambient_kpa": 0.03,
    "mains_v": 0.5,
    "crystal_jar_g": 1.0,
    "canister_g": 1.0,
    "setpoint_kpa": 0.1,
}
_GAINS = {  # 1 sigma, relative
    "vacuum_inlet_kpa": 0.005,
    "vacuum_handpiece_kpa": 0.005,
    "filter_dp_kpa": 0.015,
    "exhaust_dp_kpa": 0.015,
    "flow_lpm": 0.02,
    "motor_current_a": 0.008,
    "mains_v": 0.005,
    "setpoint_kpa": 0.005,
}
_DRIFT_PER_YEAR = 0.001  # of the span
_LAG_SPREAD = 0.5


def draw_machines(base: Machine, seeds: Sequence[int], spread: float = SPREAD) -> Machine:
    """Machines around a model.

    Args:
        base: the model; scalar fields.
        seeds: one per machine.
        spread: largest relative difference.

    Returns:
        Every drawn field (n,); the others as in ``base``.
    """
    factors = 1 + spread * (2 * _uniform(seeds, 0, len(_DRAWN)) - 1)
    drawn = {name: getattr(base, name) * factors[at] for at, name in enumerate(_DRAWN)}
    return base.with_(**drawn)


def draw_quirks(base: Quirks, machines: Machine, seeds: Sequence[int]) -> Quirks:
    """Structural differences of machines, within what is usual.

    Args:
        base: ``crystal_loading``, ``waste_m3_per_g``, ``is_depth`` and ``has_float`` are taken from it.
        machines: as drawn; the dust that clogs a filter follows from its clean resistance.
        seeds: those of the machines.
    """
    unit = _uniform(seeds, 1, 7)
    dust = filters.cake_unit_kg(machines.filter_r1, FILTER_M2, filters.specific_resistance(FINES_M))
    return replace(
        base,
        polytropic=_between(unit[0], 1.03, 1.2),
        feed_noise_kpa=_between(unit[1], 1.0, 3.0),
        feed_noise_share=_between(unit[2], 0.2, 0.4),
        hysteresis=_between(unit[3], 0.01, 0.04),
        hysteresis_kpa=_between(unit[4], 1.0, 3.0),
        crystal_loading=base.crystal_loading * _between(unit[5], 1 - SPREAD, 1 + SPREAD),
        dust_unit_kg=dust * _between(unit[6], 1 - SPREAD, 1 + SPREAD),
    )


def draw_probes(seeds: Sequence[int]) -> dict[str, Probe]:
    """Sensors with offset, gain, drift, noise and lag of their own, by channel name; drawn fields (n,)."""
    normal, uniform = _normal(seeds, 2, 3 * len(PROBES)), _uniform(seeds, 3, 3 * len(PROBES))
    probes = {}
    for at, (name, probe) in enumerate(PROBES.items()):
        offset, gain, drift = np.clip(normal[3 * at : 3 * at + 3], -3.0, 3.0)
        noise, ripple, lag = uniform[3 * at : 3 * at + 3]
        errs = name in _OFFSETS
        probes[name] = replace(
            probe,
            offset=_OFFSETS.get(name, 0.0) * offset,
            gain=1 + _GAINS.get(name, 0.0) * gain,
            drift_per_year=_DRIFT_PER_YEAR * (probe.high - probe.low) * drift if errs else 0.0,
            noise=probe.noise * _between(noise, 1 - SPREAD, 1 + SPREAD),
            running_noise=probe.running_noise * _between(ripple, 0.5, 1.5),
            lag_s=probe.lag_s * _between(lag, 1 - _LAG_SPREAD, 1 + _LAG_SPREAD),
        )
    return probes


def _between(unit: Array, low: float, high: float) -> Array:
    return low + (high - low) * unit


def _uniform(seeds: Sequence[int], stream: int, count: int) -> Array:
    """(count, n) numbers in 0..1; column i depends on seeds[i] and the stream alone."""
    return np.stack([np.random.default_rng((seed, stream)).random(count) for seed in seeds], axis=1)


def _normal(seeds: Sequence[int], stream: int, count: int) -> Array:
    """(count, n) standard normal numbers, likewise."""
    return np.stack([np.random.default_rng((seed, stream)).standard_normal(count) for seed in seeds], axis=1)
