"""Users' rules: raised and cleared after their time, whatever the blocks; a bad rule names its field."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermafleet.contracts.rules import (
    SESSION_FIELDS,
    SESSION_VALUES,
    InvalidRule,
    Rule,
    check_quantity,
    decode_rule,
)
from services.alerts import rules
from services.alerts.features.types import CappedFeatures, ContactFeatures, Segment, SessionFeatures
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


def test_every_feature_that_a_rule_may_name_is_one_that_sessions_have() -> None:
    fields = set(SessionFeatures.__struct_fields__)
    assert set(SESSION_FIELDS) <= fields
    assert not fields & set(SESSION_VALUES)
    capped = CappedFeatures(True, {"vacuum_inlet_kpa": 80.0}, pump_down_s=2.0, leak_down_kpa_s=0.4)
    contacts = [ContactFeatures(40, 2, 9.0, {"flow_lpm": 9.0}), ContactFeatures(50, 7, 30.0, {"flow_lpm": 7.0})]
    shown = SessionFeatures("s", "treatment", "main", "", 0, 1, 1, 1, 1, contacts=contacts, capped=capped)
    assert rules.read_feature(shown, "capped.leak_down_kpa_s") == 0.4
    assert rules.read_feature(shown, "capped.vacuum_inlet_kpa") == 80.0
    assert rules.read_feature(shown, "contact.flow_lpm") == 7.0, "at the set point with the most strokes"
    assert rules.read_feature(shown, "open.flow_lpm") is None


def test_rule_that_holds_no_longer_is_forgotten_and_its_alarm_cleared() -> None:
    states: rules.States = {}
    rules.take(states, [rule()], block([90] * 5), [], component="main", raw=block([90] * 5))
    later = block([90] * 5, at_ms=5000, seq=2)
    [gone] = rules.take(states, [], later, [], component="main", raw=later)
    assert (gone.fault, gone.severity, gone.at.timestamp(), gone.detector_version) == ("rule_pump_hot", None, 5.0, 1)
    assert states == {}


def test_last_contact_of_a_session_is_shown_when_the_session_ends() -> None:
    segment = Segment("contact", 10_000, 4.0, 3.0, {"pump_temp_c": 85.0}, {}, {})
    found = rules.close({}, [rule(state="contact")], [segment], Origin("e", 9), component="main")
    assert told(found) == [(14, 2)]
    assert str(found[0].origin) == "e:9:0"


def test_contracts_refuse_what_nobody_measures() -> None:
    own = rule(quantity="temp_b")
    with pytest.raises(InvalidRule, match="no channel"):
        check_quantity(own, [])
    check_quantity(own, ["temp_b"])
    with pytest.raises(InvalidRule, match="session feature"):
        check_quantity(rule(quantity="session.mood"), [])
