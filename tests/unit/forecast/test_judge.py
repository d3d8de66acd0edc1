"""How bad a filter is, from session to session."""

import numpy as np
import pytest

from services.alerts.forecast.curve import Curve, advance
from services.alerts.forecast.judge import SAMPLES, Standing, judge, note_level, note_share
from services.alerts.forecast.library import Library, learn
from services.alerts.forecast.life import Life, Load
from services.alerts.forecast.sessions import WARN_PROBABILITY, State, note_day, replaced, take_session
from services.alerts.tuning import FIRST

SESSION_S = 1500.0
DUE_SHARE = FIRST.filter_due_share


def _sessions(seed: int, *, up_to: float = 2.2) -> list[float]:
    """Ratios of a machine whose filter index grows by about 0.25 a session, rated at 20."""
    random = np.random.default_rng(seed)
    grown = np.cumsum(random.lognormal(np.log(0.21), 0.6, 400)) + 1
    return [float(x) for x in grown / 20 * np.exp(random.normal(0, 0.02, 400)) if x < up_to]


def _life(seed: int) -> Life:
    ratios, curve = _sessions(seed, up_to=1.1), Curve()
    advance(curve, np.full(len(ratios), SESSION_S), ratios, values_at_limit=1)
    return Life(curve, Load(), curve.reached_s)


LIBRARY = learn([_life(seed) for seed in range(20)])


def _severities(ratios: list[float], library: Library) -> list[int | None]:
    state = State()
    return [take_session(state, SESSION_S, ratio, library, Load()).severity for ratio in ratios]


@pytest.mark.parametrize("library", [Library(), LIBRARY], ids=["prior", "library"])
def test_filter_goes_through_all_severities_in_order(library: Library) -> None:
    ratios = _sessions(100)
    found = [each or 0 for each in _severities(ratios, library)]
    assert found == sorted(found)
    assert found.index(1) == next(i for i, ratio in enumerate(ratios) if ratio >= 0.25)
    assert found.index(3) == next(i for i, ratio in enumerate(ratios) if ratio >= 1.0)
    assert found.index(4) == next(i for i, ratio in enumerate(ratios) if ratio >= 2.0)


def test_service_is_due_with_a_tenth_to_three_tenths_of_the_life_left() -> None:
    for seed in range(100, 103):
        found = [each or 0 for each in _severities(_sessions(seed), LIBRARY)]
        assert 0.05 <= 1 - found.index(2) / found.index(3) <= 0.35
        assert found.index(3) - found.index(2) >= 10


def test_one_forecast_alone_is_a_whim() -> None:
    standing = Standing()
    note_share(standing, DUE_SHARE / 2, 1000.0, 0.5, due_share=DUE_SHARE)
    note_share(standing, DUE_SHARE * 2, 1030.0, 0.5, due_share=DUE_SHARE)
    note_share(standing, DUE_SHARE / 2, 1060.0, 0.5, due_share=DUE_SHARE)
    assert not standing.is_due
    note_share(standing, DUE_SHARE / 2, 1090.0, 0.5, due_share=DUE_SHARE)
    assert standing.is_due


def test_clean_filter_is_not_due_whatever_a_forecast_says() -> None:
    standing = Standing()
    for exposure_s in (1000.0, 1100.0, 1200.0):
        note_share(standing, 0.0, exposure_s, 0.05, due_share=DUE_SHARE)
    assert not standing.is_due


def test_level_must_hold_for_ten_seconds() -> None:
    standing = Standing()
    for _ in range(95):
        note_level(standing, 1.5, 0.1, SAMPLES)
        assert not judge(standing, 1.5)
    for _ in range(10):
        note_level(standing, 1.5, 0.1, SAMPLES)
        judge(standing, 1.5)
    assert standing.severity == 3


def test_new_filter_ends_the_old_curve_and_its_alarm() -> None:
    state = State()
    for ratio in _sessions(100, up_to=1.2):
        before = take_session(state, SESSION_S, ratio, LIBRARY, Load())
    found = take_session(state, SESSION_S, 0.05, LIBRARY, Load())
    assert before.severity == 3
    assert found.severity == 0
    assert found.has_changed
    assert found.ended is not None
    assert found.ended.reached_s is not None
    assert state.curve.exposure_s == SESSION_S


def test_maintenance_record_begins_a_new_filter() -> None:
    state = State()
    for ratio in _sessions(101, up_to=0.5):
        take_session(state, SESSION_S, ratio, LIBRARY, Load())
        note_day(state, 3, SESSION_S)
    replaced(state)
    assert state.curve.exposure_s == 0
    assert take_session(state, SESSION_S, 0.05, LIBRARY, Load()).severity == 0


def test_days_without_a_session_slow_the_pace() -> None:
    state = State()
    for day in (0, 1, 2, 9):
        for _ in range(6):
            note_day(state, day, SESSION_S)
    assert state.pace.days == 9
    assert state.pace.sessions_per_day == pytest.approx(2)
    assert state.pace.open_share == pytest.approx(1 / 3)


def test_evening_warning_comes_before_the_crossing_and_seldom_in_vain() -> None:
    told, crossed = [], []
    for seed in range(100, 116):
        state, chance = State(), None
        ratios = _sessions(seed, up_to=1.1)
        crossing = next(i for i, ratio in enumerate(ratios) if ratio >= 1)
        for i, ratio in enumerate(ratios[: crossing + 1]):
            if i % 6 == 0 and chance is not None:
                told.append(chance)
                crossed.append(crossing < i + 6)
            found = take_session(state, SESSION_S, ratio, LIBRARY, Load())
            note_day(state, i // 6, SESSION_S)
            chance = found.evening_probability
    warned, true = np.array(told) >= WARN_PROBABILITY, np.array(crossed)
    assert (warned & true).sum() / true.sum() >= 0.8
    assert (warned & ~true).sum() / warned.sum() <= 0.3
