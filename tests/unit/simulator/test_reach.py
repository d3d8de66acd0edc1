"""A simulated machine without a network."""

import pytest

from dermafleet.errors import SettingError
from device_agent.simulator.reach import Reach, is_loss
from tests.unit.agent.build import FixedClock, instant


def test_the_broker_is_out_of_reach_during_a_loss_only() -> None:
    clock = FixedClock()
    reach = Reach(clock, ["network_loss=30@1m", "network_loss@5m"])
    answers = []
    for seconds in (0, 59, 60, 89, 90, 299, 300, 359, 361):
        clock.current = instant(seconds)
        answers.append(reach())
    assert answers == [True, True, False, False, True, True, False, False, True]


def test_a_loss_is_no_fault_of_the_machine() -> None:
    assert is_loss("network_loss@2m")
    assert not is_loss("leak_dirty_side=0.5@2m")


def test_a_loss_that_is_not_written_well_is_refused() -> None:
    with pytest.raises(SettingError, match="write it like"):
        Reach(FixedClock(), ["network_loss=long"])
