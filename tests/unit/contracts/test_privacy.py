"""Nothing about a person gets past the schema, whatever a device sends."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermafleet.contracts.records import decode_event, decode_session, maintenance_of, screening_of
from dermafleet.errors import InvalidEntry
from tests.unit.contracts.build import EVENT, SESSION, changed

PERSON = "Anna Smith, 1975"


def kept(**fields: Any) -> dict[str, Any]:
    """What is stored of a session with these fields, beyond the sound one."""
    _, document = decode_session(changed(SESSION, **fields))
    stored: dict[str, Any] = msgspec.json.decode(document)
    return {name: value for name, value in stored.items() if name not in msgspec.to_builtins(SESSION)}


@pytest.mark.parametrize(
    "fields",
    [
        {"client": PERSON},
        {"notes": {"a": [PERSON]}},
        {PERSON: 1},
        {"reasons": ["DIABETES"]},
        {"contraindications": ["DIABETES"]},
        {"abort_reason": PERSON},
        {"abort_reason": "ANNA_SMITH"},
        {"tip_type": ["CRYSTAL_STEEL", PERSON]},
        {"screening_outcome": {"by": PERSON}},
        {"indications": ["ACNE_COMEDONAL"]},
        {"body_sites": ["NECK"], "privacy": "machine-only"},
        {"indications": ["ANNA"], "privacy": "coded"},
        {"indications": ["DIABETES"], "privacy": "coded"},
    ],
)
def test_what_may_name_a_person_is_taken_out_and_counted(fields: dict[str, Any]) -> None:
    left = kept(**fields)
    assert left.pop("removed_fields") == 1
    assert left.items() <= {"privacy": fields.get("privacy")}.items()


def test_codes_and_numbers_stay() -> None:
    fields = {
        "indications": ["ACNE_COMEDONAL", "FINE_LINES"],
        "body_sites": ["NECK"],
        "privacy": "coded",
        "abort_reason": "SCHEDULE",
        "vocabulary": 1,
        "lifts": 4,
        "is_wet": True,
        "warmth_k": None,
    }
    assert kept(**fields) == fields


def test_codes_of_a_newer_vocabulary_stay_and_texts_do_not() -> None:
    assert kept(tip_type="CERAMIC", vocabulary=2) == {"tip_type": "CERAMIC", "vocabulary": 2}
    assert kept(tip_type="Ceramic tip", vocabulary=2) == {"vocabulary": 2, "removed_fields": 1}


def test_counters_hold_nothing_but_counters() -> None:
    counters = {"generation": "0" * 16, "pump_s": 5.0, "owner": PERSON}
    assert kept(counters=counters) == {"counters": {"generation": "0" * 16, "pump_s": 5.0}}


@given(st.dictionaries(st.text(max_size=12), st.text(min_size=1, max_size=12), max_size=6))
def test_no_text_that_the_protocol_does_not_name_is_ever_kept(fields: dict[str, str]) -> None:
    unknown = {name: value for name, value in fields.items() if name not in SESSION.__struct_fields__}
    if "\x00" in "".join([*unknown, *unknown.values()]):
        return
    assert kept(**unknown) == ({"removed_fields": len(unknown)} if unknown else {})


@pytest.mark.parametrize(
    ("type", "data", "field"),
    [
        ("maintenance", {}, "event.data.type"),
        ("maintenance", {"type": "WASHED"}, "event.data.type"),
        ("maintenance", {"type": "washed it"}, "event.data.type"),
        ("maintenance", {"type": "SEAL_REPLACED", "by": PERSON}, "event.data"),
        ("maintenance", {"type": "SEAL_REPLACED", "part_lot": PERSON}, "event.data.part_lot"),
        ("maintenance", {"type": "SEAL_REPLACED", "component": "Main"}, "event.data.component"),
        ("screening", {"day": "today"}, "event.data.day"),
        ("screening", {"day": "2026-03-04", "refused": -1}, "event.data.refused"),
        ("screening", {"day": "2026-03-04", "client": PERSON}, "event.data"),
        ("screening", {"day": "2026-03-04", "contraindications": {"DIABETES": 1}}, "event.data.contraindications"),
        (
            "screening",
            {"day": "2026-03-04", "privacy": "coded", "contraindications": {"ANNA": 1}},
            "event.data.contraindications",
        ),
    ],
)
def test_events_say_what_they_may_and_nothing_else(type: str, data: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidEntry) as refused:
        decode_event(changed(EVENT, type=type, data=data))
    assert refused.value.field == field
    assert PERSON not in str(refused.value)


def test_maintenance_and_counts_are_read() -> None:
    done, _ = decode_event(changed(EVENT, type="maintenance", data={"type": "SEAL_REPLACED", "part_lot": "L-17"}))
    assert (maintenance_of(done).component, maintenance_of(done).part_lot) == ("main", "L-17")
    data = {"day": "2026-03-04", "refused": 2, "privacy": "coded", "contraindications": {"DIABETES": 2}}
    counted, _ = decode_event(changed(EVENT, type="screening", data=data))
    assert (screening_of(counted).refused, screening_of(counted).contraindications) == (2, {"DIABETES": 2})
