"""Evidence adds up, is forgotten, and no session and no month of health outweighs everything else."""

import numpy as np

from services.alerts.diagnosis import evidence
from services.alerts.diagnosis.evidence import Evidence


def _after(*gains: float, is_test: bool = False) -> Evidence:
    stock = Evidence()
    for gain in gains:
        evidence.add(stock, np.array([0.0, gain]), is_test=is_test)
    return stock


def test_one_treatment_never_says_more_than_its_limit() -> None:
    assert _after(500.0).treatment == [0.0, evidence.MOST]


def test_a_self_test_says_more_than_a_treatment() -> None:
    assert _after(500.0, is_test=True).test[1] > _after(500.0).treatment[1]


def test_a_year_of_health_delays_a_fault_no_more_than_one_session() -> None:
    assert _after(*[-30.0] * 1000, 30.0).treatment[1] > evidence.MOST + evidence.LEAST_STOCK


def test_treatments_that_cannot_see_a_leak_leave_what_the_self_test_showed() -> None:
    stock = _after(30.0, is_test=True)
    shown = stock.test[1]

    for _ in range(6):
        evidence.add(stock, np.array([0.0, 0.0]), is_test=False)

    assert stock.test[1] == shown


def test_a_fault_may_have_come_since_the_self_test_did_not_see_it() -> None:
    stock = _after(-30.0, is_test=True)
    for _ in range(6):
        evidence.add(stock, np.array([0.0, 0.0]), is_test=False)

    assert stock.test[1] > -1


def test_differences_between_faults_survive_the_limit() -> None:
    stock = Evidence()
    evidence.add(stock, np.array([0.0, 60.0, 55.0]), is_test=False)

    assert stock.treatment[1] - stock.treatment[2] == 5.0


def test_probabilities_of_one_name_are_summed() -> None:
    shares = evidence.probabilities(np.log([0.5, 0.2, 0.3]), ["", "leak", "leak"])

    assert abs(shares["leak"] - 0.5) < 1e-12
