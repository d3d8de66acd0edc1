"""Users' rules: raised and cleared after their time, whatever the blocks; a bad rule names its field."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermafleet.contracts.rules import InvalidRule, Rule, decode_rule
from services.alerts import rules
from services.alerts.features.types import Segment, SessionFeatures
from services.alerts.observation import Block, Observation, Origin

HOT = {
    "key": "pump_hot",
    "name": "Pump runs hot",
    "quantity": "pump_temp_c",
    "comparison": "above",
    "level": 80,
    "clear_level": 70,
    "duration_s": 2,
    "severity": 2,
    "message": "Let the machine rest and look at the fan.",
}


def rule(**changes: Any) -> Rule:
    return decode_rule(json.dumps({**HOT, **changes}).encode())


def block(values: list[float | None], *, at_ms: int = 0, pump: float = 1.0, seq: int = 1) -> Block:
    at = at_ms + 1000 * np.arange(len(values), dtype=np.int64)
    channels = {
        "pump_temp_c": np.array([np.nan if v is None else v for v in values], dtype=np.float64),
        "pump_on": np.full(len(values), pump),
    }
    return Block("e", seq, "b", at_ms, at, channels)


def told(found: list[Observation]) -> list[tuple[int, int | None]]:
    return [(round(o.at.timestamp()), o.severity) for o in found]


def test_channel_rule_is_raised_after_its_duration_and_cleared_past_its_clear_level() -> None:
    found = rules.watch({}, [rule()], block([79, 81, 82, 83, 75, 69, 69, 69, 69]), [])
    assert told(found) == [(3, 2), (7, None)]
    assert found[0].fault == "rule_pump_hot"
    assert found[0].detail["message"] == HOT["message"]
    assert found[0].reason == "pump_temp_c is 83, above 80"


def test_value_that_dips_below_the_level_starts_the_duration_anew() -> None:
    assert told(rules.watch({}, [rule()], block([81, 82, 80, 81, 82]), [])) == []


def test_rule_for_a_running_pump_does_not_count_while_it_is_off() -> None:
    assert rules.watch({}, [rule(state="on")], block([90] * 9, pump=0.0), []) == []
    assert len(rules.watch({}, [rule(state="off")], block([90] * 9, pump=0.0), [])) == 1


def test_values_that_were_not_measured_are_no_value() -> None:
    assert told(rules.watch({}, [rule()], block([81, None, 82, None, 83]), [])) == [(2, 2)]


@given(st.lists(st.one_of(st.none(), st.floats(60, 90)), max_size=30), st.integers(1, 29))
def test_result_does_not_depend_on_where_blocks_are_cut(values: list[float | None], cut: int) -> None:
    whole = told(rules.watch({}, [rule()], block(values), []))
    states: rules.States = {}
    parts = [block(values[:cut]), block(values[cut:], at_ms=1000 * cut, seq=2)]
    assert [each for part in parts for each in told(rules.watch(states, [rule()], part, []))] == whole


def test_rule_about_contact_looks_at_closed_segments() -> None:
    def segment(state: Any, value: float) -> Segment:
        return Segment(state, 10_000, 1.5, 1.0, {"pump_temp_c": value}, {}, {})

    contact = rule(state="contact")
    shown = [segment("contact", 85), segment("open", 85), segment("contact", 86)]
    assert len(rules.watch({}, [contact], block([20]), shown)) == 1
    assert rules.watch({}, [contact], block([20]), shown[:2]) == []


def test_feature_rule_counts_sessions_in_a_row() -> None:
    worn = rule(quantity="session.filter_index", level=5, clear_level=2, sessions=2)
    states: rules.States = {}
    found = [
        len(
            rules.judge(
                states, [worn], SessionFeatures("s", "treatment", "main", "", 0, 1, 1, 1, 1, filter_index=fi), O
            )
        )
        for fi in (6.0, 4.0, 6.0, 7.0, 1.0, None, 1.0)
    ]
    assert found == [0, 0, 0, 1, 0, 0, 1]


O = Origin("e", 1)  # noqa: E741


def test_new_version_keeps_the_standing_opinion_and_clears_by_its_own_level() -> None:
    states: rules.States = {}
    rules.watch(states, [rule()], block([90] * 5), [])
    assert (
        rules.watch(states, [rule(version=2, level=95, clear_level=85)], block([84] * 5, at_ms=5000), [])[0].severity
        is None
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"level": "hot"}, "rule.level"),
        ({"clear_level": 81}, "rule.clear_level"),
        ({"comparison": "below", "clear_level": 79}, "rule.clear_level"),
        ({"severity": 5}, "rule.severity"),
        ({"duration_s": -1}, "rule.duration_s"),
        ({"message": "line\nline"}, "rule.message"),
        ({"key": "Bad Key"}, "rule.key"),
        ({"quantity": "session.filter_index", "state": "contact"}, "rule.state"),
        ({"colour": "red"}, "rule"),
    ],
)
def test_bad_rule_is_refused_by_the_name_of_its_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRule) as refused:
        rule(**change)
    assert refused.value.field == field
