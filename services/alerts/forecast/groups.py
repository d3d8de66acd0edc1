"""Filters of like load, and which of them a course resembles: what to assume where its load is not known.

Courses are compared at the same age in pumping seconds: a heavier load shows in level and growth long before it shows
in the end. Each group is a normal distribution of the shape, all with one covariance.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.forecast.life import Life, Load
from services.alerts.forecast.shape import SIGNS, course_of, cut, signs_of

Floats = NDArray[np.float64]

AGE_STEP = 0.1
"""Of log age, between two ages at which groups are compared."""
FIRST_SHARE = 0.03
LIKE_RATES = 0.03
"""Loads closer than this in log are alike."""
OWN_SPREAD = 0.05
"""Standard deviation added to every feature: a few filters never show how much they may differ."""


class Groups(msgspec.Struct, frozen=True):
    """Distributions of the shape over ages; JSON-able.

    Attributes:
        loads: per group, its typical load.
        sizes: per group, how many filters.
        first_age: log of the first age, s.
        counts: per age and group, how many filters had not ended.
        means: per age and group, the mean signs (SIGNS numbers; empty = none left).
        inverses: per age, the inverse covariance, SIGNS x SIGNS, row by row.
    """

    loads: tuple[Load, ...] = ()
    sizes: tuple[int, ...] = ()
    first_age: float = 0.0
    counts: list[list[int]] = []
    means: list[list[list[float]]] = []
    inverses: list[list[float]] = []


def learn_groups(lives: Sequence[Life]) -> Groups:
    """Groups of the complete ones among earlier filters."""
    complete = [each for each in lives if each.life_s]
    members = _members(complete)
    ends = [each.life_s or 0.0 for each in complete]
    first = math.log(min(ends) * FIRST_SHARE)
    ages = np.arange(first, math.log(max(ends)), AGE_STEP)
    counts, means, inverses = [], [], []
    for age in np.exp(ages):
        signs = [_signs([complete[i] for i in group], float(age)) for group in members]
        counts.append([len(each) for each in signs])
        means.append([each.mean(axis=0).round(5).tolist() if len(each) else [] for each in signs])
        inverses.append(_inverse(signs).ravel().round(5).tolist())
    return Groups(
        loads=tuple(_typical([complete[i].load for i in group]) for group in members),
        sizes=tuple(len(group) for group in members),
        first_age=first,
        counts=counts,
        means=means,
        inverses=inverses,
    )


def resemblance(groups: Groups, signs: Floats, age: float) -> Floats:
    """Probability of each group for a course with these signs (SIGNS,) at this age: shape (g,)."""
    i = min(max(round((math.log(age) - groups.first_age) / AGE_STEP), 0), len(groups.counts) - 1)
    while not any(groups.counts[i]) and i > 0:
        i -= 1
    inverse = np.array(groups.inverses[i]).reshape(SIGNS, SIGNS)
    score = np.full(len(groups.loads), -np.inf)
    for group, mean in enumerate(groups.means[i]):
        if mean:
            apart = signs - np.array(mean)
            score[group] = math.log(groups.counts[i][group]) - float(apart @ inverse @ apart) / 2
    weight = np.exp(score - score.max())
    share: Floats = weight / weight.sum()
    return share


def nearest(groups: Groups, load: Load) -> int:
    """The group of the most similar load, by number."""
    return min(range(len(groups.loads)), key=lambda i: _apart(groups.loads[i], load))


def _apart(a: Load, b: Load) -> tuple[int, float]:
    differ = sum(a.covariates.get(name) != value for name, value in b.covariates.items())
    return differ, abs(math.log((a.rate or 1.0) / (b.rate or 1.0)))


def _members(lives: Sequence[Life]) -> list[list[int]]:
    """Filters of the same covariates whose loads are alike, as indices."""
    order = sorted(
        range(len(lives)), key=lambda i: (sorted(lives[i].load.covariates.items()), lives[i].load.rate or 0.0)
    )
    found: dict[tuple[object, int], list[int]] = defaultdict(list)
    part, start, kind = 0, 0.0, None
    for i in order:
        rate, covariates = lives[i].load.rate or 1.0, tuple(sorted(lives[i].load.covariates.items()))
        if covariates != kind or math.log(rate) - start > LIKE_RATES:
            part, start, kind = part + 1, math.log(rate), covariates
        found[(kind, part)].append(i)
    return list(found.values())


def _typical(loads: Sequence[Load]) -> Load:
    rates = [each.rate for each in loads if each.rate]
    rate = math.exp(sum(map(math.log, rates)) / len(rates)) if rates else None
    return Load(rate, loads[0].covariates)


def _signs(lives: Sequence[Life], age: float) -> Floats:
    """Signs at an age of those that had not ended: shape (n, SIGNS)."""
    found = []
    for each in lives:
        if age < (each.life_s or 0.0):
            signs = signs_of(*cut(course_of(each.curve), age))
            if signs is not None:
                found.append(signs)
    return np.array(found).reshape(-1, SIGNS)


def _inverse(shapes: Sequence[Floats]) -> Floats:
    apart = np.concatenate([each - each.mean(axis=0) for each in shapes if len(each)] or [np.zeros((0, SIGNS))])
    freedom = max(len(apart) - sum(bool(len(each)) for each in shapes), 1)
    inverse: Floats = np.linalg.inv(apart.T @ apart / freedom + OWN_SPREAD**2 * np.eye(SIGNS))
    return inverse
