"""Filters of like load, and which of them a course resembles: what to assume where its load is not known.

Courses are compared at the same age in pumping seconds: a heavier load shows in level and growth long before it shows
in the end. Two opinions are averaged, as each is too sure of itself: each group is a normal distribution of the shape,
all with one covariance; and a normal distribution of the rise since the start, each with its own spread.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.forecast.life import Life, Load
from services.alerts.forecast.shape import SIGNS, Course, course_of, cut, rise_of, signs_of

Floats = NDArray[np.float64]

AGE_STEP = 0.1
"""Of log age, between two ages at which groups are compared."""
FIRST_SHARE = 0.03
LIKE_RATES = 0.03
"""Loads closer than this in log are alike."""
OWN_SPREAD = 0.05
"""Standard deviation added to every feature: a few filters never show how much they may differ."""
RISE_SHARE = 0.65
"""Weight of the opinion by the rise."""
LEAST_RISE = 0.015
"""Least standard deviation of the rise within a group."""
ALIKE = 6
"""Groups are taken to spread alike, as if so many filters had shown it."""


class Groups(msgspec.Struct, frozen=True):
    """Distributions of the shape over ages; JSON-able.

    Attributes:
        loads: per group, its typical load.
        sizes: per group, how many filters.
        first_age: log of the first age, s.
        counts: per age and group, how many filters had not ended.
        means: per age and group, the mean signs (SIGNS numbers; empty = none left).
        inverses: per age, the inverse covariance, SIGNS x SIGNS, row by row.
        rises: per age and group, mean and variance of the rise (empty = none left).
    """

    loads: tuple[Load, ...] = ()
    sizes: tuple[int, ...] = ()
    first_age: float = 0.0
    counts: list[list[int]] = []
    means: list[list[list[float]]] = []
    inverses: list[list[float]] = []
    rises: list[list[list[float]]] = []


def learn_groups(lives: Sequence[Life]) -> Groups:
    """Groups of the complete ones among earlier filters."""
    complete = [each for each in lives if each.life_s]
    members = _members(complete)
    ends = [each.life_s or 0.0 for each in complete]
    first = math.log(min(ends) * FIRST_SHARE)
    ages = np.arange(first, math.log(max(ends)), AGE_STEP)
    counts, means, inverses, rises = [], [], [], []
    for age in np.exp(ages):
        seen = [_seen([complete[i] for i in group], float(age)) for group in members]
        signs = [each[:, :SIGNS] for each in seen]
        counts.append([len(each) for each in signs])
        means.append([each.mean(axis=0).round(5).tolist() if len(each) else [] for each in signs])
        inverses.append(_inverse(signs).ravel().round(5).tolist())
        rises.append(_rises([each[:, SIGNS] for each in seen]))
    return Groups(
        loads=tuple(_typical([complete[i].load for i in group]) for group in members),
        sizes=tuple(len(group) for group in members),
        first_age=first,
        counts=counts,
        means=means,
        inverses=inverses,
        rises=rises,
    )


def resemblance(groups: Groups, course: Course, age: float) -> Floats | None:
    """Probability of each group for a course at this age: shape (g,); None = too little is known of it."""
    signs = signs_of(course, age)
    if signs is None:
        return None
    i = min(max(round((math.log(age) - groups.first_age) / AGE_STEP), 0), len(groups.counts) - 1)
    while not any(groups.counts[i]) and i > 0:
        i -= 1
    rise, inverse = rise_of(course, age), np.array(groups.inverses[i]).reshape(SIGNS, SIGNS)
    by_shape, by_rise = np.full((2, len(groups.loads)), -np.inf)
    for group, mean in enumerate(groups.means[i]):
        if mean:
            apart, prior = signs - np.array(mean), math.log(groups.counts[i][group])
            by_shape[group] = prior - float(apart @ inverse @ apart) / 2
            middle, variance = groups.rises[i][group]
            by_rise[group] = prior - (rise - middle) ** 2 / (2 * variance) - math.log(variance) / 2
    share: Floats = (1 - RISE_SHARE) * _shares(by_shape) + RISE_SHARE * _shares(by_rise)
    return share


def _shares(score: Floats) -> Floats:
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


def _seen(lives: Sequence[Life], age: float) -> Floats:
    """Signs and rise at an age of those that had not ended: shape (n, SIGNS + 1)."""
    found = []
    for each in lives:
        if age < (each.life_s or 0.0):
            course, at = cut(course_of(each.curve), age)
            signs = signs_of(course, at)
            if signs is not None:
                found.append([*signs, rise_of(course, at)])
    return np.array(found).reshape(-1, SIGNS + 1)


def _rises(seen: Sequence[Floats]) -> list[list[float]]:
    """Mean and variance of the rise per group."""
    freedom = max(sum(len(each) for each in seen) - sum(bool(len(each)) for each in seen), 1)
    common = sum(float(np.square(each - each.mean()).sum()) for each in seen if len(each)) / freedom + LEAST_RISE**2
    found = []
    for each in seen:
        squares = float(np.square(each - each.mean()).sum()) if len(each) else 0.0
        variance = (squares + ALIKE * common) / (len(each) - 1 + ALIKE)
        found.append([round(float(each.mean()), 6), round(variance, 8)] if len(each) else [])
    return found


def _inverse(shapes: Sequence[Floats]) -> Floats:
    apart = np.concatenate([each - each.mean(axis=0) for each in shapes if len(each)] or [np.zeros((0, SIGNS))])
    freedom = max(len(apart) - sum(bool(len(each)) for each in shapes), 1)
    inverse: Floats = np.linalg.inv(apart.T @ apart / freedom + OWN_SPREAD**2 * np.eye(SIGNS))
    return inverse
