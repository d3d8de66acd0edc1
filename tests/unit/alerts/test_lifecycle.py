"""The life of one alarm, step by step."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dermafleet.storage.alarms import Alarm, Standing
from services.alerts.lifecycle import alarm_id, decide
from services.alerts.observation import Observation, Origin

T0 = datetime(2026, 11, 1, tzinfo=UTC)


def observed(severity: int | None, minutes: int = 0) -> Observation:
    origin = Origin("a" * 16, 7, minutes)
    return Observation(
        "main", "filter_clogged", severity, T0 + timedelta(minutes=minutes), origin, 0.9, "f", 1, "because"
    )


def an_alarm(*, severity: int = 2, standing: Standing = "raised") -> Alarm:
    alarm = decide("D-1", None, observed(severity)).alarm
    assert alarm is not None
    return replace(alarm, standing=standing, cleared_at=T0 if standing == "cleared" else None)


def test_fault_raises_an_alarm_named_after_the_place_that_raised_it() -> None:
    decision = decide("D-1", None, observed(2))
    assert decision.transition == "raised"
    assert decision.alarm is not None
    assert decision.alarm.id == alarm_id("D-1", observed(2)) != alarm_id("D-2", observed(2))
    assert (decision.alarm.severity, decision.alarm.standing, decision.alarm.count) == (2, "raised", 1)


def test_no_fault_needs_no_alarm() -> None:
    assert decide("D-1", None, observed(None)).alarm is None


def test_cleared_alarm_is_raised_again_and_counted() -> None:
    gone = decide("D-1", an_alarm(), observed(None, 5))
    assert gone.transition == "cleared"
    assert gone.alarm is not None
    assert gone.alarm.cleared_at == T0 + timedelta(minutes=5)

    back = decide("D-1", gone.alarm, observed(3, 9))
    assert back.transition == "reraised"
    assert back.alarm is not None
    assert back.alarm.id == gone.alarm.id
    assert (back.alarm.count, back.alarm.severity, back.alarm.cleared_at) == (2, 3, None)
    assert back.alarm.raised_at == T0 + timedelta(minutes=9)


def test_alarm_that_is_cleared_stays_so() -> None:
    decision = decide("D-1", an_alarm(standing="cleared"), observed(None, 5))
    assert decision.transition is None
    assert decision.alarm == an_alarm(standing="cleared")


@pytest.mark.parametrize(
    ("before", "after", "standing", "transition", "then"),
    [
        (2, 3, "raised", "severity_up", "raised"),
        (2, 3, "acknowledged", "severity_up", "raised"),
        (2, 3, "shelved", "severity_up", "shelved"),
        (3, 2, "acknowledged", "severity_down", "acknowledged"),
        (2, 2, "acknowledged", None, "acknowledged"),
    ],
)
def test_severity_follows_the_fault(
    before: int, after: int, standing: Standing, transition: str | None, then: Standing
) -> None:
    decision = decide("D-1", an_alarm(severity=before, standing=standing), observed(after, 5))
    assert decision.transition == transition
    assert decision.alarm is not None
    assert (decision.alarm.severity, decision.alarm.standing) == (after, then)
    assert decision.alarm.last_at == T0 + timedelta(minutes=5)


@pytest.mark.parametrize("standing", ["raised", "acknowledged", "shelved"])
def test_every_standing_alarm_clears_with_its_fault(standing: Standing) -> None:
    decision = decide("D-1", an_alarm(standing=standing), observed(None, 5))
    assert decision.alarm is not None
    assert decision.alarm.standing == "cleared"


def test_unsure_fault_is_no_more_than_service_due_until_it_is_sure() -> None:
    unsure = replace(observed(3), confidence=0.65)
    first = decide("D-1", None, unsure)
    assert first.alarm is not None
    assert first.alarm.severity == 2
    assert decide("D-1", first.alarm, unsure).transition is None
    sure = decide("D-1", first.alarm, observed(3, 1))
    assert sure.transition == "severity_up"
    assert sure.alarm is not None
    assert sure.alarm.severity == 3
    assert decide("D-1", sure.alarm, replace(observed(3, 2), confidence=0.5)).transition is None
    assert decide("D-1", sure.alarm, replace(observed(2, 2), confidence=0.5)).transition == "severity_down"


def test_over_vacuum_is_as_severe_as_it_is_however_sure() -> None:
    hazard = replace(observed(4), fault="over_vacuum", confidence=0.3)
    alarm = decide("D-1", None, hazard).alarm
    assert alarm is not None
    assert alarm.severity == 4


def test_what_a_fault_may_be_instead_stands_in_the_alarm_and_leaves_it_again() -> None:
    alike = {"filter_clogged": 0.6, "return_path_blocked": 0.4}
    alarm = decide("D-1", None, replace(observed(2), detail={"ratio": 0.8}, candidates=alike)).alarm
    assert alarm is not None
    assert alarm.detail == {"ratio": 0.8, "candidates": alike}
    named = decide("D-1", alarm, replace(observed(2, 1), detail={"ratio": 0.9})).alarm
    assert named is not None
    assert named.detail == {"ratio": 0.9}
