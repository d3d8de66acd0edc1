"""The course of one filter so far: filter resistance against pumping time, kept small however long it lasts.

*Ratio* = filter resistance / its rated limit (1 = at the limit). *Exposure* = pumping seconds on this filter. The ratio
is averaged over bins whose edges grow by 3 %, so a look back over a share of the age finds the same bins whether the
filter is young or old, and a finished curve can be cut back to what was known at any earlier age.
"""

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

VERSION = 1
GROWTH = math.log(1.03)
"""Width of a bin, in log exposure: 33 bins per e-fold resolve a twentieth of the age."""
MAX_BINS = 160
"""Reaches back to 1/110 of the age; what is older says nothing about how a filter ends."""
RECENT = 5
"""Of samples, the limit is reached when the mean of so many reaches it: one outlier is no end of life."""


class Curve(msgspec.Struct):
    """One filter's course; JSON-able, at most about 12 kB.

    Attributes:
        exposure_s: pumping seconds so far.
        first_bin: number of the oldest bin kept; bin k covers exposures from exp(k x GROWTH) s on.
        seconds, exposure_sums, ratio_sums: per bin the pumping seconds with a ratio, and exposure and ratio weighted
            by them.
        recent: the last ratios, oldest first.
        reached_s: exposure at which the limit was first reached; None = not yet.
        highest: the highest mean of `recent` so far.
    """

    version: int = VERSION
    exposure_s: float = 0.0
    first_bin: int = 0
    seconds: list[float] = msgspec.field(default_factory=list)
    exposure_sums: list[float] = msgspec.field(default_factory=list)
    ratio_sums: list[float] = msgspec.field(default_factory=list)
    recent: list[float] = msgspec.field(default_factory=list)
    reached_s: float | None = None
    highest: float = 0.0


def advance(curve: Curve, pumped_s: ArrayLike, ratio: ArrayLike, *, values_at_limit: int = RECENT) -> None:
    """Take in further values, in order; changes `curve`. The result does not depend on how they are cut into calls.

    Args:
        pumped_s: shape (n,), pumping seconds since the value before, >= 0.
        ratio: shape (n,), NaN = not known: the time counts, the value does not.
        values_at_limit: how many values, 1 to `RECENT`, must reach the limit in the mean; always the same for a curve.
    """
    steps, ratios = np.atleast_1d(np.asarray(pumped_s, float)), np.atleast_1d(np.asarray(ratio, float))
    if not len(steps):
        return
    exposure = np.cumsum(np.concatenate([[curve.exposure_s], steps]))[1:]
    curve.exposure_s = float(exposure[-1])
    usable = np.isfinite(ratios) & (exposure > 0) & (steps > 0)
    if usable.any():
        _note_limit(curve, exposure[usable], ratios[usable], values_at_limit)
        _fill(curve, exposure[usable], steps[usable], ratios[usable])


def _note_limit(curve: Curve, exposure: Floats, ratios: Floats, count: int) -> None:
    before = curve.recent[len(curve.recent) - count + 1 :] if count > 1 else []
    values = np.concatenate([before, ratios])
    curve.recent = [*curve.recent, *ratios.tolist()][-RECENT:]
    if len(values) < count:
        return
    means = np.lib.stride_tricks.sliding_window_view(values, count).mean(axis=1)
    curve.highest = max(curve.highest, float(means.max()))
    if curve.reached_s is None and (means >= 1).any():
        behind = len(means) - int(np.argmax(means >= 1))
        curve.reached_s = float(exposure[max(len(exposure) - behind, 0)])


def _fill(curve: Curve, exposure: Floats, seconds: Floats, ratios: Floats) -> None:
    bins = np.floor(np.log(exposure) / GROWTH).astype(int)
    if not curve.seconds:
        curve.first_bin = int(bins[0])
    place, size = bins - curve.first_bin, int(bins[-1]) - curve.first_bin + 1
    curve.seconds = _added(curve.seconds, place, seconds, size)
    curve.exposure_sums = _added(curve.exposure_sums, place, seconds * exposure, size)
    curve.ratio_sums = _added(curve.ratio_sums, place, seconds * ratios, size)
    _forget_oldest(curve)


def _added(sums: list[float], place: NDArray[np.int_], values: Floats, size: int) -> list[float]:
    """One value after the other, so that rounding does not depend on the cut into calls."""
    grown = np.zeros(max(size, len(sums)))
    grown[: len(sums)] = sums
    np.add.at(grown, place, values)
    found: list[float] = grown.tolist()
    return found


def _forget_oldest(curve: Curve) -> None:
    surplus = len(curve.seconds) - MAX_BINS
    if surplus > 0:
        curve.first_bin += surplus
        del curve.seconds[:surplus], curve.exposure_sums[:surplus], curve.ratio_sums[:surplus]
