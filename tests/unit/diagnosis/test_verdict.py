"""One name at a time: raised on strong evidence, replaced by a better one, cleared when health explains more."""

import pytest

from services.alerts.diagnosis import verdict
from services.alerts.diagnosis.signatures import HEALTHY, MILD
from services.alerts.diagnosis.verdict import Standing

SEVERITIES = {"leak": 3, "jam": 3, "worn": 2}


def _shares(**faults: float) -> dict[str, float]:
    rest = 1 - sum(faults.values())
    return {HEALTHY: rest, MILD: 0.0, "leak": 0.0, "jam": 0.0, "worn": 0.0} | faults


def test_a_fault_without_rivals_is_named_at_once() -> None:
    told = verdict.decide(Standing(), _shares(leak=0.997), SEVERITIES)

    assert (told.fault, told.severity, dict(told.candidates)) == ("leak", 3, {})


@pytest.mark.parametrize("shares", [_shares(leak=0.9), _shares(leak=0.3, jam=0.3), _shares()])
def test_nothing_is_named_while_health_may_explain_it(shares: dict[str, float]) -> None:
    assert verdict.decide(Standing(), shares, SEVERITIES) == verdict.Verdict()


def test_a_mild_level_is_no_fault() -> None:
    shares = _shares(leak=0.2) | {MILD: 0.8, HEALTHY: 0.0}

    assert verdict.decide(Standing(), shares, SEVERITIES) == verdict.Verdict()


def test_where_two_names_fit_both_are_told_one_session_later_and_only_as_a_check() -> None:
    standing, shares = Standing(), _shares(leak=0.55, jam=0.449)

    first = verdict.decide(standing, shares, SEVERITIES)
    second = verdict.decide(standing, shares, SEVERITIES)

    assert first == verdict.Verdict()
    assert (second.fault, second.severity, set(second.candidates)) == ("leak", verdict.CHECK, {"leak", "jam"})


def test_an_opinion_that_did_not_change_is_not_told_again() -> None:
    standing = Standing()
    verdict.decide(standing, _shares(leak=0.997), SEVERITIES)

    assert verdict.decide(standing, _shares(leak=0.9), SEVERITIES) == verdict.Verdict()


def test_a_better_explanation_replaces_the_name() -> None:
    standing = Standing()
    verdict.decide(standing, _shares(leak=0.997), SEVERITIES)

    told = verdict.decide(standing, _shares(leak=0.01, jam=0.989), SEVERITIES)

    assert (told.gone, told.fault) == ("leak", "jam")


def test_a_name_hardly_better_does_not() -> None:
    standing = Standing()
    verdict.decide(standing, _shares(leak=0.997), SEVERITIES)

    told = verdict.decide(standing, _shares(leak=0.3, jam=0.699), SEVERITIES)

    assert (told.gone, told.fault) == ("", "leak")


def test_a_fault_is_gone_only_when_health_explains_clearly_more() -> None:
    standing = Standing()
    verdict.decide(standing, _shares(leak=0.997), SEVERITIES)

    doubtful = verdict.decide(standing, _shares(leak=0.4), SEVERITIES)
    gone = verdict.decide(standing, _shares(leak=0.1), SEVERITIES)

    assert doubtful.gone == ""
    assert (gone.gone, gone.fault, standing.fault) == ("leak", "", "")


def test_a_lower_severity_needs_two_sessions() -> None:
    standing, shares = Standing(), _shares(leak=0.997)
    verdict.decide(standing, shares, SEVERITIES)

    severities = SEVERITIES | {"leak": 2}
    verdict.decide(standing, shares, severities)
    once = standing.severity
    verdict.decide(standing, shares, severities)

    assert (once, standing.severity) == (3, 2)
