"""Remaining life: right where the course tells, honest about the range, and never without a basis it names."""

import math
import time

import msgspec
import numpy as np
import pytest

from services.alerts.forecast.curve import Curve
from services.alerts.forecast.library import Library, learn
from services.alerts.forecast.life import Life, Load
from services.alerts.forecast.pace import Pace, take_day
from services.alerts.forecast.remaining import Forecast, Usage, forecast, will_cross_within
from tests.unit.forecast.filters import LIFE_S, changed_early, course, curve_of, earlier

LIBRARY = learn(earlier(24))
NEW_LIFE_S = LIFE_S * 1.05


def _at(share: float, library: Library = LIBRARY, *, life_s: float = NEW_LIFE_S, load: Load | None = None) -> Forecast:
    found = forecast(curve_of(course(life_s=life_s, seed=99), share), library, Usage(load or Load()))
    assert found is not None
    return found


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_library_finds_the_end_of_a_convex_course(share: float) -> None:
    found = _at(share)
    assert found.basis == "library"
    assert found.filters == 24
    assert found.remaining_s.p50 == pytest.approx((1 - share) * NEW_LIFE_S, abs=0.06 * NEW_LIFE_S)
    assert found.remaining_s.p10 <= found.remaining_s.p50 <= found.remaining_s.p90


def test_straight_line_would_be_far_off_where_the_forecast_is_not() -> None:
    values = course(life_s=NEW_LIFE_S, noise=0)
    half = values[: len(values) // 2]
    slope = (half[-1, 1] - half[-31, 1]) / (30 * half[0, 0])
    straight_s = (1 - half[-1, 1]) / slope
    truth_s = NEW_LIFE_S / 2
    assert abs(straight_s - truth_s) > 10 * abs(_at(0.5).remaining_s.p50 - truth_s)


def test_range_narrows_towards_the_end_and_is_nothing_at_the_limit() -> None:
    widths = [(found := _at(share).remaining_s).p90 - found.p10 for share in (0.3, 0.6, 0.95)]
    assert widths[0] > widths[1] > widths[2] > 0
    assert forecast(_reached(), LIBRARY, Usage()).remaining_s.p90 == 0  # type: ignore[union-attr]


def _reached() -> Curve:
    values = course()
    return curve_of(np.concatenate([values, np.column_stack([np.full(5, 600.0), np.full(5, 1.05)])]))


def test_eight_of_ten_truths_lie_in_the_range() -> None:
    inside = []
    for unit in range(40):
        life_s = LIFE_S * math.exp(np.random.default_rng([7, unit]).normal(0, 0.08))
        values = course(life_s=life_s, seed=500 + unit)
        for share in (0.2, 0.5, 0.8):
            left = forecast(curve_of(values, share), LIBRARY, Usage()).remaining_s  # type: ignore[union-attr]
            inside.append(left.p10 <= (1 - share) * life_s <= left.p90)
    assert 0.65 <= np.mean(inside) <= 0.95


def test_known_load_sets_the_clock_and_an_unknown_one_is_told_by_the_course() -> None:
    library = learn([*earlier(10, rate=1.0), *earlier(10, rate=3.0, seed=1)])
    for rate in (1.0, 3.0):
        for share, load in ((0.1, Load(rate)), (0.5, Load(rate)), (0.5, Load())):
            found = _at(share, library, life_s=LIFE_S / rate, load=load)
            assert found.remaining_s.p50 == pytest.approx((1 - share) * LIFE_S / rate, rel=0.2)


def test_filters_changed_early_lengthen_what_complete_ones_alone_would_say() -> None:
    short = [each for each in earlier(24, spread=0.25) if (each.life_s or 0) < LIFE_S]
    long = [changed_early(each, 0.9) for each in earlier(24, spread=0.25) if (each.life_s or 0) >= LIFE_S]
    alone, both = learn(short), learn([*short, *long])
    assert (both.complete, both.censored) == (len(short), len(long))
    truth_s = 0.85 * LIFE_S * 1.3
    errors = [abs(_at(0.15, each, life_s=LIFE_S * 1.3).remaining_s.p50 - truth_s) for each in (alone, both)]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_filters_give_a_wide_prior_that_says_so(n: int) -> None:
    found = _at(0.6, learn(earlier(n)))
    assert found.basis == "prior"
    assert found.filters == n
    assert found.remaining_s.p10 < 0.4 * NEW_LIFE_S < found.remaining_s.p90
    assert found.remaining_s.p90 / found.remaining_s.p10 > 1.5


def test_filter_unlike_all_earlier_ones_is_not_forecast_by_them() -> None:
    found = _at(0.5, life_s=LIFE_S * 12)
    assert found.basis == "prior"
    assert found.remaining_s.p10 > 0


def test_straight_growth_is_learned_as_well() -> None:
    library = learn(earlier(20, convexity=0))
    values = course(convexity=0, seed=77)
    for share in (0.3, 0.8):
        left = forecast(curve_of(values, share), library, Usage()).remaining_s  # type: ignore[union-attr]
        assert left.p50 == pytest.approx((1 - share) * LIFE_S, abs=0.06 * LIFE_S)


def test_too_short_a_course_is_not_forecast() -> None:
    assert forecast(curve_of(course(), 0.004), LIBRARY, Usage()) is None


def test_pace_tells_the_rest_as_sessions_and_days() -> None:
    pace = Pace()
    for day in range(56):
        take_day(pace, *((6, 9000.0) if day % 7 < 5 else (0, 0.0)))
    found = forecast(curve_of(course(), 0.5), LIBRARY, Usage(pace=pace))
    assert found is not None
    assert found.remaining_sessions is not None
    assert found.remaining_days is not None
    assert found.remaining_hours.p50 == pytest.approx(found.remaining_s.p50 / 3600)
    assert found.remaining_sessions.p50 == pytest.approx(found.remaining_s.p50 / 1500)
    assert found.remaining_days.p50 == pytest.approx(found.remaining_s.p50 / (9000 * 5 / 7), rel=0.15)


def test_crossing_on_the_next_day_is_likely_at_the_end_only() -> None:
    pace = Pace()
    take_day(pace, 6, 9000.0)
    chances = [
        will_cross_within(curve_of(course(life_s=NEW_LIFE_S, seed=5), share), LIBRARY, Usage(pace=pace))
        for share in (0.5, 0.99)
    ]
    assert chances[0] == pytest.approx(0, abs=0.01)
    assert chances[1] is not None
    assert chances[1] > 0.7


def test_library_survives_json_and_says_the_same() -> None:
    again = msgspec.json.decode(msgspec.json.encode(LIBRARY), type=Library)
    assert again == LIBRARY
    assert _at(0.5, again) == _at(0.5)


def test_unknown_time_scale_changes_nothing_but_the_scale() -> None:
    hours = [Life(curve_of(course(life_s=each.life_s / 3600)), Load(), each.life_s / 3600) for each in earlier(12)]  # type: ignore[operator]
    seconds = [Life(curve_of(course(life_s=each.life_s)), Load(), each.life_s) for each in earlier(12)]  # type: ignore[arg-type]
    short = _at(0.5, learn(hours), life_s=NEW_LIFE_S / 3600).remaining_s.p50
    assert short * 3600 == pytest.approx(_at(0.5, learn(seconds)).remaining_s.p50, rel=0.02)


def test_forecast_is_cheap() -> None:
    curve = curve_of(course(), 0.7)
    began = time.process_time()
    for _ in range(20):
        forecast(curve, LIBRARY, Usage())
    assert (time.process_time() - began) / 20 < 0.005
