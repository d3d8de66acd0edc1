"""A refused client leaves a count of the day, never a session, and reasons only where the clinic agreed."""

import pytest

from dermafleet.contracts.records import Event, Privacy, Session, decode_event, encode_record, screening_of
from device_agent.drivers import Operator
from device_agent.recorder import Note, Rates, Recorder
from device_agent.screening import TALLY, read_tally
from device_agent.sessions import SessionRules
from tests.unit.agent.build import instant, sample

DAY_S = 86_400.0


def recorder(privacy: Privacy) -> Recorder:
    return Recorder(Rates(), SessionRules(privacy=privacy))


def notes(r: Recorder) -> list[Note]:
    return [item for item in r.waiting if isinstance(item, Note)]


def events(r: Recorder) -> list[Event]:
    return [note.event for note in notes(r) if note.event is not None]


@pytest.mark.parametrize(("privacy", "reasons"), [("machine-only", {}), ("coded", {"DIABETES": 2, "WAXING_RECENT": 1})])
def test_the_day_is_told_as_counts_when_it_is_over(privacy: Privacy, reasons: dict[str, int]) -> None:
    r = recorder(privacy)
    r.take(sample(0), 0)
    r.tell(Operator(contraindications=["DIABETES"]), instant())
    r.tell(Operator(contraindications=["DIABETES"], screening_outcome="REFUSED"), instant())
    r.tell(Operator(contraindications=["WAXING_RECENT"]), instant())
    assert events(r) == []
    r.take(sample(DAY_S), DAY_S)
    [event] = events(r)
    told = screening_of(decode_event(encode_record(event))[0])
    assert (told.refused, told.deferred, dict(told.contraindications)) == (2, 1, reasons)
    assert not [item for item in r.waiting if isinstance(item, Session)]
    r.take(sample(2 * DAY_S), 2 * DAY_S)
    assert len(events(r)) == 1


def test_counts_survive_a_restart_and_lose_their_reasons_when_the_clinic_withdraws() -> None:
    r = recorder("coded")
    r.tell(Operator(contraindications=["DIABETES"]), instant())
    remembered = read_tally(notes(r)[-1].facts[TALLY])
    again = recorder("machine-only")
    again.resume(None, remembered)
    again.take(sample(DAY_S), 0)
    [event] = events(again)
    told = screening_of(event)
    assert (told.refused, told.privacy, told.contraindications) == (1, "machine-only", {})


def test_who_passed_is_not_counted_and_the_outcome_is_on_the_session() -> None:
    r = recorder("machine-only")
    r.take(sample(0), 0)
    r.tell(Operator(contraindications=["ANTICOAGULANT"]), instant())
    assert notes(r) == []
    r.take(sample(1, pump_on=1.0, vacuum_inlet_kpa=2.4), 1)
    r.take(sample(2, pump_on=1.0, vacuum_inlet_kpa=40.0), 2)
    [start] = [item for item in r.waiting if isinstance(item, Session)]
    assert start.screening_outcome == "PASSED_SUPERVISED"


def test_a_refusal_is_not_on_the_session_of_the_next_client() -> None:
    r = recorder("coded")
    r.take(sample(0), 0)
    r.tell(Operator(screening_outcome="REFUSED"), instant())
    r.take(sample(1, pump_on=1.0, vacuum_inlet_kpa=2.4), 1)
    r.take(sample(2, pump_on=1.0, vacuum_inlet_kpa=40.0), 2)
    [start] = [item for item in r.waiting if isinstance(item, Session)]
    assert start.screening_outcome is None
