"""All earlier filters at one age, whatever they had to bear: how long a life their level and rise promise.

A second kind of opinion for a filter whose load is not known. It need not decide for a group of like load, so where
two groups look alike it errs less than the wrong one of them; where they do not, the groups know better.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.forecast.life import Life
from services.alerts.forecast.shape import Course, course_of, cut, level_and_rise

Floats = NDArray[np.float64]

AGE_STEP = 0.1
"""Of log age, between two ages that are learned; between them predictions are interpolated."""
FIRST_SHARE = 0.03
MIN_FILTERS = 8
"""That had not ended at an age: fewer do not tell six numbers."""
LEVEL_SCALE, RISE_SCALE = 0.1, 0.05
"""Ratios from which on level and rise count by their logarithm, as noise no longer hides it."""
RIDGE = 0.3
"""Filters' worth of belief that a sign says nothing."""
LEAST_SCALE = 0.05
"""Standard deviation added to every sign: noise is no sign."""


class Pool(msgspec.Struct, frozen=True):
    """Log life by age; JSON-able, about 4 kB.

    Attributes:
        first_age: log of the first age, s.
        slopes: per age, offset and slopes of log life (s) over the signs.
        spreads: per age, standard error of log life for filters left out.
        bounds: per age, least and greatest log life seen.
    """

    first_age: float = 0.0
    slopes: list[list[float]] = []
    spreads: list[float] = []
    bounds: list[list[float]] = []


def learn_pool(lives: Sequence[Life]) -> Pool:
    """What the complete ones among earlier filters say."""
    known = [(course_of(each.curve), each.life_s) for each in lives if each.life_s]
    first = math.log(min(life_s for _, life_s in known) * FIRST_SHARE)
    slopes: list[list[float]] = []
    spreads: list[float] = []
    bounds: list[list[float]] = []
    for age in np.exp(np.arange(first, math.log(max(life_s for _, life_s in known)), AGE_STEP)):
        seen = [(cut(course, float(age)), math.log(life_s)) for course, life_s in known if age < life_s]
        rows = [(signs, life) for (course, at), life in seen if (signs := _signs(course, at)) is not None]
        if len(rows) < MIN_FILTERS:
            if slopes:
                break
            first += AGE_STEP
            continue
        signs, lifes = np.array([row for row, _ in rows]), np.array([life for _, life in rows])
        line, spread = _ridge(signs, lifes)
        slopes.append(line.round(6).tolist())
        spreads.append(round(spread, 5))
        bounds.append([round(float(lifes.min()), 5), round(float(lifes.max()), 5)])
    return Pool(first, slopes, spreads, bounds)


def log_life(pool: Pool, course: Course, age: float) -> tuple[float, float] | None:
    """Log life (s) by a course at an age, and its standard error; None = too few filters became so old."""
    place = (math.log(age) - pool.first_age) / AGE_STEP
    signs = _signs(course, age)
    if signs is None or not 0 <= place <= len(pool.slopes) - 1:
        return None
    i = min(int(place), max(len(pool.slopes) - 2, 0))
    said = [
        min(max(float(slopes[0] + signs @ np.array(slopes[1:])), least), greatest)
        for slopes, (least, greatest) in zip(pool.slopes[i : i + 2], pool.bounds[i : i + 2], strict=True)
    ]
    part = place - i
    return said[0] + part * (said[-1] - said[0]), pool.spreads[i]


def _signs(course: Course, age: float) -> Floats | None:
    """Level and rise, their squares and product: shape (5,); None = too little is known."""
    found = level_and_rise(course, age)
    if found is None:
        return None
    level, rise = math.asinh(found[0] / LEVEL_SCALE), math.asinh(found[1] / RISE_SCALE)
    return np.array([level, rise, level * level, level * rise, rise * rise])


def _ridge(signs: Floats, target: Floats) -> tuple[Floats, float]:
    """Offset and slopes, shape (1 + d,), and the standard error for rows left out."""
    mean, scale, centre = signs.mean(axis=0), signs.std(axis=0) + LEAST_SCALE, float(target.mean())
    rows = (signs - mean) / scale
    solved = np.linalg.solve(rows.T @ rows + RIDGE * np.eye(rows.shape[1]), rows.T)
    slopes = solved @ (target - centre)
    own = np.einsum("ij,ji->i", rows, solved) + 1 / len(rows)
    errors = (target - centre - rows @ slopes) / (1 - own)
    line = np.concatenate([[centre - slopes @ (mean / scale)], slopes / scale])
    return line, float(np.sqrt(np.mean(errors**2)))
