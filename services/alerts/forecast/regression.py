"""Kernel regression over filters: what remains of a life, from the shape of the course so far.

A Gaussian process with a linear and a smooth part. Rows of one filter share an error of their own (a filter that
lasts longer than its course tells does so at every age), and errors shrink towards the end of life. Without the first,
many rows of few filters look like many filters.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LENGTH = 1.0
"""Of the smooth part, in standard deviations per feature."""
UNIT_ERROR = 0.1
UNIT_REACH = 0.15
"""How far a filter's own error lasts, as a share of its life."""
ROW_ERROR = 0.1
END_ERROR = 0.2
"""Errors are in proportion to this plus the share of life left."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Known lives, one row per filter and age.

    Attributes:
        features: shape (n, d).
        remaining: shape (n,), what was left then, in typical lives.
        unit: shape (n,), number of the filter.
        age_share: shape (n,), age as a share of the life.
        doubt: shape (n,), standard error of `remaining` where the end was not seen; 0 where it was.
    """

    features: Floats
    remaining: Floats
    unit: NDArray[np.int_]
    age_share: Floats
    doubt: Floats


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted regression: `predict` needs nothing else.

    Attributes:
        mean, scale: shape (d,), standardisation of features.
        offset, spread: of the target.
        rows: shape (n, d), standardised.
        weights: shape (n,).
        left_out: shape (n,), each row's target as predicted from the other filters.
    """

    mean: Floats
    scale: Floats
    offset: float
    spread: float
    rows: Floats
    weights: Floats
    left_out: Floats


def fit(rows: Rows) -> Fit:
    """Learn from known lives; needs at least two filters."""
    mean, scale = rows.features.mean(axis=0), rows.features.std(axis=0)
    scale = np.where(scale > 1e-6, scale, 1e6)
    features = (rows.features - mean) / scale
    offset, spread = float(rows.remaining.mean()), float(rows.remaining.std()) or 1.0
    target = (rows.remaining - offset) / spread
    covariance = _kernel(features, features) + _errors(rows, spread)
    inverse = np.linalg.inv(covariance)
    weights = inverse @ target
    left_out = np.empty(len(target))
    for unit in np.unique(rows.unit):
        own = np.flatnonzero(rows.unit == unit)
        left_out[own] = target[own] - np.linalg.solve(inverse[np.ix_(own, own)], weights[own])
    return Fit(mean, scale, offset, spread, features, weights, left_out * spread + offset)


def predict(found: Fit, features: Floats) -> tuple[Floats, Floats]:
    """What remains, and how far from all that was learned: shapes (m,), (m,).

    The distance is the mean square over features to the nearest row, in standard deviations.
    """
    asked = (features - found.mean) / found.scale
    value = _kernel(asked, found.rows) @ found.weights * found.spread + found.offset
    return value, _distance(asked, found.rows).min(axis=1)


def _kernel(a: Floats, b: Floats) -> Floats:
    similarity: Floats = 1 + a @ b.T + np.exp(-_distance(a, b) / (2 * LENGTH**2))
    return similarity


def _distance(a: Floats, b: Floats) -> Floats:
    square = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
    distance: Floats = np.maximum(square, 0) / a.shape[1]
    return distance


def _errors(rows: Rows, spread: float) -> Floats:
    is_same = rows.unit[:, None] == rows.unit
    near = np.exp(-np.abs(rows.age_share[:, None] - rows.age_share) / UNIT_REACH)
    size = END_ERROR + 1 - rows.age_share
    errors = is_same * near * UNIT_ERROR**2 + ROW_ERROR**2 * np.eye(len(size))
    doubt = rows.doubt / spread
    covariance: Floats = errors * size[:, None] * size + is_same * doubt[:, None] * doubt
    return covariance
