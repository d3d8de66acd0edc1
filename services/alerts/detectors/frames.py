"""Ten-second summaries of all channels: what the detectors of sensors, motor and supply judge, instead of samples.

A *frame* covers one window of a boot's uptime and is complete when a sample of another window has arrived. Its numbers
are exact whatever blocks the samples came in: sums are of values on a grid of 1/4096, so no order of adding rounds.
"""

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from dermafleet.contracts.channels import CHANNELS
from services.alerts.observation import Block, Floats

Flags = NDArray[np.bool_]

NAMES: tuple[str, ...] = tuple(channel.name for channel in CHANNELS)
ROW: dict[str, int] = {name: row for row, name in enumerate(NAMES)}
FRAME_MS = 10_000

_GRID = 4096.0
_LARGE = 1e9
"""Stands for "no value yet" in a minimum; JSON has no infinity."""
_SQUARED = 1000.0
"""Values beyond it (masses) are not squared: their deviation is nobody's evidence, and the sum would round."""
_LOW = np.array([[channel.low] for channel in CHANNELS])
_HIGH = np.array([[channel.high] for channel in CHANNELS])
_PUMP = ROW["pump_on"]
_FIRST = np.zeros(1, dtype=np.intp)


class Partial(msgspec.Struct):
    """The window that is not complete yet.

    Attributes:
        boot, window: which; window = uptime over `FRAME_MS`, None = nothing yet.
        first_ms, last_ms: uptime of its first and last sample.
        at_ms: event time of the last one.
        samples: how many.
        count, total, square, low, high: per channel, in registry order.
    """

    boot: str = ""
    window: int | None = None
    first_ms: int = 0
    last_ms: int = 0
    at_ms: int = 0
    samples: int = 0
    count: list[float] = []
    total: list[float] = []
    square: list[float] = []
    low: list[float] = []
    high: list[float] = []


@dataclass(frozen=True, slots=True)
class Frames:
    """Complete frames, oldest first; k of them, c channels in registry order.

    Attributes:
        boots: boot of each.
        first_ms, last_ms, at_ms, samples: shape (k,), as in `Partial`.
        closed_by: shape (k,), index in the block of the sample that completed it.
        count, mean, deviation, low, high: shape (c, k); mean, low and high are NaN without a value, deviation 0.
    """

    boots: list[str]
    first_ms: NDArray[np.int64]
    last_ms: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    samples: NDArray[np.int64]
    closed_by: NDArray[np.int64]
    count: Floats
    mean: Floats
    deviation: Floats
    low: Floats
    high: Floats

    def __len__(self) -> int:
        return len(self.boots)

    @property
    def is_pumping(self) -> Flags:
        """Shape (k,): the pump ran in every sample."""
        running: Flags = self.low[_PUMP] >= 0.5
        return running

    @property
    def is_off(self) -> Flags:
        """Shape (k,): the pump ran in no sample."""
        resting: Flags = self.high[_PUMP] < 0.5
        return resting


def uptimes(block: Block) -> NDArray[np.int64]:
    """Uptime of each sample, ms, shape (n,)."""
    return block.at_ms + (block.up_ms - int(block.at_ms[0]))


def matrix(block: Block) -> Floats:
    """All registry channels, shape (c, n); NaN = not measured or outside the plausible range."""
    values = np.full((len(NAMES), len(block.at_ms)), np.nan)
    for name, samples in block.channels.items():
        row = ROW.get(name)
        if row is not None:
            values[row] = samples
    with np.errstate(invalid="ignore"):
        values[(values < _LOW) | (values > _HIGH)] = np.nan
    return values


def take(partial: Partial, block: Block, values: Floats) -> Frames | None:
    """Add a block to the window; returns the frames that it completed, None = none.

    Args:
        values: `matrix` of the block.
    """
    up = uptimes(block)
    window = up // FRAME_MS
    starts = np.concatenate([_FIRST, np.flatnonzero(window[1:] != window[:-1]) + 1])
    pieces = _summarise(values, starts)
    ends = np.append(starts[1:], len(up))
    if partial.window is not None and partial.boot == block.boot and partial.window == window[0]:
        _merge(partial, pieces)
        partial.last_ms, partial.at_ms = int(up[ends[0] - 1]), int(block.at_ms[ends[0] - 1])
        partial.samples += int(ends[0])
        if len(starts) == 1:
            return None
        carried = 1
    else:
        carried = 0
    columns = np.arange(carried, len(starts) - 1)
    has_open = partial.window is not None
    frames = _frames(partial, block, up, starts, ends, pieces, columns) if has_open or len(columns) else None
    _start(partial, block, up, int(starts[-1]), [piece[:, -1] for piece in pieces])
    return frames


def _summarise(values: Floats, starts: NDArray[np.intp]) -> list[Floats]:
    """Count, total, square, low and high of each piece; shapes (c, pieces)."""
    is_known = np.isfinite(values)
    on_grid = np.rint(np.where(is_known, values, 0.0) * _GRID) / _GRID
    squared = np.square(np.where(np.abs(on_grid) < _SQUARED, on_grid, 0.0))
    if is_known.all():
        low = high = on_grid
    else:
        low = np.where(is_known, on_grid, _LARGE)
        high = np.where(is_known, on_grid, -_LARGE)
    return [
        np.add.reduceat(is_known, starts, axis=1, dtype=np.float64),
        np.add.reduceat(on_grid, starts, axis=1),
        np.add.reduceat(squared, starts, axis=1),
        np.minimum.reduceat(low, starts, axis=1),
        np.maximum.reduceat(high, starts, axis=1),
    ]


def _merge(partial: Partial, pieces: list[Floats]) -> None:
    count, total, square, low, high = (piece[:, 0] for piece in pieces)
    partial.count = (np.array(partial.count) + count).tolist()
    partial.total = (np.array(partial.total) + total).tolist()
    partial.square = (np.array(partial.square) + square).tolist()
    partial.low = np.minimum(partial.low, low).tolist()
    partial.high = np.maximum(partial.high, high).tolist()


def _start(partial: Partial, block: Block, up: NDArray[np.int64], start: int, last: list[Floats]) -> None:
    partial.boot, partial.window = block.boot, int(up[-1]) // FRAME_MS
    partial.first_ms, partial.last_ms = int(up[start]), int(up[-1])
    partial.at_ms, partial.samples = int(block.at_ms[-1]), len(up) - start
    partial.count, partial.total, partial.square, partial.low, partial.high = (column.tolist() for column in last)


def _frames(
    partial: Partial,
    block: Block,
    up: NDArray[np.int64],
    starts: NDArray[np.intp],
    ends: NDArray[np.intp],
    pieces: list[Floats],
    columns: NDArray[np.intp],
) -> Frames:
    """The window that was open, if there was one, and the pieces that are complete in the block."""
    open_ones = [] if partial.window is None else [partial]
    of_open = ([p.count for p in open_ones], [p.total for p in open_ones], [p.square for p in open_ones])
    bounds = ([p.low for p in open_ones], [p.high for p in open_ones])
    count, total, square, low, high = (
        np.concatenate([np.array(was).reshape(-1, len(NAMES)).T, piece[:, columns]], axis=1)
        for was, piece in zip((*of_open, *bounds), pieces, strict=True)
    )
    first_closing = starts[1] if open_ones and partial.boot == block.boot and _reaches(partial, up) else 0
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        variance = np.maximum(square / count - np.square(mean), 0.0)
    is_known = count > 0
    return Frames(
        boots=[p.boot for p in open_ones] + [block.boot] * len(columns),
        first_ms=np.array([p.first_ms for p in open_ones] + up[starts[columns]].tolist(), dtype=np.int64),
        last_ms=np.array([p.last_ms for p in open_ones] + up[ends[columns] - 1].tolist(), dtype=np.int64),
        at_ms=np.array([p.at_ms for p in open_ones] + block.at_ms[ends[columns] - 1].tolist(), dtype=np.int64),
        samples=np.array([p.samples for p in open_ones] + (ends - starts)[columns].tolist(), dtype=np.int64),
        closed_by=np.array([first_closing] * len(open_ones) + ends[columns].tolist(), dtype=np.int64),
        count=count,
        mean=mean,
        deviation=np.where(is_known, np.sqrt(variance), 0.0),
        low=np.where(is_known, low, np.nan),
        high=np.where(is_known, high, np.nan),
    )


def _reaches(partial: Partial, up: NDArray[np.int64]) -> bool:
    """Whether the open window goes on in this block."""
    return partial.window == int(up[0]) // FRAME_MS
