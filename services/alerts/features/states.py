"""In which state each sample was taken: pump off, tip open, in contact with skin, or capped.

Contact is told by the vacuum at the handpiece, which stays below 1 kPa with an open tip whatever the filter does, else
by the inlet vacuum relative to its own levels (`levels`); with hysteresis. Capped outside a self-test: no flow through
the filter, or an inlet vacuum that no contact gives (a jammed feed gives 0.68 of ambient, a closed tip 0.77), for 2 s.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.features import signals
from services.alerts.features.levels import State as Levels
from services.alerts.features.levels import thresholds
from services.alerts.features.types import State as Name
from services.alerts.observation import Block, Floats

OFF, OPEN, CONTACT, CAPPED = range(4)
NAMES: tuple[Name, ...] = ("off", "open", "contact", "capped")
_UNDECIDED = -1

HANDPIECE_CONTACT_KPA, HANDPIECE_OPEN_KPA = 3.5, 2.5
"""A poor seal at the lowest set point still gives 4.9 kPa; an open tip 0.7."""
CAPPED_FLOW_LPM = 1.5
"""Contact with a jammed feed still lets 3 L/min in past the skin."""
CAPPED_FLOW_RATIO = 0.1
"""Least inlet vacuum over ambient pressure: below it, no flow means a dead sensor."""
CAPPED_RATIO = 0.72
CAPPED_DELAY_MS = 2_000

Codes = NDArray[np.int8]


class State(msgspec.Struct):
    """What is carried from sample to sample.

    Attributes:
        code: state of the last sample before capping is considered.
        uncapped_up_ms: uptime of the last sample that did not look capped.
        levels: of the inlet vacuum.
    """

    code: int = OFF
    uncapped_up_ms: int = 0
    levels: Levels = msgspec.field(default_factory=Levels)


def classify(state: State, block: Block, up_ms: NDArray[np.int64], broken: NDArray[np.bool_]) -> Codes:
    """State of each sample; changes ``state``.

    Args:
        up_ms: shape (n,), uptimes.
        broken: shape (n,), True where nothing is known of what was just before the sample.

    Returns:
        shape (n,), codes as above.
    """
    on = signals.pumping(block)
    ambient = signals.ambient(block)
    inlet = block.channel("vacuum_inlet_kpa")
    codes = _decide(state, block, on, inlet / ambient)
    started = on & np.concatenate(([state.code == OFF], ~on[:-1]))
    codes[(started | broken) & (codes == _UNDECIDED)] = OPEN
    if codes[0] == _UNDECIDED:
        codes[0] = state.code
    codes = codes[_latest(codes != _UNDECIDED)]  # the first one is decided by now
    state.code = int(codes[-1])

    looks_capped = on & _looks_capped(block.channel("flow_lpm"), inlet / ambient)
    latest = _latest(~looks_capped | broken)
    uncapped = np.where(latest >= 0, up_ms[latest], state.uncapped_up_ms)
    state.uncapped_up_ms = int(uncapped[-1])
    return np.where(looks_capped & (up_ms - uncapped >= CAPPED_DELAY_MS), np.int8(CAPPED), codes)


def _decide(state: State, block: Block, on: NDArray[np.bool_], ratio: Floats) -> Codes:
    """Codes without capping; `_UNDECIDED` between both thresholds, or where neither vacuum is measured."""
    handpiece = block.channel("vacuum_handpiece_kpa")
    codes = np.full(len(ratio), _UNDECIDED, dtype=np.int8)
    codes[handpiece > HANDPIECE_CONTACT_KPA] = CONTACT
    codes[handpiece < HANDPIECE_OPEN_KPA] = OPEN
    blind = np.flatnonzero(on & np.isnan(handpiece) & ~np.isnan(ratio))
    if len(blind):
        above, below = thresholds(state.levels, block.at_ms[blind], ratio[blind])
        codes[blind[ratio[blind] > above]] = CONTACT
        codes[blind[ratio[blind] < below]] = OPEN
    codes[~on] = OFF
    return codes


def _looks_capped(flow_lpm: Floats, ratio: Floats) -> NDArray[np.bool_]:
    by_flow = (flow_lpm < CAPPED_FLOW_LPM) & (ratio > CAPPED_FLOW_RATIO)
    return np.where(np.isnan(flow_lpm), ratio > CAPPED_RATIO, by_flow)


def _latest(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each sample the index of the last marked one up to it; shape (n,); -1 where there is none."""
    return np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1))
