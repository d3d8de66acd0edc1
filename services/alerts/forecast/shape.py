"""What a course looks like at some age: the few numbers a forecast goes by, free of the scale of time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.alerts.forecast.curve import GROWTH, Curve

Floats = NDArray[np.float64]

NEAR, WIDER, MIDDLE, LONG = 0.12, 0.25, 0.6, 0.8
"""Looks back, as shares of the age: two for the level now, two for how it grew."""
WHOLE = 0.92
"""All but what the start of a pump disturbs."""
FLOOR = 0.002
"""Ratio below which a level is sensor noise: keeps logarithms quiet on a clean filter."""
GROWTH_FLOOR = 0.01
SLOPE_FLOOR = 0.05
"""Share of the level by which every filter is taken to have grown per its age, at least: a slope may be noise."""
MIN_BINS = 3
FEATURES = 4
SIGNS = FEATURES + 2
STRAIGHT_SCALE = 20.0
"""Makes a ratio of 5 % weigh like a log of 1."""


@dataclass(frozen=True, slots=True)
class Course:
    """A curve's bins, oldest first: shapes (n,)."""

    exposure: Floats
    ratio: Floats
    seconds: Floats


def course_of(curve: Curve) -> Course:
    """The bins that hold a value."""
    seconds = np.array(curve.seconds)
    is_filled = seconds > 0
    seconds = seconds[is_filled]
    return Course(
        np.array(curve.exposure_sums)[is_filled] / seconds,
        np.array(curve.ratio_sums)[is_filled] / seconds,
        seconds,
    )


def cut(course: Course, age: float) -> tuple[Course, float]:
    """What was known at an age, and that age moved down to the edge of a bin."""
    edge = float(np.exp(np.floor(np.log(age) / GROWTH) * GROWTH))
    is_known = course.exposure < edge
    return Course(course.exposure[is_known], course.ratio[is_known], course.seconds[is_known]), edge


def features_of(course: Course, age: float) -> Floats | None:
    """The shape at an age: shape (FEATURES,); None = too little is known.

    Log level (two looks back), log growth per age over the long look back, growth of the log level per age.
    """
    if len(course.ratio) < MIN_BINS or age <= 0:
        return None
    near, _ = _line(course, age, NEAR, course.ratio)
    wider, _ = _line(course, age, WIDER, course.ratio)
    level = max(near, FLOOR)
    _, slope = _line(course, age, LONG, course.ratio)
    _, growth = _line(course, age, LONG, np.log(np.maximum(course.ratio, 0) + GROWTH_FLOOR))
    return np.array(
        [
            np.log(level + FLOOR),
            np.log(max(wider, FLOOR) + FLOOR),
            np.log(np.hypot(max(slope, 0.0), SLOPE_FLOOR * level)),
            growth,
        ]
    )


def signs_of(course: Course, age: float) -> Floats | None:
    """What tells loads apart at the same age: shape (SIGNS,); None = too little is known.

    The features, and level and growth as they are: early in a life noise adds to the level, so logarithms hide growth.
    """
    features = features_of(course, age)
    if features is None:
        return None
    level, slope = _line(course, age, MIDDLE, course.ratio)
    return np.array([*features, STRAIGHT_SCALE * level, STRAIGHT_SCALE * slope])


def level_and_rise(course: Course, age: float) -> tuple[float, float] | None:
    """Ratio now, and how much it grew per age; None = too little is known."""
    if len(course.ratio) < MIN_BINS or age <= 0:
        return None
    return _line(course, age, MIDDLE, course.ratio)[0], _line(course, age, WHOLE, course.ratio)[1]


def rise_of(course: Course, age: float) -> float:
    """How much the ratio grew per age, by a straight line through nearly the whole course."""
    return STRAIGHT_SCALE * _line(course, age, WHOLE, course.ratio)[1]


def _line(course: Course, age: float, look_back: float, values: Floats) -> tuple[float, float]:
    """Weighted least squares over the last share of the age: value now, and slope per age."""
    first = min(int(np.searchsorted(course.exposure, age * (1 - look_back))), len(values) - MIN_BINS)
    x, y, w = course.exposure[first:] / age - 1, values[first:], course.seconds[first:]
    w = w / w.sum()
    x_mean, y_mean = float(w @ x), float(w @ y)
    spread = float(w @ (x - x_mean) ** 2)
    slope = float(w @ ((x - x_mean) * (y - y_mean))) / max(spread, 1e-12)
    return y_mean - slope * x_mean, slope
