"""The filter index of a session and how it moves: dP over the clean type's dP at the same flow, summed over samples.

    FI = (sum dP - R2 sum Q^2) / (R1 sum (mu/mu0) Q)        Q = flow at the mean pressure in the filter

A ratio of sums is not biased by the noise of single samples. The drop follows the flow at once, so every pumping sample
with enough flow counts, whatever the tip does. Without a flow sensor the flow of the pump's curve stands in, for open
tips only: there the regulator passes least.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from dermafleet.physics import gas
from dermafleet.physics.machine import Machine
from services.alerts.features import nominal, signals
from services.alerts.features.types import Segment
from services.alerts.observation import Block, Floats

MIN_FLOW_LPM = 4.0
MIN_PRESSURE_KPA = 3.0
MAX_BINS = 32
FIRST_WIDTH_MS = 15_000
MIN_SAMPLES_MS = 3_000
"""Less pumping than this gives no index."""
QUARTER = 0.25
EXHAUST_KPA = 0.5
"""Usual pressure behind the pump, where it is not measured."""
_LITRES = 60_000.0
"""L/min per m3/s."""
_DP, _VISCOUS, _SQUARE, _FLOW, _MS = range(5)
_FIELDS = 5


class State(msgspec.Struct):
    """Sums over equal spans of pumping time; whole numbers of 1/`signals.GRID`, weighted by ms.

    Attributes:
        width_ms: length of a span; doubled when there are too many.
        bins: per span dP, viscosity ratio x flow, flow squared, flow (kPa, L/min), and the weight.
    """

    width_ms: int = FIRST_WIDTH_MS
    bins: list[list[float]] = []


def take(
    state: State,
    block: Block,
    counted: NDArray[np.int64],
    pump_ms: NDArray[np.int64],
    otherwise_kpa: float,
    *,
    has_vacuum: bool = True,
) -> None:
    """Show samples; changes ``state``.

    Args:
        block: samples of one component.
        counted: shape (n,), ms that each sample stands for; 0 where the pump is off.
        pump_ms: shape (n,), pumping time at each sample.
        otherwise_kpa: ambient pressure where it is not measured.
        has_vacuum: False for a rig, which blows through its filter.
    """
    dp, flow = block.channels.get("filter_dp_kpa"), block.channels.get("flow_lpm")
    if dp is None or flow is None:
        return
    pressure = signals.ambient(block, otherwise_kpa) + dp / 2
    if has_vacuum:
        pressure -= vacuum_behind(block, dp)
    used = np.flatnonzero((counted > 0) & (flow > MIN_FLOW_LPM) & (pressure > MIN_PRESSURE_KPA))
    if not len(used):
        return
    celsius = block.channel("ambient_temp_c")[used]
    kelvin = nominal.ZERO_CELSIUS_K + np.where(np.isnan(celsius), nominal.STANDARD_C, celsius)
    weight = counted[used].astype(np.float64)
    actual = flow[used] * (signals.STANDARD_KPA / gas.STANDARD_TEMPERATURE_K) * kelvin / pressure[used]
    rows = np.stack((dp[used], actual * gas.viscosity(kelvin) / gas.STANDARD_VISCOSITY, np.square(actual), actual))
    rows = np.concatenate((signals.whole(rows) * weight, weight[np.newaxis]))
    _fit(state, int(pump_ms[used[-1]]))
    number = pump_ms[used] // state.width_ms
    edges = signals.edges(number)
    sums = np.add.reduceat(rows, edges, axis=1).T
    for i, total in zip(number[edges].tolist(), sums.tolist(), strict=True):
        _add(state, i, total)


def vacuum_behind(block: Block, dp_kpa: Floats) -> Floats:
    """Vacuum behind the filter, kPa, shape (n,): at the pump inlet, else by the handpiece, to which a hose adds little.

    NaN where neither was measured.
    """
    inlet = block.channel("vacuum_inlet_kpa")
    return np.where(np.isnan(inlet), block.channel("vacuum_handpiece_kpa") + dp_kpa, inlet)


def take_open(state: State, segment: Segment, since_ms: int, machine: Machine, at: nominal.Conditions) -> None:
    """Show an open segment that began ``since_ms`` into the session; changes ``state``. Unused if flow is measured."""
    means = segment.mean
    if "flow_lpm" in means or "filter_dp_kpa" not in means or "vacuum_inlet_kpa" not in means:
        return
    vacuum, dp = means["vacuum_inlet_kpa"], means["filter_dp_kpa"]
    exhaust = means.get("exhaust_dp_kpa", EXHAUST_KPA)
    pumped = nominal.curve(machine, vacuum, exhaust, at).flow_lpm
    flow = max(pumped - bleed_lpm(machine, means.get("setpoint_kpa"), vacuum, at), 0.0)
    ratio = signals.STANDARD_KPA / (at.ambient_kpa - vacuum + dp / 2) * at.temperature_k / gas.STANDARD_TEMPERATURE_K
    actual = flow * ratio
    viscous = actual * float(gas.viscosity(at.temperature_k)) / gas.STANDARD_VISCOSITY
    weight = round(1000 * segment.settled_s)
    whole = [round(value * signals.GRID) * weight for value in (dp, viscous, actual**2, actual)]
    _fit(state, since_ms)
    _add(state, since_ms // state.width_ms, [*map(float, whole), float(weight)])


def bleed_lpm(machine: Machine, setpoint_kpa: float | None, vacuum_kpa: float, at: nominal.Conditions) -> float:
    """Flow through the regulator, standard L/min."""
    opening = float(np.asarray(machine.bleed_cd)) * nominal.bleed_for(machine, setpoint_kpa)
    ambient = 1000 * at.ambient_kpa
    inside = ambient - 1000 * min(max(vacuum_kpa, 0.0), at.ambient_kpa - 1)
    return float(gas.standard_lpm(gas.orifice_flow(opening, ambient, inside, at.temperature_k)))


def index(state: State, machine: Machine, zero_kpa: float) -> float | None:
    """Filter index over all samples, by the clean values of the type; None = too little was measured."""
    return _index(state.bins, machine, zero_kpa)


def first_and_last(state: State, machine: Machine, zero_kpa: float) -> tuple[float, float] | None:
    """Filter index in the first and in the last quarter of the pumping time."""
    filled = [bin_ for bin_ in state.bins if bin_[_MS]]
    count = max(round(QUARTER * len(filled)), 1)
    first, last = _index(filled[:count], machine, zero_kpa), _index(filled[-count:], machine, zero_kpa)
    return None if len(filled) < 2 or first is None or last is None else (first, last)


def slope(state: State, machine: Machine, zero_kpa: float) -> float | None:
    """Change of the filter index per hour of pumping: weighted least squares over the spans; None = fewer than four."""
    points = [
        (i * state.width_ms / 3.6e6, value, bin_[_MS])
        for i, bin_ in enumerate(state.bins)
        if (value := _index([bin_], machine, zero_kpa)) is not None
    ]
    if len(points) < 4:
        return None
    hours, values, weights = np.array(points).T
    centre = np.average(hours, weights=weights)
    spread = np.sum(weights * np.square(hours - centre))
    return float(np.sum(weights * (hours - centre) * values) / spread)


def mean_flow(state: State) -> float | None:
    """Mean flow at the mean pressure in the filter, actual L/min."""
    total = np.sum(state.bins, axis=0) if state.bins else np.zeros(_FIELDS)
    return float(total[_FLOW] / total[_MS] / signals.GRID) if total[_MS] else None


def mean_drop(state: State, zero_kpa: float) -> float | None:
    """Mean pressure drop over the same samples, kPa."""
    total = np.sum(state.bins, axis=0) if state.bins else np.zeros(_FIELDS)
    return float(total[_DP] / total[_MS] / signals.GRID) - zero_kpa if total[_MS] else None


def _index(bins: list[list[float]], machine: Machine, zero_kpa: float) -> float | None:
    if not bins:
        return None
    total = np.sum(bins, axis=0)
    if total[_MS] < MIN_SAMPLES_MS:
        return None
    clean = float(np.asarray(machine.filter_r1)) / 1000 / _LITRES
    quadratic = float(np.asarray(machine.filter_r2)) / 1000 / _LITRES**2
    drop = total[_DP] - zero_kpa * signals.GRID * total[_MS] - quadratic * total[_SQUARE]
    return float(drop / (clean * total[_VISCOUS]))


def _fit(state: State, pump_ms: int) -> None:
    """Double the spans until this time has one."""
    while pump_ms // state.width_ms >= MAX_BINS:
        state.width_ms *= 2
        padded = [*state.bins, [0.0] * _FIELDS]
        state.bins = [
            [a + b for a, b in zip(padded[i], padded[i + 1], strict=True)] for i in range(0, len(state.bins), 2)
        ]


def _add(state: State, number: int, total: list[float]) -> None:
    while len(state.bins) <= number:
        state.bins.append([0.0] * _FIELDS)
    state.bins[number] = [a + b for a, b in zip(state.bins[number], total, strict=True)]
