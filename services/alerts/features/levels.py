"""Where an open tip ends and contact begins on the inlet vacuum, for machines without a vacuum sensor at the handpiece.

The inlet vacuum of an open tip grows from 2 to 17 kPa as the filter clogs, and that of contact follows the operator's
set point, so both levels are followed: quantiles of the last `WINDOWS` windows of pumping. They change only where a
window of event time ends, hence not with the cut of the log into blocks.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.features import signals
from services.alerts.observation import Floats

WINDOW_MS = 10_000
WINDOWS = 4
"""40 s of a treatment hold several lifts."""
BINS, BIN = 128, 0.005
"""Of inlet vacuum over ambient pressure."""
LOW_SHARE, HIGH_SHARE = 0.01, 0.8
"""Even of short lifts this share of a treatment is spent with a fully open tip; contact is the larger part."""
APART = 0.03
"""Levels closer than this are one state."""
STEADY = 0.022
"""The open level wanders less than this between windows, unless it falls."""
LATER_RISE = 3
"""Windows that must agree before the open level is raised: a changed set point without a lift looks the same."""

CONTACT_SHARE, OPEN_SHARE = (0.12, 0.4), (0.08, 0.3)
CONTACT_MARGIN, OPEN_MARGIN = 0.022, 0.014
"""Contact begins above the open level by the larger of margin and share of the distance between both levels, and ends
below the lower pair. The larger shares are for a blocked machine, whose vacuum falls slowly when the tip is lifted."""
FREE, BLOCKED = 0.03, 0.12
"""Open levels of a clean and of a blocked machine."""


class State(msgspec.Struct):
    """Levels over ambient pressure and the counts they come from.

    Attributes:
        open, contact: the two levels; at first those of a clean machine at its middle set point.
        window: number of the unfinished window.
        counts: samples per bin of the unfinished window; empty = none.
        closed: the same of the last `WINDOWS` finished ones.
        lows: open levels that the last windows with both states asked for.
    """

    open: float = 0.023
    contact: float = 0.35
    window: int = 0
    counts: list[int] = []
    closed: list[list[int]] = []
    lows: list[float] = []


def thresholds(state: State, at_ms: NDArray[np.int64], ratio: Floats) -> tuple[Floats, Floats]:
    """Show pumping samples in order; changes ``state``.

    Args:
        at_ms: shape (n,), event time.
        ratio: shape (n,), inlet vacuum over ambient pressure.

    Returns:
        shapes (n,): contact begins above the first, ends below the second.
    """
    window = at_ms // WINDOW_MS
    above, below = np.empty(len(ratio)), np.empty(len(ratio))
    bins = np.minimum(np.maximum(ratio / BIN, 0), BINS - 1).astype(np.int64)
    start = 0
    for stop in [*signals.edges(window).tolist()[1:], len(ratio)]:
        if int(window[start]) != state.window:
            _roll(state, int(window[start]))
        above[start:stop] = state.open + max(CONTACT_MARGIN, _share(state, *CONTACT_SHARE))
        below[start:stop] = state.open + max(OPEN_MARGIN, _share(state, *OPEN_SHARE))
        counts = np.bincount(bins[start:stop], minlength=BINS)
        state.counts = (counts + state.counts if state.counts else counts).tolist()
        start = stop
    return above, below


def _share(state: State, free: float, blocked: float) -> float:
    """Part of the distance between both levels."""
    how = min(max((state.open - FREE) / (BLOCKED - FREE), 0.0), 1.0)
    return (free + how * (blocked - free)) * (state.contact - state.open)


def _roll(state: State, window: int) -> None:
    """End the window and let the levels follow."""
    state.window = window
    if state.counts:
        state.closed = [*state.closed[1 - WINDOWS :], state.counts]
    state.counts = []
    if not state.closed:
        return
    cumulated = np.cumsum(np.sum(state.closed, axis=0))
    shares = np.array([LOW_SHARE, 0.5, HIGH_SHARE]) * cumulated[-1]
    low, middle, high = ((np.searchsorted(cumulated, shares) + 0.5) * BIN).tolist()
    if high - low >= APART:
        state.lows = [*state.lows[1 - LATER_RISE :], low]
        if low < state.open or low > state.open + STEADY:
            # Where both states were there and the level known so far was not, a filter or a hose is blocked.
            state.open = low
        elif len(state.lows) == LATER_RISE:
            state.open = min(state.lows)
        state.contact = high
        return
    state.lows = []
    if middle <= state.open + STEADY:
        state.open = middle
    else:
        state.contact = max(middle, state.open + APART)
