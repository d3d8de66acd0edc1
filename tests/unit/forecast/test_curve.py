"""The course of one filter: small, and the same however its values arrive."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.alerts.forecast.curve import MAX_BINS, Curve, advance
from services.alerts.forecast.shape import course_of, cut
from tests.unit.forecast.filters import LIFE_S, course, curve_of


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 299), max_size=12))
def test_course_does_not_depend_on_the_cut_into_calls(cuts: list[int]) -> None:
    values = course()
    values[50:60, 1] = np.nan
    values[70, 0] = 0.0
    torn = Curve()
    for part in np.split(values, sorted(cuts)):
        advance(torn, part[:, 0], part[:, 1])
        torn = msgspec.json.decode(msgspec.json.encode(torn), type=Curve)
    assert torn == curve_of(values)


def test_course_stays_small_however_long_it_lasts() -> None:
    curve = Curve()
    for _ in range(50):
        advance(curve, np.full(20_000, 37.123456), np.random.default_rng(1).random(20_000))
    assert len(curve.seconds) <= MAX_BINS
    assert len(msgspec.json.encode(curve)) < 20_000


def test_course_tells_what_the_ratio_was_at_each_age() -> None:
    found = course_of(curve_of(course(convexity=0, noise=0)))
    assert found.ratio == pytest.approx(0.02 + 0.98 * found.exposure / LIFE_S, abs=1e-6)
    assert np.all(np.diff(found.exposure) > 0)


def test_finished_course_cut_back_is_what_was_known_then() -> None:
    values = course()
    whole, age = cut(course_of(curve_of(values)), 0.4 * LIFE_S)
    young = course_of(curve_of(values, 0.4))
    known = young.ratio[young.exposure < age]
    assert len(whole.ratio) > 60
    assert whole.ratio[-60:] == pytest.approx(known[-60:], rel=1e-12)


def test_limit_is_reached_by_several_values_not_by_one() -> None:
    curve = Curve()
    advance(curve, np.ones(50), np.where(np.arange(50) == 20, 2.5, 0.3))
    assert curve.reached_s is None
    advance(curve, np.ones(10), np.full(10, 1.01))
    assert curve.reached_s == pytest.approx(55, abs=1)


def test_unknown_values_cost_time_but_say_nothing() -> None:
    curve = Curve()
    advance(curve, np.ones(10), np.full(10, np.nan))
    assert curve.exposure_s == 10
    assert not curve.seconds
