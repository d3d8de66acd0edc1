"""What the gauges read while the pump is off: every one of them should read zero.

A *rest* is a few seconds of samples with the pump off, from a while after its stop on, when the air has come in. A
treatment is followed by one, a self-test begins with one, and an idle machine gives one with each of its samples.
"""

from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.detectors.frames import NAMES, ROW, uptimes
from services.alerts.observation import Block, Floats

SETTLED_MS = 5_000
"""After the pump's stop the air needs some time to come in."""
RESTED_MS = 20_000
"""Behind a check valve and a closed tip it needs more; from here on every rest counts by itself."""
REST_MS = 4_000
_GRID = 4096.0
_PUMP = ROW["pump_on"]


class Rest(NamedTuple):
    """One rest.

    Attributes:
        closed_by: index in the block of the sample after it.
        mean: per channel, in registry order; NaN = not measured throughout.
        is_own: whether it is evidence beside the rests before it, or only more of the same stop.
        is_early: soon after the stop: vacuum may still be held behind a check valve.
    """

    closed_by: int
    mean: Floats
    is_own: bool
    is_early: bool


class State(msgspec.Struct):
    """What is remembered between entries.

    Attributes:
        boot: of the last sample; at_ms: its event time.
        off_ms: uptime since when the pump has been off; None = it runs, or is not known.
        first_ms: uptime at which the rest under way began; None = there is none.
        count, total: its samples, and their sum per channel on a grid, so that no order of adding rounds.
        told_ms: `off_ms` of the stop that has had a rest.
    """

    boot: str = ""
    at_ms: int = 0
    off_ms: int | None = None
    first_ms: int | None = None
    count: int = 0
    total: list[float | None] = []
    told_ms: int | None = None


def take(state: State, block: Block, values: Floats) -> list[Rest]:
    """Take in one entry; changes `state`, returns the rests that are complete, oldest first.

    Args:
        values: `frames.matrix` of the block.
    """
    up = uptimes(block)
    is_new = block.boot != state.boot
    found = _close(state, 0) if is_new and state.first_ms is not None else []
    pause = int(block.at_ms[0]) - state.at_ms
    if is_new:
        state.boot, state.off_ms, state.told_ms = block.boot, None, None
    state.at_ms = int(block.at_ms[-1])
    is_off = values[_PUMP] < 0.5
    if not is_off.any():
        if state.first_ms is not None:
            found += _close(state, 0)
        state.off_ms = None
        return found
    if is_new and is_off[0] and not 0 <= pause < RESTED_MS:
        state.off_ms = int(up[0]) - RESTED_MS
    bounds = [0, *(np.flatnonzero(is_off[1:] != is_off[:-1]) + 1).tolist(), len(up)]
    for start, end in pairwise(bounds):
        if is_off[start]:
            found += _rest(state, values, up, start, end)
        else:
            if state.first_ms is not None:
                found += _close(state, start)
            state.off_ms = None
    return found


def _rest(state: State, values: Floats, up: NDArray[np.int64], start: int, end: int) -> list[Rest]:
    """Go through samples of one stop."""
    if state.off_ms is None:
        state.off_ms = int(up[start])
    found = []
    at = start + int(np.searchsorted(up[start:end], state.off_ms + SETTLED_MS))
    while at < end:
        if state.first_ms is None:
            state.first_ms, state.count, state.total = int(up[at]), 0, [0.0] * len(NAMES)
        upto = start + int(np.searchsorted(up[start:end], state.first_ms + REST_MS))
        if upto > at:
            on_grid = np.rint(values[:, at:upto] * _GRID) / _GRID
            before = np.array([np.nan if each is None else each for each in state.total])
            total = before + on_grid.sum(axis=1)
            state.total = [None if each != each else each for each in total.tolist()]
            state.count += upto - at
        if upto < end:
            found += _close(state, upto)
        at = upto
    return found


def _close(state: State, at: int) -> list[Rest]:
    """The rest under way is complete."""
    assert state.first_ms is not None
    off_ms = state.first_ms if state.off_ms is None else state.off_ms
    is_early = state.first_ms - off_ms < RESTED_MS
    is_own = state.told_ms != off_ms or not is_early
    mean = np.array([np.nan if each is None else each for each in state.total]) / state.count
    state.told_ms, state.first_ms = off_ms, None
    return [Rest(at, mean, is_own, is_early)]
