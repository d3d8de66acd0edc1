"""What every feature needs of a block before it: whether the pump runs, the pauses between samples, exact sums.

Sums of samples are taken over integers (values in units of 1/`GRID`), which floats add without rounding: a result does
not depend, in its last bit either, on how the log was cut into blocks.
"""

import numpy as np
from numpy.typing import NDArray

from dermafleet.contracts.channels import CHANNELS
from dermafleet.physics.gas import STANDARD_PRESSURE_PA
from services.alerts.observation import Block, Floats

NAMES: tuple[str, ...] = tuple(channel.name for channel in CHANNELS)
GAUGES = frozenset({"vacuum_inlet_kpa", "vacuum_handpiece_kpa", "filter_dp_kpa", "exhaust_dp_kpa", "flow_lpm"})
"""Channels that must read 0 when the pump stands."""

GRID = 8192.0
STANDARD_KPA = STANDARD_PRESSURE_PA / 1000
MAX_PAUSE_MS = 5_000
"""Samples further apart leave unknown what happened between them."""

PUMP_CURRENT_A = 0.1
PUMP_FLOW_LPM = 2.0
PUMP_VACUUM_KPA = 0.9
"""Above these the pump runs, where `pump_on` is missing; an open tip gives 0.5 A, 30 L/min and 1.3 kPa or more."""


def pumping(block: Block) -> NDArray[np.bool_]:
    """Whether the pump runs, shape (n,): by `pump_on`, else the motor current, else flow or inlet vacuum."""
    told = block.channels.get("pump_on")
    if told is not None:
        missing = np.isnan(told)
        if not missing.any():
            return np.asarray(told >= 0.5)
        return np.where(missing, _derived(block), told >= 0.5)
    return _derived(block)


def _derived(block: Block) -> NDArray[np.bool_]:
    current = block.channel("motor_current_a")
    moves = block.channel("flow_lpm") > PUMP_FLOW_LPM
    moves |= block.channel("vacuum_inlet_kpa") > PUMP_VACUUM_KPA
    return np.where(np.isnan(current), moves, current > PUMP_CURRENT_A)


def uptimes(block: Block) -> NDArray[np.int64]:
    """Uptime of each sample, ms, shape (n,)."""
    return block.at_ms + (block.up_ms - int(block.at_ms[0]))


def ambient(block: Block, otherwise_kpa: float = STANDARD_KPA) -> Floats:
    """Ambient pressure, kPa, shape (n,); where it is not measured, the value given."""
    measured = block.channels.get("ambient_kpa")
    if measured is None:
        return np.full(len(block.at_ms), otherwise_kpa)
    return np.where(np.isnan(measured), otherwise_kpa, measured)


def whole(values: Floats) -> Floats:
    """Values, none of them NaN, as whole numbers of 1/`GRID`: their sums are exact."""
    scaled: Floats = np.rint(values * GRID)
    return scaled


def edges(*numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where a run of equal numbers begins (in any of the arrays, all of one length above 0), 0 included."""
    begins = np.empty(len(numbers[0]), dtype=np.bool_)
    begins[0] = True
    np.not_equal(numbers[0][1:], numbers[0][:-1], out=begins[1:])
    for more in numbers[1:]:
        begins[1:] |= more[1:] != more[:-1]
    return np.flatnonzero(begins)


def pauses(up_ms: NDArray[np.int64], before_ms: int) -> NDArray[np.int64]:
    """Time from each sample's predecessor, ms, shape (n,); the first one's was at ``before_ms``."""
    result = np.empty_like(up_ms)
    result[0] = up_ms[0] - before_ms
    np.subtract(up_ms[1:], up_ms[:-1], out=result[1:])
    return result
