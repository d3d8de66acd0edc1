"""What alarms say to people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.faults import FAULTS
from services.api.texts import candidates_of, statement_of, title_of

KEYS = ["ratio", "dp_kpa", "limit_kpa", "flow_lpm", "vacuum_kpa", "channel", "channels", "candidates"]


def test_statement_says_what_how_sure_and_what_to_do() -> None:
    text = statement_of("filter_clogged", 2, 0.6, {"ratio": 0.84, "dp_kpa": 4.2, "limit_kpa": 5})
    assert text == (
        "The pressure drop across the intake filter is at 84% of its rated limit: 4.20 kPa measured, 5.00 kPa allowed "
        "at rated flow. Plan to replace the filter within three days. "
        "This is not certain (60%): check before you replace a part."
    )


@given(
    st.sampled_from(sorted(FAULTS)),
    st.dictionaries(
        st.sampled_from(KEYS),
        st.none() | st.text() | st.floats() | st.lists(st.text()) | st.dictionaries(st.text(), st.floats(0, 1)),
    ),
)
def test_statement_is_a_sentence_whatever_the_detail(fault: str, detail: dict[str, object]) -> None:
    candidates = candidates_of(detail)
    assert statement_of(fault, 3, 1.0, detail, candidates).endswith(".")
    assert title_of(fault, candidates)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_says_what_is_wrong_and_what_to_do(fault: str) -> None:
    known = FAULTS[fault]
    assert known.title[0].isupper()
    assert not known.title.endswith(".")
    assert known.part == known.part.strip()
    assert known.state
    assert known.action.endswith(".")


def test_unknown_fault_is_readable() -> None:
    assert title_of("tip_worn") == "Tip worn"
    assert statement_of("tip_worn", 1, 1, {}).startswith("Tip worn")


def test_faults_that_cannot_be_told_apart_are_named_together() -> None:
    alike = {"filter_clogged": 0.6, "return_path_blocked": 0.4}
    assert title_of("filter_clogged", alike) == "Intake filter or return hose blocked"
    assert "cannot tell it from: return hose or handpiece blocked." in statement_of("filter_clogged", 2, 1, {}, alike)
    three = {"pump_worn": 0.5, "mains_low": 0.3, "pump_valve_leak": 0.2}
    assert title_of("pump_worn", three) == "Pump worn, mains voltage low or pump valves leak"


def test_improbable_candidate_is_not_named() -> None:
    assert title_of("filter_clogged", {"filter_clogged": 0.95, "pump_worn": 0.05}) == "Intake filter clogged"


def test_sensor_is_named() -> None:
    assert "Channel: flow_lpm, mains_v." in statement_of("sensor_stuck", 2, 1, {"channels": ["flow_lpm", "mains_v"]})


def test_clog_without_a_pressure_sensor_claims_no_pressure_drop() -> None:
    assert "pressure drop" not in statement_of("filter_clogged", 2, 1, {"open_vacuum_ratio": 0.06})


def test_candidates_come_most_probable_first() -> None:
    found = candidates_of({"candidates": {"a": 0.2, "b": 0.5, "c": "?", "d": 0.5}})
    assert list(found) == ["b", "d", "a"]
    assert candidates_of({"candidates": None}) == {}
