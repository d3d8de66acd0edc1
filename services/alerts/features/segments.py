"""From samples to segments: unbroken stretches in one state, with means over their settled part.

Samples are summed per half second of a segment (a *bin*), bins are summed into segments. The end of a segment is not
known before it is over, so its last bins wait in the state and are left out once it is. All sums are exact (`signals`).
"""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.features import signals, states
from services.alerts.features.types import Means, Segment
from services.alerts.observation import Block, Floats

BIN_MS = 500
NEVER = 10**9

SETTLES = np.array(
    # after: off, open, contact, capped, not known; of: off, open, contact, capped
    [[4, 4, 40, 40, 10], [4, 4, 2, 2, 4], [3, 3, 3, 3, 3], [2, 2, 2, 2, 2]]
)
"""Bins that a state needs to settle, by state and the one before it. Contact rises with t63 = 0.7..1.3 s, release falls
with 0.2 s, the motor starts within 2 s, and a capped tip keeps its vacuum for seconds after the pump stops."""
GUARDS = np.array([1, 1, 2, 2])
"""Bins at the end that belong to the next state already: a release takes 0.5 s to fall below the threshold."""

NOISY = ("vacuum_inlet_kpa", "vacuum_handpiece_kpa")
NEAR_MS = 250
"""Samples further apart than this say nothing of noise."""
LARGEST_BEND = 16.0 * signals.GRID
"""A value further off the line of its neighbours is no noise; the limit keeps sums exact."""
BEND_GAIN = 6.0
"""Variance of v0 - 2 v1 + v2 over that of independent v: 1 + 4 + 1."""
_CHANNELS = len(signals.NAMES)
_SUMS = slice(0, _CHANNELS)
_COUNTS = slice(_CHANNELS, 2 * _CHANNELS)
_PAUSE = 2 * _CHANNELS
_SQUARES = slice(_PAUSE + 1, _PAUSE + 3)
_FREEDOM = slice(_PAUSE + 3, _PAUSE + 5)
_ROWS = _PAUSE + 5
"""Rows of a bin: sums and counts per channel, ms; for `NOISY`, sums of squared bends (how far a sample is off the line
of its neighbours: a vacuum that still rises has none), and their number."""


class Running(msgspec.Struct):
    """The segment that is not over yet.

    Attributes:
        code, previous: its state and the one before it (-1 = none).
        at_ms, up_ms: when it began.
        settled: rows summed over the settled bins so far; empty = none.
        numbers, waiting: the last bins, which may belong to its end: their numbers and their rows.
        peak: per channel the largest value so far; None = none.
    """

    code: int
    previous: int
    at_ms: int
    up_ms: int
    settled: list[float] = []
    numbers: list[int] = []
    waiting: list[list[float]] = []
    peak: list[float | None] = []


class State(msgspec.Struct):
    """What is remembered between blocks.

    Attributes:
        boot, up_ms: of the last sample.
        contact: what tells the states apart.
        tail: the last two samples of `NOISY`, and the pause between them, ms; empty = not known.
    """

    boot: str | None = None
    up_ms: int = 0
    tail: list[list[float | None]] = []
    tail_pause_ms: int = NEVER
    contact: states.State = msgspec.field(default_factory=states.State)
    running: Running | None = None


def take(state: State, block: Block) -> list[Segment]:
    """Show one component's block; changes ``state`` and returns the segments that ended in it, oldest first."""
    if not len(block.at_ms):
        return []
    up_ms = signals.uptimes(block)
    last_up = state.up_ms if block.boot == state.boot else -NEVER
    pauses = signals.pauses(up_ms, last_up)
    broken = pauses > signals.MAX_PAUSE_MS
    if last_up == -NEVER or pauses[0] < 0:
        broken[0] = True
    codes = states.classify(state.contact, block, up_ms, broken)
    before = np.concatenate(([state.running.code if state.running else -1], codes[:-1]))
    # An idle machine sends a sample a minute: a pause says nothing new of a pump that is off before and after it.
    is_idle = (codes == states.OFF) & (before == states.OFF) & (pauses >= 0) & (pauses < NEVER)
    broken &= ~is_idle
    starts = np.flatnonzero((codes != before) | broken)
    spans = _Spans(state, block, up_ms, codes, broken, starts)
    state.boot, state.up_ms = block.boot, int(up_ms[-1])
    bends = _bends(state, block, np.where(broken, NEVER, pauses))
    pauses[broken] = 0
    return spans.summarise(state, _rows(block, np.minimum(pauses, signals.MAX_PAUSE_MS), bends))


def close(state: State) -> list[Segment]:
    """End the running segment at the last sample; the next sample begins a new one."""
    running, state.running = state.running, None
    return [] if running is None else [_end(running, state.up_ms, state.up_ms)]


class _Spans:
    """The segments of one block: the running one goes on, unless a new one starts with the first sample."""

    def __init__(
        self,
        state: State,
        block: Block,
        up_ms: NDArray[np.int64],
        codes: states.Codes,
        broken: NDArray[np.bool_],
        starts: NDArray[np.int64],
    ) -> None:
        self.running = state.running
        """The one that was under way before the block."""
        self.begun = [
            Running(
                code=int(codes[i]),
                previous=-1 if broken[i] else int(codes[i - 1]) if i else (self.running.code if self.running else -1),
                at_ms=int(block.at_ms[i]),
                up_ms=int(up_ms[i]),
            )
            for i in starts.tolist()
        ]
        self.goes_on = self.running is not None and (not len(starts) or starts[0] > 0)
        self.all = ([self.running] if self.running and self.goes_on else []) + self.begun
        self.starts = np.concatenate(([0], starts)) if self.goes_on else starts
        lengths = np.append(self.starts[1:], len(codes)) - self.starts
        self.number = np.repeat(np.arange(len(self.all)), lengths)
        self.bins = (up_ms - np.array([span.up_ms for span in self.all])[self.number]) // BIN_MS
        self.ends = [*up_ms[self.starts[1:]].tolist(), int(up_ms[-1])]
        self.is_cut = broken[self.starts[1:]].tolist()
        self.last_up = up_ms[np.append(self.starts[1:] - 1, len(up_ms) - 1)]
        self.before_up = state.up_ms

    def summarise(self, state: State, rows: Floats) -> list[Segment]:
        """Segments that ended; the last one becomes the running one."""
        closed = []
        if self.running is not None and not self.goes_on:
            end = self.before_up if self.begun[0].previous < 0 else self.begun[0].up_ms
            closed.append(_end(self.running, self.before_up, end))
        peaks = np.maximum.reduceat(_peak_rows(rows), self.starts, axis=1)
        edges = signals.edges(self.number, self.bins)
        sums = np.add.reduceat(rows, edges, axis=1)
        numbers, owners = self.bins[edges], self.number[edges]
        if self.goes_on:
            sums, numbers, owners = _prepend(self.all[0], sums, numbers, owners)
            peaks[:, 0] = np.maximum(peaks[:, 0], _known_peak(self.all[0]))
        firsts = signals.edges(owners)
        last = np.append(numbers[firsts[1:] - 1], numbers[-1])
        code = np.array([span.code for span in self.all])
        previous = np.array([span.previous for span in self.all])
        settled = _settled_mask(code[owners], previous[owners], numbers, last[owners])
        totals = np.add.reduceat(sums * settled, firsts, axis=1).T
        if self.goes_on and self.all[0].settled:
            totals[0] += self.all[0].settled
        for span, total, peak, end in zip(
            self.all[:-1], totals[:-1].tolist(), peaks.T[:-1].tolist(), self._ends(), strict=True
        ):
            closed.append(_segment(span, end, total, peak))
        open_ = self.all[-1]
        waits = np.flatnonzero((owners == len(self.all) - 1) & (numbers > last[-1] - GUARDS[open_.code]))
        open_.settled, open_.numbers = totals[-1].tolist(), numbers[waits].tolist()
        open_.waiting = sums[:, waits].T.tolist()
        open_.peak = [None if math.isinf(value) else value for value in peaks[:, -1].tolist()]
        state.running = open_
        return closed

    def _ends(self) -> list[int]:
        return [
            int(last) if is_cut else end
            for end, is_cut, last in zip(self.ends[:-1], self.is_cut, self.last_up[:-1].tolist(), strict=True)
        ]


def _bends(state: State, block: Block, pauses: NDArray[np.int64]) -> Floats:
    """How far a sample of `NOISY` is off the line of the two before it, shape (2, n), whole numbers; NaN = not known.

    Changes ``state``: keeps the last two samples.
    """
    values = np.array([block.channel(name) for name in NOISY]) * signals.GRID
    np.rint(values, out=values)
    tail = np.array(state.tail, dtype=np.float64).T if state.tail else np.full((len(NOISY), 2), np.nan)
    joined = np.hstack((tail, values))
    is_near = np.concatenate(([state.tail_pause_ms <= NEAR_MS], (pauses >= 0) & (pauses <= NEAR_MS)))
    bends = joined[:, 2:] - 2 * joined[:, 1:-1] + joined[:, :-2]
    bends[:, ~(is_near[1:] & is_near[:-1])] = np.nan
    state.tail = [[None if math.isnan(value) else value for value in pair] for pair in joined[:, -2:].T.tolist()]
    state.tail_pause_ms = int(pauses[-1])
    return np.asarray(np.clip(bends, -LARGEST_BEND, LARGEST_BEND))


def _rows(block: Block, pauses: NDArray[np.int64], bends: Floats) -> Floats:
    """Rows to be summed, shape (`_ROWS`, n): whole numbers."""
    rows = np.zeros((_ROWS, len(pauses)))
    for i, name in enumerate(signals.NAMES):
        values = block.channels.get(name)
        if values is not None:
            rows[i] = values
    channels = rows[_SUMS]
    finite = np.isfinite(channels)
    channels[~finite] = 0.0
    missing = [i for i, name in enumerate(signals.NAMES) if name not in block.channels]
    finite[missing] = False
    rows[_COUNTS] = finite
    np.multiply(channels, signals.GRID, out=channels)
    np.rint(channels, out=channels)
    rows[_PAUSE] = pauses
    known = np.isfinite(bends)
    rows[_SQUARES] = np.square(np.where(known, bends, 0.0))
    rows[_FREEDOM] = known
    return rows


def _peak_rows(rows: Floats) -> Floats:
    return np.where(rows[_COUNTS] > 0, rows[_SUMS] / signals.GRID, -np.inf)


def _known_peak(running: Running) -> Floats:
    return np.array([-np.inf if value is None else value for value in running.peak])


def _prepend(
    running: Running, sums: Floats, numbers: NDArray[np.int64], owners: NDArray[np.intp]
) -> tuple[Floats, NDArray[np.int64], NDArray[np.intp]]:
    """Put the waiting bins before the new ones; the last one may go on."""
    waiting = np.array(running.waiting, dtype=np.float64).T
    if running.numbers[-1] == numbers[0]:
        sums[:, 0] += waiting[:, -1]
        waiting = waiting[:, :-1]
    count = waiting.shape[1]
    numbers = np.concatenate((running.numbers[:count], numbers)).astype(np.int64)
    return np.hstack((waiting, sums)), numbers, np.concatenate((np.zeros(count, dtype=np.intp), owners))


def _settled_mask(
    code: NDArray[np.int64], previous: NDArray[np.int64], numbers: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which bins belong to the settled part, given the number of the segment's last bin; shape of ``numbers``."""
    mask: NDArray[np.bool_] = (numbers >= SETTLES[code, previous]) & (numbers <= last - GUARDS[code])
    return mask


def _end(running: Running, last_up: int, end_up: int) -> Segment:
    """The segment that was running, with its last sample at ``last_up``."""
    rows, numbers = np.array(running.waiting, dtype=np.float64).T, np.array(running.numbers)
    last = (last_up - running.up_ms) // BIN_MS
    settled = _settled_mask(np.array(running.code), np.array(running.previous), numbers, np.array(last))
    total = (rows * settled).sum(axis=1)
    if running.settled:
        total = total + running.settled
    return _segment(running, end_up, total.tolist(), _known_peak(running).tolist())


def _segment(span: Running, end_up: int, total: list[float], peak: list[float]) -> Segment:
    mean: Means = {}
    for name, value, count in zip(signals.NAMES, total[_SUMS], total[_COUNTS], strict=True):
        if count:
            mean[name] = value / count / signals.GRID
    deviation: Means = {}
    for name, square, freedom in zip(NOISY, total[_SQUARES], total[_FREEDOM], strict=True):
        if freedom:
            deviation[name] = math.sqrt(square / freedom / BEND_GAIN) / signals.GRID
    highest = {name: value for name, value in zip(signals.NAMES, peak, strict=True) if value > -math.inf}
    return Segment(
        state=states.NAMES[span.code],
        at_ms=span.at_ms,
        duration_s=(end_up - span.up_ms) / 1000,
        settled_s=total[_PAUSE] / 1000,
        mean=mean,
        deviation=deviation,
        peak=highest,
        previous=None if span.previous < 0 else states.NAMES[span.previous],
    )
