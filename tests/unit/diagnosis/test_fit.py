"""What of a self-test is compared with the tables."""

import numpy as np
import pytest

from services.alerts.baselines import Normalised, Residual
from services.alerts.diagnosis import fit, signatures
from services.alerts.features.expected import LATE_RISE, PUMP_DOWN, SHARED


def capped(channel: str, measured: float, nominal: float, *, is_learned: bool, healthy: float = 0.0) -> Residual:
    off, shared = float(np.log(measured / nominal)) - healthy, (0.0,) * len(SHARED)
    return Residual("capped", channel, 40.0, measured, nominal, healthy, off, 0.03, shared, is_learned)


def compared(*residuals: Residual) -> fit.Fit:
    normalised = Normalised(
        residuals=residuals,
        filter_index=None,
        filter_index_error=None,
        is_filter_learned=False,
        is_filter_exchanged=False,
        rejected=(),
        learned=(),
        ambient_kpa=101.3,
        mains_v=230.0,
        temperature_c=20.0,
    )
    found = fit.compare(signatures.compute("crystal"), normalised)
    assert found is not None
    return found


PLATEAU = capped("vacuum_inlet_kpa", 78.6, 78.6, is_learned=True)


@pytest.mark.parametrize("channel", [PUMP_DOWN, LATE_RISE])
def test_time_of_a_self_test_speaks_only_against_the_machine_s_own(channel: str) -> None:
    fast = capped(channel, 2.0, 4.0, is_learned=False)
    assert np.array_equal(compared(PLATEAU, fast).chi2, compared(PLATEAU).chi2)
    own = capped(channel, 2.0, 4.0, is_learned=True)
    assert not np.array_equal(compared(PLATEAU, own).chi2, compared(PLATEAU).chi2)


def test_a_regulator_that_shuts_changes_little_where_it_was_hardly_open() -> None:
    shut = signatures.compute("crystal").faults.index("regulator_shut") + 4
    usual = compared(PLATEAU).chi2[shut].min()
    own_maximum = capped("vacuum_inlet_kpa", 92.0, 78.6, is_learned=True, healthy=float(np.log(92.0 / 78.6)))
    assert compared(own_maximum).chi2[shut].min() < 0.1 * usual


def test_a_rise_that_does_not_slow_down_lets_a_high_maximum_be_expected() -> None:
    down = capped(PUMP_DOWN, 2.0, 2.6, is_learned=True, healthy=float(np.log(2.0 / 2.6)))
    late = capped(LATE_RISE, 1.3, 2.27, is_learned=True, healthy=float(np.log(1.3 / 2.27)))
    usual, high = (capped("vacuum_inlet_kpa", kpa, 78.6, is_learned=False) for kpa in (78.6, 90.0))
    assert compared(high, down, late).chi2[0].min() < 2 < compared(usual, down, late).chi2[0].min()
