"""All filters at one age: an opinion that need not decide for a load, given only where enough filters became so old."""

import math

import msgspec
import numpy as np
import pytest

from services.alerts.forecast.library import Library, learn
from services.alerts.forecast.life import Life, Load
from services.alerts.forecast.pool import MIN_FILTERS, Pool, learn_pool, log_life
from services.alerts.forecast.remaining import Usage, forecast
from services.alerts.forecast.shape import course_of
from tests.unit.forecast.filters import LIFE_S, course, curve_of, earlier

RATES = (1.0, 1.6)
LIVES = [*earlier(12, rate=RATES[0]), *earlier(12, rate=RATES[1], seed=1)]
POOL = learn_pool(LIVES)


@pytest.mark.parametrize("rate", RATES)
def test_level_and_rise_tell_how_long_a_filter_lives(rate: float) -> None:
    curve = curve_of(course(life_s=LIFE_S / rate, seed=99), 0.6)
    found = log_life(POOL, course_of(curve), curve.exposure_s)
    assert found is not None
    assert found[0] == pytest.approx(math.log(LIFE_S / rate), abs=0.1)
    assert 0 < found[1] < 0.2


def test_no_course_promises_a_life_that_no_filter_had() -> None:
    curve = curve_of(course(life_s=LIFE_S * 5), 0.1)
    found = log_life(POOL, course_of(curve), curve.exposure_s)
    assert found is not None
    assert found[0] <= math.log(max(each.life_s or 0.0 for each in LIVES)) + 1e-4


def test_filter_older_than_most_ever_became_gets_no_opinion() -> None:
    curve = curve_of(course(life_s=LIFE_S * 3), 0.5)
    assert log_life(POOL, course_of(curve), curve.exposure_s) is None


def test_too_few_filters_have_no_opinion() -> None:
    curve = curve_of(course(), 0.3)
    for pool in (Pool(), learn_pool(LIVES[: MIN_FILTERS - 1])):
        assert log_life(pool, course_of(curve), curve.exposure_s) is None


def test_opinion_does_not_jump_between_ages() -> None:
    whole = course(life_s=LIFE_S, noise=0.0)
    told = []
    for share in np.arange(0.3, 0.5, 1 / 300):
        curve = curve_of(whole, share)
        told.append(log_life(POOL, course_of(curve), curve.exposure_s))
    steps = np.diff([each[0] for each in told if each is not None])
    assert len(steps) > 50
    assert np.abs(steps).max() < 0.03


def test_pool_lessens_errors_while_the_course_leaves_a_choice_of_loads() -> None:
    library = learn(LIVES)
    without = msgspec.structs.replace(library, pool=Pool())
    assert _error(library, Load()) < 0.97 * _error(without, Load())


@pytest.mark.parametrize("load", [Load(RATES[0]), Load(RATES[0], {"size": 1.0}), Load(covariates={"size": 1.0})])
def test_pool_is_not_asked_where_part_of_the_load_is_known(load: Load) -> None:
    sized = [Life(each.curve, Load(each.load.rate, {"size": 1.0 + i % 2}), each.life_s) for i, each in enumerate(LIVES)]
    library = learn(sized)
    curve, usage = curve_of(course(), 0.2), Usage(load)
    assert forecast(curve, library, usage) == forecast(curve, msgspec.structs.replace(library, pool=Pool()), usage)


def _error(library: Library, load: Load) -> float:
    """Root mean square over early forecasts of filters of both loads, as a share of their life."""
    errors = []
    for unit in range(24):
        life_s = LIFE_S / RATES[unit % 2]
        values = course(life_s=life_s, seed=300 + unit)
        for share in (0.1, 0.15, 0.2):
            found = forecast(curve_of(values, share), library, Usage(load))
            assert found is not None
            errors.append(found.remaining_s.p50 / life_s - (1 - share))
    return float(np.sqrt(np.mean(np.square(errors))))
