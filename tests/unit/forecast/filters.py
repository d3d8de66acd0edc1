"""Filters whose course and end are known: convex and straight, at several loads."""

import math

import numpy as np
from numpy.typing import NDArray

from services.alerts.forecast.curve import Curve, advance
from services.alerts.forecast.life import Life, Load

Floats = NDArray[np.float64]

LIFE_S = 200_000.0
STEPS = 300


def course(*, life_s: float = LIFE_S, convexity: float = 4.0, noise: float = 0.005, seed: int = 0) -> Floats:
    """Shape (STEPS, 2): pumped seconds of each step and the ratio after it; the last one reaches the limit."""
    share = np.arange(1, STEPS + 1) / STEPS
    start = 0.02
    grown = np.expm1(convexity * share) / math.expm1(convexity) if convexity else share
    ratio = start + (1.0 - start) * grown
    noisy = ratio + np.random.default_rng(seed).normal(0, noise, STEPS)
    noisy[-1] = 1.0
    return np.column_stack([np.full(STEPS, life_s / STEPS), noisy])


def curve_of(values: Floats, share: float = 1.0) -> Curve:
    """The curve up to a share of its life."""
    curve, end = Curve(), round(len(values) * share)
    advance(curve, values[:end, 0], values[:end, 1])
    return curve


def earlier(
    n: int, *, spread: float = 0.08, rate: float | None = None, seed: int = 0, convexity: float = 4.0
) -> list[Life]:
    """Filters that reached their limit; a load shortens the life in proportion."""
    lives = []
    for i in range(n):
        life_s = LIFE_S / (rate or 1.0) * math.exp(np.random.default_rng([seed, i]).normal(0, spread))
        lives.append(Life(curve_of(course(life_s=life_s, seed=i, convexity=convexity)), Load(rate), life_s))
    return lives


def changed_early(life: Life, share: float) -> Life:
    """The same filter, taken out before its end."""
    values = course(life_s=life.life_s or LIFE_S)
    return Life(curve_of(values, share), life.load, None)
