"""What counts as found, hit and wrong."""

from bench.detection.cases import case_of
from bench.detection.faults import Run, confusion, precision, recall, tasks
from bench.detection.report import group, look, short
from dermafleet.contracts.channels import Profile


def a_run(
    case: str,
    *named: str,
    early: tuple[str, ...] = (),
    sets: tuple[frozenset[str], ...] = (),
    true: tuple[str, ...] = (),
    profile: Profile = "full",
    is_excused: bool = False,
) -> Run:
    return Run(
        case=case_of(case),
        profile=profile,
        uplink="full",
        device_id="SIM-000000000001",
        named=dict.fromkeys(named, 2),
        early=frozenset(early),
        true=frozenset({*case_of(case).faults, *true}),
        sets=sets or tuple(frozenset({name}) for name in named),
        is_excused=is_excused,
    )


def test_a_fault_is_recalled_only_under_its_own_name() -> None:
    runs = [a_run("pump_worn", "pump_worn"), a_run("pump_worn", "pump_valve_leak"), a_run("healthy")]
    assert recall(runs) == {"pump_worn": 0.5}
    assert precision(runs) == {"pump_worn": 1.0, "pump_valve_leak": 0.0}


def test_a_name_before_the_fault_began_is_wrong() -> None:
    run = a_run("pump_worn", "pump_worn", early=("pump_worn",))
    assert run.wrong == {"pump_worn"}
    assert precision([run]) == {"pump_worn": 0.0}


def test_what_a_fault_really_brings_about_is_not_wrong() -> None:
    assert not a_run("regulator_shut", "regulator_shut", "over_vacuum").wrong
    assert not a_run("return_path_blocked", "over_vacuum", true=("over_vacuum",)).wrong
    assert a_run("pump_worn", "over_vacuum").wrong == {"over_vacuum"}
    assert a_run("healthy", "leak_dirty_side").wrong == {"leak_dirty_side"}


def test_a_place_in_the_set_is_a_hit_and_so_is_an_excused_fault() -> None:
    both = frozenset({"filter_clogged", "return_path_blocked"})
    assert a_run("filter_clogged", "return_path_blocked", sets=(both,), profile="basic").is_hit
    assert not a_run("filter_clogged", "leak_dirty_side", profile="basic").is_hit
    assert a_run("canister_full", profile="basic", is_excused=True).is_hit


def test_of_a_pair_both_faults_must_be_told() -> None:
    run = a_run("filter_clogged=16+leak_dirty_side", "filter_clogged")
    assert not run.is_hit
    assert run.found == {"filter_clogged"}


def test_the_confusion_table_counts_runs_by_name() -> None:
    runs = [a_run("pump_worn", "pump_worn"), a_run("pump_worn", early=("mains_low",)), a_run("healthy")]
    assert confusion(runs) == {
        "pump_worn": {"pump_worn": 1, "none": 1, "early:mains_low": 1},
        "healthy": {"none": 1},
    }


def test_tasks_cover_every_machine_and_watch_only_the_first_ones_in_other_ways() -> None:
    found = tasks(["pump_worn", "healthy", "motor_overheated"], 300, 1, smaller=60, lean=270)
    machines = {name: 0 for name in ("pump_worn", "healthy", "motor_overheated")}
    smaller, lean = dict(machines), dict(machines)
    seeds = []
    for task in found:
        for name, seed in task.cases:
            machines[name] += task.machines
            smaller[name] += task.smaller
            lean[name] += task.lean
            seeds.append(seed)
    assert set(machines.values()) == {300}
    assert set(smaller.values()) == {60}
    assert set(lean.values()) == {270}
    assert len(set(seeds)) == len(seeds)


def test_a_case_has_the_same_machines_whatever_is_measured_with_it() -> None:
    (alone,) = tasks(["pump_worn"], 5, 1)
    (both,) = tasks(["healthy", "pump_worn"], 5, 1)
    assert alone.cases[0] in both.cases
    assert tasks(["pump_worn"], 5, 2)[0].cases != alone.cases


def test_small_cases_are_simulated_together() -> None:
    assert [len(task.cases) for task in tasks(["pump_worn", "healthy"], 10, 1)] == [2]


def test_a_table_names_the_worst_runs_with_what_makes_them_again() -> None:
    runs = [a_run("pump_worn", "mains_low"), a_run("pump_worn"), a_run("healthy")]
    found = group(runs, "full", "full")
    assert found["runs"] == 3
    assert found["worst"] == ["pump_worn SIM-000000000001: mains_low", "pump_worn SIM-000000000001: nothing"]
    assert look(runs)["runs_each"] == 1


def test_nothing_measured_is_no_number() -> None:
    assert short(float("nan")) is None
    assert short(0.123456) == 0.1235
