"""One opinion on a filter: from its samples, from its sessions, and from the records of its service."""

import numpy as np
import pytest

from services.alerts.baselines import Normalised
from services.alerts.context import Context
from services.alerts.features.types import SessionFeatures
from services.alerts.findings import Findings
from services.alerts.intake_filter import State, distrust, rated_index, replaced, see, take_samples, take_session
from services.alerts.limits import Limits
from services.alerts.observation import Block, Observation, Origin
from tests.unit.alerts.machine import START_MS

M1 = Context(Limits(filter_dp_kpa=9.72, filter_flow_lpm=30.0))
RIG = Context(Limits(filter_dp_kpa=9.72, filter_flow_lpm=30.0, architecture="bench"))
DAY_MS = 86_400_000


def session(
    state: State,
    index: float | None,
    number: int,
    context: Context = M1,
    *,
    clean: float | None = None,
    purpose: str = "treatment",
    is_explained: bool = False,
) -> Findings:
    """A finished treatment; ``clean`` = this filter's own index as new, where that is learned."""
    ended_ms = START_MS + number * DAY_MS // 4
    features = SessionFeatures(
        session_id=f"s{number}",
        purpose=purpose,
        component="main",
        tip="",
        started_ms=ended_ms - 1_500_000,
        ended_ms=ended_ms,
        pump_s=1500.0,
        contact_s=700.0,
        strokes=200,
        filter_index=index,
    )
    normalised = Normalised(
        residuals=(),
        filter_index=None if index is None else index / (clean or 1.0),
        filter_index_error=None if index is None else 0.05,
        is_filter_learned=clean is not None,
        is_filter_exchanged=False,
        rejected=(),
        learned=(),
        ambient_kpa=101.3,
        mains_v=230.0,
        temperature_c=20.0,
    )
    return take_session(state, features, normalised, context, Origin("e", number), is_explained=is_explained)


def samples(
    state: State, ratio: float, first: int, count: int = 200, context: Context = M1, *, is_explained: bool = False
) -> list[Observation]:
    """That many seconds of pumping with the filter at this share of its limit."""
    at_ms = START_MS + 1000 * np.arange(first, first + count)
    channels = {
        "filter_dp_kpa": np.full(count, 9.72 * ratio),
        "flow_lpm": np.full(count, 30.0),
        "pump_on": np.ones(count),
    }
    block = Block("e", first + 1, "b", 1000 * first, at_ms, channels)
    return take_samples(state, block, context, is_explained=is_explained).observations


def severities(observations: list[Observation]) -> list[int | None]:
    return [each.severity for each in observations]


def test_rated_limit_of_m1_is_index_twenty() -> None:
    assert rated_index(M1) == pytest.approx(20)
    assert rated_index(Context(Limits())) is None


def test_filter_is_advised_of_at_index_five_and_a_fault_at_twenty() -> None:
    state = State()
    told = {index: session(state, index, n).observations for n, index in enumerate((1.0, 3.0, 4.5, 5.4, 9.0, 20.5))}
    assert severities(told[5.4]) == [1]
    assert severities(told[20.5]) == [3]
    assert not [each for index in (1.0, 3.0, 4.5) for each in told[index] if each.severity]
    assert told[20.5][-1].detail["filter_index"] == 20.5


@pytest.mark.parametrize("clean", [0.85, 1.0, 1.15])
def test_advisory_goes_by_what_this_machines_clean_filter_resists(clean: float) -> None:
    state = State()
    told = [session(state, clean * index, n, clean=clean).observations for n, index in enumerate((1.0, 4.7, 5.0))]
    assert [severities(each) for each in told[1:]] == [[], [1]]


def test_filter_that_no_record_tells_of_is_compared_with_those_before_it() -> None:
    state = State()
    for number, index in enumerate((1.15, 6.0)):
        session(state, index, number, clean=1.15)
    told = [session(state, 1.15 * index, n).observations for n, index in enumerate((1.0, 4.7, 5.0), 2)]
    assert [severities(each) for each in told] == [[None], [], [1]]


def test_seconds_a_little_above_the_limit_are_left_to_the_session() -> None:
    state = State()
    assert [each for each in samples(state, 1.03, 0) if each.severity] == []
    assert severities(session(state, 20.4, 1).observations) == [3]


def test_a_limit_reached_behind_a_full_canister_is_told_once_that_is_emptied() -> None:
    state = State()
    session(state, 4.0, 0)
    assert samples(state, 1.2, 0, is_explained=True) == []
    assert session(state, 24.0, 1, is_explained=True).observations == []
    assert severities(session(state, 24.0, 2).observations) == [3]


def test_gauge_at_its_rail_is_no_clog_and_is_forgotten_when_it_is_told() -> None:
    state = State()
    samples(state, 0.1, 0)
    assert samples(state, 3.0, 200, 29) == []
    distrust(state, ["filter_dp_kpa"])
    assert samples(state, 0.1, 300) == []
    assert severities(samples(state, 3.0, 500, 120))[-1] == 4


def test_self_test_shows_a_new_filter_and_else_decides_nothing() -> None:
    state = State()
    session(state, 4.0, 0)
    assert session(state, 8.0, 1, purpose="self_test") == Findings()
    assert severities(session(state, 8.0, 2).observations) == [1]
    replaced(state, "FILTER_INTAKE_REPLACED", M1)
    assert severities(session(state, 1.1, 3, purpose="self_test").observations) == [None]


def test_limit_reached_within_a_session_is_told_at_once_and_the_worse_holds() -> None:
    state = State()
    session(state, 6.0, 0)
    assert severities(samples(state, 1.1, 0))[-1] == 3
    assert None not in severities(session(state, 7.0, 1).observations)
    assert state.told == 3


def test_session_without_a_measured_filter_changes_nothing() -> None:
    state = State()
    session(state, 6.0, 0)
    assert session(state, None, 1) == Findings()
    assert state.told == 1


def test_recorded_change_ends_a_life_and_is_believed_when_a_session_shows_it() -> None:
    state = State()
    for number, index in enumerate((3.0, 8.0, 14.0, 19.0)):
        session(state, index, number)
    before = state.told
    assert before
    [life] = replaced(state, "FILTER_INTAKE_REPLACED", M1)
    assert (life.reason, life.life.life_s) == ("FILTER_INTAKE_REPLACED", None)
    assert state.told == before
    assert severities(session(state, 1.2, 5).observations) == [None]


def test_recorded_change_that_changed_nothing_leaves_the_fault() -> None:
    state = State()
    for number, index in enumerate((8.0, 21.0)):
        session(state, index, number)
    replaced(state, "FILTER_INTAKE_REPLACED", M1)
    assert None not in severities(session(state, 21.0, 5).observations)
    assert state.told == 3


def test_other_records_end_no_filter() -> None:
    state = State()
    session(state, 8.0, 0)
    assert replaced(state, "PUMP_REPLACED", M1) == []


def test_filter_that_fell_without_a_record_is_another_one() -> None:
    state = State()
    for number, index in enumerate((3.0, 9.0, 16.0)):
        session(state, index, number)
    found = session(state, 1.1, 3)
    assert [life.reason for life in found.lives] == ["observed"]
    assert severities(found.observations) == [None]


def test_rig_is_judged_and_forecast_by_its_samples() -> None:
    state = State()
    told = [each for n in range(12) for each in samples(state, 0.1 + 0.1 * n, 200 * n, context=RIG)]
    assert severities(told)[-1] == 3
    [forecast] = session(state, None, 1, RIG).forecasts
    assert forecast.ratio == pytest.approx(1.2, abs=0.1)
    assert forecast.hours[0] <= forecast.hours[1] <= forecast.hours[2]
    assert see(frozenset({"filter_dp_kpa"})) == (True, "", ())
    assert see(frozenset()) == (False, "filter_dp_kpa is not measured", ())


def test_opinion_that_becomes_sure_is_told_again() -> None:
    state, told = State(), []
    rng = np.random.default_rng(1)
    for second in range(0, 400, 10):
        ratio = min(0.2 + second / 60, 1.3)
        at_ms = START_MS + 1000 * np.arange(second, second + 10)
        wild = 0.9 if second < 100 else 0.0
        channels = {
            "filter_dp_kpa": 9.72 * ratio * (1 + wild * rng.uniform(-1, 1, 10)),
            "flow_lpm": np.full(10, 30.0),
            "pump_on": np.ones(10),
        }
        told += take_samples(state, Block("e", second + 1, "b", 1000 * second, at_ms, channels), M1).observations
    assert any(each.severity == 3 and each.confidence < 0.7 for each in told)
    assert (told[-1].severity, told[-1].confidence >= 0.7) == (3, True)


HYDRA = Context(Limits(filter_dp_kpa=9.72, filter_flow_lpm=30.0, architecture="hydra"))


def test_filter_behind_a_full_canister_is_judged_when_the_canister_is_empty_again() -> None:
    state = State()
    session(state, 2.0, 0)
    for number in (1, 2):
        assert session(state, 24.0, number, is_explained=True).observations == []
    assert [each.severity for each in session(state, 24.0, 3).observations] == [3]


def test_sudden_rise_of_a_hydra_machine_is_left_to_the_diagnosis_for_three_sessions() -> None:
    state = State()
    session(state, 1.2, 0, HYDRA)
    assert [bool(session(state, 31.0, number, HYDRA).observations) for number in (1, 2, 3, 4)] == [False] * 3 + [True]
    crystal = State()
    session(crystal, 1.2, 0)
    assert session(crystal, 31.0, 1).observations
