"""What is learned from earlier filters of one model: how a course like this one went on.

Filters changed early count too: their end is taken from what the complete ones say, with its doubt. Time is counted in
dust where the load is known (exposure x load), in pumping seconds where not.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.forecast.groups import Groups, learn_groups, nearest
from services.alerts.forecast.life import Life, Load
from services.alerts.forecast.pool import Pool, learn_pool
from services.alerts.forecast.regression import Fit, Rows, fit, predict
from services.alerts.forecast.shape import course_of, cut, features_of

Floats = NDArray[np.float64]

VERSION = 2
MIN_COMPLETE = 4
"""With fewer complete filters only their typical life is used."""
MAX_FILTERS = 100
"""The newest ones: filters and dust change, and learning takes time cubed."""
AGES = np.array([0.06, 0.15, 0.25, 0.36, 0.48, 0.6, 0.7, 0.8, 0.88, 0.94, 0.985])
"""Shares of a life at which a filter is looked at."""
PROBABILITIES = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98])
SHARES = np.array([0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
"""Shares of life left at which errors are described; they shrink fast towards the end."""
SHARE_REACH, RELATIVE_REACH = 0.015, 0.16
"""How far around a share errors count: a constant and a part of the share."""
ALIKE = 4
"""Groups are taken to err alike, as if so many filters had shown it."""
FEW = 3
"""Ranges are wider by this over the number of filters: few of them show too little of what may happen."""
ROUNDS = 3
"""Of supposing the ends of filters changed early and learning from them."""


class Library(msgspec.Struct, frozen=True):
    """What `learn` found; JSON-able, about 100 kB for 80 filters.

    Attributes:
        learned_until: event time of the newest filter in it.
        complete, censored: how many filters.
        life: typical (median) life, in pumping seconds x load.
        life_spread: standard deviation of log life.
        covariates: their names, in the order of the features.
        mean, scale, offset, spread, rows, weights: the regression.
        groups: filters of like load: what to assume where the load is not known.
        pool: all filters at the same age, for a load that is not known.
        errors: shape (len(SHARES), len(PROBABILITIES)): quantiles of remaining life minus its prediction, in typical
            lives, by predicted share of life left; from filters left out of the regression.
        group_errors: per group, the size of its errors relative to all.
    """

    version: int = VERSION
    learned_until: datetime | None = None
    complete: int = 0
    censored: int = 0
    life: float = 0.0
    life_spread: float = 0.5
    has_load: bool = False
    covariates: tuple[str, ...] = ()
    mean: list[float] = []
    scale: list[float] = []
    offset: float = 0.0
    spread: float = 1.0
    rows: list[list[float]] = []
    weights: list[float] = []
    groups: Groups = Groups()
    pool: Pool = Pool()
    errors: list[list[float]] = []
    group_errors: tuple[float, ...] = ()


def learn(lives: Sequence[Life], learned_until: datetime | None = None) -> Library:
    """Learn from earlier filters of one model, oldest first."""
    lives = [each for each in lives if len(course_of(each.curve).ratio)][-MAX_FILTERS:]
    complete = [each for each in lives if each.life_s is not None]
    has_load = bool(lives) and all(each.load.rate for each in lives)
    censored = [each for each in lives if each.life_s is None]
    ends = np.array([(each.life_s or 0.0) * _rate(each.load, has_load) for each in complete])
    library = Library(
        learned_until=learned_until,
        complete=len(complete),
        censored=len(censored),
        life=float(np.median(ends)) if complete else 0.0,
        life_spread=float(np.log(ends).std()) if len(complete) > 1 else 0.5,
        has_load=has_load,
        covariates=_shared_names(lives),
    )
    if len(complete) < MIN_COMPLETE:
        return library
    seen = _rows(library, complete, [each.life_s or 0.0 for each in complete], np.zeros(len(complete)))
    first = fit(seen)
    groups = learn_groups(complete)
    of_group = np.array([nearest(groups, each.load) for each in complete])[seen.unit]
    errors, sizes = _errors(seen, first, of_group)
    for _ in range(ROUNDS if censored else 0):
        ends_s, doubts = _supposed_ends(library, first, errors, censored)
        supposed = _rows(library, censored, ends_s, doubts, first_unit=len(complete))
        first = fit(_joined(seen, supposed))
        errors, sizes = _errors(seen, first, of_group)
    fitted = _with_fit(library, first)
    return msgspec.structs.replace(
        fitted,
        groups=groups,
        pool=learn_pool(complete),
        errors=np.round(errors, 6).tolist(),
        group_errors=tuple(np.round(sizes, 4).tolist()),
    )


def vector_of(library: Library, shape: Floats, age: float, load: Load) -> Floats:
    """The regression's features: shape (d,)."""
    used = age * _rate(load, library.has_load) / library.life
    others = [load.covariates[name] for name in library.covariates]
    return np.array([used, np.log(used), *shape, np.log(_rate(load, library.has_load)), *others])


def fit_of(library: Library) -> Fit:
    """The regression a library holds."""
    return Fit(
        np.array(library.mean),
        np.array(library.scale),
        library.offset,
        library.spread,
        np.array(library.rows),
        np.array(library.weights),
        np.empty(0),
    )


def _rate(load: Load, has_load: bool) -> float:
    return float(load.rate or 1.0) if has_load else 1.0


def _shared_names(lives: Sequence[Life]) -> tuple[str, ...]:
    names = set(lives[0].load.covariates) if lives else set()
    for each in lives:
        names &= set(each.load.covariates)
    return tuple(sorted(names))


def _rows(
    library: Library, lives: Sequence[Life], ends_s: Sequence[float], doubts: Floats, *, first_unit: int = 0
) -> Rows:
    found: list[tuple[Floats, float, int, float, float]] = []
    for unit, (each, end_s, doubt) in enumerate(zip(lives, ends_s, doubts, strict=True), first_unit):
        whole = course_of(each.curve)
        known_s = min(end_s, each.curve.exposure_s)
        for share in AGES:
            course, age = cut(whole, share * end_s)
            shape = features_of(course, age) if share * end_s <= known_s else None
            if shape is not None:
                left = (end_s - age) * _rate(each.load, library.has_load) / library.life
                found.append((vector_of(library, shape, age, each.load), left, unit, age / end_s, doubt))
    vectors, left_, units, shares, doubts_ = zip(*found, strict=True) if found else ((), (), (), (), ())
    return Rows(np.array(vectors), np.array(left_), np.array(units, int), np.array(shares), np.array(doubts_))


def _joined(a: Rows, b: Rows) -> Rows:
    if not len(b.remaining):
        return a
    return Rows(
        np.concatenate([a.features, b.features]),
        np.concatenate([a.remaining, b.remaining]),
        np.concatenate([a.unit, b.unit]),
        np.concatenate([a.age_share, b.age_share]),
        np.concatenate([a.doubt, b.doubt]),
    )


def _supposed_ends(library: Library, found: Fit, errors: Floats, lives: Sequence[Life]) -> tuple[list[float], Floats]:
    """Expected ends (s) of filters changed early, and their doubt in typical lives."""
    ends, doubts = [], []
    for each in lives:
        course, age = course_of(each.curve), each.curve.exposure_s
        shape = features_of(course, age)
        rate = _rate(each.load, library.has_load)
        left = 0.0
        if shape is not None:
            left = float(predict(found, vector_of(library, shape, age, each.load)[None])[0][0])
        share = left / max(left + age * rate / library.life, 1e-9)
        spread = np.array([np.interp(np.clip(share, 0, 1), SHARES, column) for column in errors.T])
        possible = np.maximum(left + spread, 0.01)
        ends.append(age + float(possible.mean()) * library.life / rate)
        doubts.append(float(possible.std()))
    return ends, np.array(doubts)


def _errors(rows: Rows, found: Fit, of_group: NDArray[np.int_]) -> tuple[Floats, Floats]:
    """Errors of left-out predictions: quantiles around each share of life left, and their size per group.

    The quantiles are of errors over the size of their group: shapes (len(SHARES), len(PROBABILITIES)) and (g,).
    """
    predicted = np.maximum(found.left_out[: len(rows.remaining)], 0)
    share = predicted / (predicted + np.maximum(rows.features[:, 0], 1e-9))
    errors = rows.remaining - predicted
    typical = float(np.abs(errors).mean()) or 1.0
    sizes = np.empty(of_group.max() + 1)
    for group in range(len(sizes)):
        own = of_group == group
        filters = len(np.unique(rows.unit[own]))
        size = np.abs(errors[own]).mean() / typical
        sizes[group] = (filters * size + ALIKE) / (filters + ALIKE)
    errors = errors / sizes[of_group]
    table = np.empty((len(SHARES), len(PROBABILITIES)))
    order = np.argsort(errors)
    for i, centre in enumerate(SHARES):
        reach = SHARE_REACH + RELATIVE_REACH * centre
        weight = np.exp(-(((share - centre) / reach) ** 2) / 2)[order] + 1e-6
        level = (np.cumsum(weight) - weight / 2) / weight.sum()
        table[i] = np.interp(PROBABILITIES, level, errors[order])
    return table * (1 + FEW / len(np.unique(rows.unit))), sizes


def _with_fit(library: Library, found: Fit) -> Library:
    return msgspec.structs.replace(
        library,
        mean=found.mean.tolist(),
        scale=found.scale.tolist(),
        offset=found.offset,
        spread=found.spread,
        rows=np.round(found.rows, 5).tolist(),
        weights=found.weights.tolist(),
    )
