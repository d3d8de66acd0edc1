"""A case's name says what machines are given."""

import pytest

from bench.detection.cases import GROWING, PAIRS, SINGLE, case_of, limits_of, others
from dermafleet.errors import SettingError
from device_agent.simulator.plan import device_id_of, seed_of


def test_a_fault_alone_has_its_medium_level_on_the_crystal_machine_after_the_learning_window() -> None:
    case = case_of("leak_dirty_side")
    (fault,) = case.scheduled
    assert (case.model, case.component, case.faults) == ("crystal-m1", "main", ("leak_dirty_side",))
    assert (fault.final_level, fault.onset, fault.growing) == (1.0, 5, 0)


def test_a_pair_on_the_second_circuit_has_levels_and_growth() -> None:
    case = case_of("filter_clogged=16+pump_worn~4@crystal-duo/second")
    clog, wear = case.scheduled
    assert (case.model, case.component) == ("crystal-duo", "second")
    assert (clog.final_level, clog.growing, clog.component) == (16.0, 0, "second")
    assert (wear.final_level, wear.growing) == (0.75, 4)


def test_healthy_machines_have_no_fault() -> None:
    assert case_of("healthy@hydra").scheduled == ()
    assert case_of("healthy@hydra").model == "hydra"


def test_a_motor_has_time_to_warm_up() -> None:
    assert case_of("motor_overheated").plan(1, 2).pump_s == 1500
    assert case_of("pump_worn").plan(1, 2).pump_s == 200


def test_every_case_of_an_evaluation_can_be_simulated() -> None:
    for name in (*SINGLE, *PAIRS, *GROWING, *others()):
        case = case_of(name)
        assert case.faults or name.startswith("healthy")
        assert limits_of(case.model).architecture


@pytest.mark.parametrize("name", ["leak", "leak_dirty_side=wide", "", "leak_dirty_side@nowhere"])
def test_what_is_no_case_is_refused(name: str) -> None:
    with pytest.raises(SettingError):
        case_of(name)


def test_a_machine_of_a_case_is_found_again_by_its_id() -> None:
    plan = case_of("pump_worn").plan(7, 3)
    assert [seed_of(device_id_of(seed)) for seed in plan.seeds()] == list(plan.seeds())
