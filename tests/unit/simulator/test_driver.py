"""A live simulated machine as the agent reads it."""

import json
from pathlib import Path
from statistics import mean

import pytest

from dermafleet.contracts.channels import CHANNELS
from dermafleet.errors import SettingError
from device_agent.clock import Instant
from device_agent.drivers import Sample
from device_agent.simulator.clocks import FaultyClock
from device_agent.simulator.driver import CLOGGED_INDEX, HallDriver, alone, begin_fault, live
from device_agent.simulator.faults import DRIFT, Scheduled
from device_agent.simulator.hall import Guest, Hall
from device_agent.simulator.truth import TruthFile
from tests.unit.agent.build import FixedClock, instant


def read(driver: HallDriver, seconds: float) -> list[Sample]:
    samples = []
    for second in range(round(seconds)):
        while (sample := driver.read(instant(second + 0.999))) is not None:
            samples.append(sample)
    return samples


def faulty(fault: str, *, clog_s: float = 10.0, seed: int = 3) -> HallDriver:
    return HallDriver(Hall([Guest(live(seed), (begin_fault(fault, clog_s),))]), 0)


def test_ten_samples_a_second_with_every_channel_in_its_range() -> None:
    samples = read(alone(1, 10.0), 10)
    assert 90 <= len(samples) <= 100
    for channel in CHANNELS:
        assert all(channel.low <= (s.values[channel.name] or 0) <= channel.high for s in samples), channel.name


def test_a_slower_rate_skips_and_keeps_the_pace_of_the_machine() -> None:
    fast, slow = read(alone(1, 10.0), 5), read(alone(1, 2.0), 5)
    assert len(slow) == pytest.approx(len(fast) / 5, abs=1)
    assert [s.values for s in slow] == [s.values for s in fast[::5]]


def test_a_filter_clogs_within_its_time_while_the_pump_runs() -> None:
    driver = faulty("filter_clogged")
    first, later = read(driver, 5), read(driver, 60)[-100:]
    assert (
        max(s.values["filter_dp_kpa"] or 0 for s in later) > 9.72 > max(s.values["filter_dp_kpa"] or 0 for s in first)
    )
    assert all(s.values["pump_on"] == 1 for s in (*first, *later))


def test_a_fault_begins_when_it_is_due() -> None:
    driver = faulty("sensor_rail@10s")
    samples = read(driver, 20)
    constant = {n for n in samples[0].values if len({s.values[n] for s in samples[120:]}) == 1} - {
        "pump_on",
        "pump_duty",
    }
    before = {n for n in constant if len({s.values[n] for s in samples[:100]}) > 1}
    assert before


def test_machines_of_a_hall_do_not_disturb_each_other() -> None:
    hall = Hall([Guest(live(seed)) for seed in (5, 6, 7)])
    among = [HallDriver(hall, number) for number in range(3)]
    together = [[sample.values for sample in read(driver, 5)] for driver in among]
    assert together[1] == [sample.values for sample in read(alone(6, 10.0), 5)]
    assert together[0] != together[1]


def test_most_machines_are_busy_at_once() -> None:
    hall = Hall([Guest(live(seed)) for seed in range(60)])
    busy = [read(HallDriver(hall, number), 1)[-1].values["pump_on"] or 0 for number in range(60)]
    assert 0.5 < mean(busy) < 0.85


def test_the_operator_tells_of_tip_and_screening_once_per_treatment() -> None:
    told = [sample.operator for sample in read(faulty("pump_worn"), 3) if sample.operator is not None]
    assert [(each.modality, each.screening_outcome) for each in told] == [("CRYSTAL", "PASSED")]


@pytest.mark.parametrize("text", ["smells", "pump_worn@soon", "pump_worn=much", "pump_worn@3"])
def test_a_fault_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingError):
        begin_fault(text, 60.0)


def test_a_fault_is_written_with_level_and_time() -> None:
    begins_s, fault = begin_fault("leak_dirty_side=0.5@3d", 60.0)
    assert (begins_s, fault.fault, fault.level) == (3 * 86_400, "leak_dirty_side", 0.5)
    assert begin_fault("filter_clogged", 60.0)[1].final_level == CLOGGED_INDEX


def test_clocks_can_be_unset_step_and_drift() -> None:
    right = FixedClock()
    unset, stepped, drifting = (
        FaultyClock(right, "unset"),
        FaultyClock(right, "stepped"),
        FaultyClock(right, "drifting"),
    )
    for clock in (unset, stepped, drifting):
        clock.now()
    right.current = instant(100)
    assert (unset.now().at, unset.now().clock) == (100_000, "unset")
    assert stepped.now() == Instant(right.current.at + 3_600_000, right.current.up, "boot-1", "synced")
    assert drifting.now().at - right.current.at == 20


def test_the_truth_is_written_when_it_changes(tmp_path: Path) -> None:
    hall = Hall([Guest(live(3), (begin_fault("pump_worn@2s", 60.0),))])
    driver = HallDriver(hall, 0, truth=TruthFile(tmp_path, "D-1"))
    read(driver, 6)
    driver.close()
    first, second = map(json.loads, (tmp_path / "D-1.jsonl").read_text().splitlines())
    assert first["faults"] == []
    (fault,) = second["faults"]
    assert (fault["fault"], fault["level"], fault["component"]) == ("pump_worn", 0.75, "main")
    assert first["at"] < fault["since_ms"] <= second["at"]


def test_a_sensor_that_lies_goes_on_lying_while_the_machine_stands() -> None:
    life = live(8)
    life.suffer([Scheduled(fault="sensor_drift", level=2.0, onset=-1, channel="filter_dp_kpa")])
    samples = read(HallDriver(Hall([Guest(life)]), 0), 20)
    resting = [s.values["filter_dp_kpa"] or 0.0 for s in samples if s.values["pump_on"] == 0]
    assert len(resting) == len(samples)
    assert mean(resting) == pytest.approx(2 * DRIFT["filter_dp_kpa"], abs=0.5)
