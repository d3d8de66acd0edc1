"""Remaining life of a filter, with a range: by the library of its model, or by a general prior without one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.forecast.curve import Curve
from services.alerts.forecast.groups import nearest, resemblance
from services.alerts.forecast.library import PROBABILITIES, SHARES, Library, fit_of, vector_of
from services.alerts.forecast.life import Load
from services.alerts.forecast.pace import Pace, pumped_s_per_open_day, pumped_s_per_session
from services.alerts.forecast.pool import log_life
from services.alerts.forecast.regression import predict
from services.alerts.forecast.shape import FLOOR, Course, course_of, features_of

Floats = NDArray[np.float64]

PRIOR_SPREAD = 0.6
"""Of log remaining life by the general prior, measured on recorded air and liquid filters."""
LINEAR_PART = 0.25
"""The prior lies between exponential (0) and straight (1) growth: loaded filters grow almost exponentially."""
MIN_GROWTH = 0.1
MAX_AGES = 50.0
"""No course shows more than so many of its own ages ahead."""
LIFE_SPREAD = 0.35
"""Least spread of log life among filters of one model, while only a few have ended."""
FAR = 2.0
"""Mean square distance to the nearest known row, in standard deviations, from which on the library counts less."""
LEAST = 0.01
"""Groups that are less probable are left out."""
POOL_WEIGHT = 0.3
"""Of what all filters say at the same age, as long as nothing is known of the load and the course leaves a choice."""
DUE_AT_MOST = 0.3
"""Share of life left above which a filter changed now would be wasted."""
NORMAL = np.array([NormalDist().inv_cdf(p) for p in PROBABILITIES.tolist()])


class Range(msgspec.Struct, frozen=True):
    """An amount with its uncertainty: eight of ten truths lie between p10 and p90."""

    p10: float
    p50: float
    p90: float


class Forecast(msgspec.Struct, frozen=True):
    """What remains of a filter.

    Attributes:
        remaining_s, remaining_hours: pumping time until the rated limit.
        remaining_sessions, remaining_days: the same at the machine's pace; None = no pace known.
        share_left: median remaining life as a share of the whole life.
        due_probability: that no more than `DUE_AT_MOST` of the life is left.
        basis: "library" | "prior".
        filters, censored: how many earlier filters it rests on, and how many of them were changed early.
    """

    remaining_s: Range
    remaining_hours: Range
    remaining_sessions: Range | None
    remaining_days: Range | None
    share_left: float
    due_probability: float
    basis: str
    filters: int
    censored: int


class Usage(msgspec.Struct, frozen=True):
    """What the filter has to bear, and how much the machine is used."""

    load: Load = Load()
    pace: Pace = msgspec.field(default_factory=Pace)


@dataclass(frozen=True, slots=True)
class Outlook:
    """Distribution of the remaining pumping seconds: values of `PROBABILITIES` per component, and their weights.

    Attributes:
        values: shape (k, len(PROBABILITIES)), not decreasing along a row.
        weights: shape (k,), sum 1.
        basis: as in `Forecast`.
    """

    values: Floats
    weights: Floats
    basis: str


def forecast(curve: Curve, library: Library, usage: Usage) -> Forecast | None:
    """What remains; None = too little is known of the course."""
    found = outlook(curve, library, usage.load)
    if found is None:
        return None
    low, middle, high = quantiles(found, (0.1, 0.5, 0.9))
    remaining = Range(low, middle, high)
    per_session = pumped_s_per_session(usage.pace)
    per_day = usage.pace.pumped_s_per_day
    return Forecast(
        remaining_s=remaining,
        remaining_hours=_over(remaining, 3600.0),
        remaining_sessions=_over(remaining, per_session) if per_session else None,
        remaining_days=_over(remaining, per_day) if per_day else None,
        share_left=middle / (curve.exposure_s + middle),
        due_probability=probability(found, curve.exposure_s * DUE_AT_MOST / (1 - DUE_AT_MOST)),
        basis=found.basis,
        filters=library.complete + library.censored,
        censored=library.censored,
    )


def will_cross_within(curve: Curve, library: Library, usage: Usage, *, open_days: float = 1.0) -> float | None:
    """Probability that the limit is reached within so many opening days; None = not known."""
    found = outlook(curve, library, usage.load)
    per_day = pumped_s_per_open_day(usage.pace)
    if found is None or per_day is None:
        return None
    return probability(found, per_day * open_days)


def outlook(curve: Curve, library: Library, load: Load) -> Outlook | None:
    """The distribution of what remains; None = too little is known."""
    if curve.reached_s is not None:
        return Outlook(np.zeros((1, len(PROBABILITIES))), np.ones(1), "library" if library.rows else "prior")
    course, age = course_of(curve), curve.exposure_s
    shape = features_of(course, age)
    if shape is None:
        return None
    prior = _prior(shape, age, library, load)
    if not library.rows:
        return Outlook(prior[None], np.ones(1), "prior")
    loads, weights = _loads(library, course, age, load)
    vectors = np.array([vector_of(library, shape, age, each) for each in loads])
    left, distance = predict(fit_of(library), vectors)
    trust = weights * np.exp(-np.maximum(distance - FAR, 0))
    values = [_around(library, float(x), each, age) for x, each in zip(left, loads, strict=True)]
    basis, trusted = "library" if trust.sum() >= 0.5 else "prior", trust.sum()
    pooled = _pooled(library, course, age) if load == Load() and len(loads) > 1 else None
    if pooled is not None:
        values, trust = [*values, pooled], np.array([*trust * (1 - POOL_WEIGHT), trusted * POOL_WEIGHT])
    return Outlook(np.array([*values, prior]), np.array([*trust, 1 - trusted]), basis)


def quantiles(found: Outlook, probabilities: Sequence[float]) -> list[float]:
    """The remaining pumping seconds that are not exceeded with these probabilities."""
    at = np.unique(found.values)
    values: list[float] = np.interp(probabilities, _cumulative(found, at), at).tolist()
    return values


def probability(found: Outlook, seconds: float) -> float:
    """That no more than so many pumping seconds remain."""
    return float(_cumulative(found, np.array([seconds]))[0])


def _cumulative(found: Outlook, at: Floats) -> Floats:
    total = np.zeros(len(at))
    for values, weight in zip(found.values, found.weights, strict=True):
        total += weight * np.interp(at, values, PROBABILITIES, left=0.0, right=1.0)
    return total


def _loads(library: Library, course: Course, age: float, load: Load) -> tuple[list[Load], Floats]:
    """The loads to assume, and their probabilities; a known load and known covariates hold."""
    names = [name for name in library.covariates if name not in load.covariates]
    is_rate_known = load.rate is not None or not library.has_load
    if is_rate_known and not names:
        return [load], np.ones(1)
    resembled = resemblance(library.groups, course, age)
    share = np.zeros(0) if resembled is None else resembled
    found, weights = [], []
    for group, weight in zip(library.groups.loads, share.tolist(), strict=True):
        if weight >= LEAST:
            found.append(Load(load.rate or group.rate, {**group.covariates, **load.covariates}))
            weights.append(weight)
    return found, np.array(weights) / sum(weights)


def _around(library: Library, left: float, load: Load, age: float) -> Floats:
    """Quantiles (s) around a prediction in typical lives."""
    rate = (load.rate or 1.0) if library.has_load else 1.0
    left = max(left, 0.0)
    share = left / max(left + age * rate / library.life, 1e-9)
    errors = np.array([np.interp(share, SHARES, column) for column in np.array(library.errors).T])
    errors *= library.group_errors[nearest(library.groups, load)]
    values: Floats = np.maximum.accumulate(np.maximum(left + errors, 0.0)) * library.life / rate
    return values


def _pooled(library: Library, course: Course, age: float) -> Floats | None:
    """Quantiles (s) by all filters at the same age; None = too few became so old."""
    found = log_life(library.pool, course, age)
    if found is None:
        return None
    values: Floats = np.maximum(np.exp(found[0] + found[1] * NORMAL) - age, 0.0)
    return values


def _prior(shape: Floats, age: float, library: Library, load: Load) -> Floats:
    """Quantiles (s) by what loading filters have in common, and by the life of the few that have ended."""
    level = min(math.exp(shape[0]) - FLOOR, 0.99)
    straight = (1 - level) / math.exp(shape[2])
    exponential = -math.log(level) / max(shape[3], MIN_GROWTH)
    ages = math.exp((1 - LINEAR_PART) * math.log(exponential) + LINEAR_PART * math.log(straight))
    centre, spread = math.log(age * min(ages, MAX_AGES)), PRIOR_SPREAD
    if library.complete:
        rate = (load.rate or 1.0) if library.has_load else 1.0
        life_spread = max(library.life_spread, LIFE_SPREAD)
        known = math.log(max(library.life / rate - age, 0.05 * age))
        precision, known_precision = spread**-2, life_spread**-2
        centre = (centre * precision + known * known_precision) / (precision + known_precision)
        spread = (precision + known_precision) ** -0.5
    values: Floats = np.exp(centre + spread * NORMAL)
    return values


def _over(remaining: Range, unit: float) -> Range:
    return Range(remaining.p10 / unit, remaining.p50 / unit, remaining.p90 / unit)
