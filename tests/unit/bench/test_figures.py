"""Figures of healthy years and delays, and how work is shared out."""

import json
from pathlib import Path

import pytest

from bench.detection import delays, healthy, verdicts
from bench.detection.delays import MISSED, summary
from bench.detection.healthy import FalseAlarm, Watched, poisson_upper, rate
from bench.detection.pool import run_all, shares
from dermafleet.errors import PermanentError


@pytest.mark.parametrize(("count", "bound"), [(0, 2.996), (1, 4.744), (10, 16.962), (100, 118.079)])
def test_the_poisson_bound_is_the_exact_one(count: int, bound: float) -> None:
    assert poisson_upper(count) == pytest.approx(bound, abs=1e-3)  # half the 95 % point of chi-square, 2(k + 1) degrees


def test_false_alarms_are_counted_per_machine_year_of_1500_treatments() -> None:
    alarm = FalseAlarm("SIM-1", "pump_worn", 2, 100, "")
    found = [Watched(3000, (alarm,)), Watched(1500, ())]
    assert rate(found, range(1, 3))[0] == pytest.approx(1 / 3)
    count, bound = rate(found, range(3, 5))
    assert count == 0
    assert bound == pytest.approx(2.996 / 3, abs=1e-3)


def test_a_delay_that_never_ended_counts_as_missed() -> None:
    found = summary({"a": 1.0, "b": 2.0, "c": MISSED})
    assert (found["machines"], found["missed"], found["p50"], found["worst"]) == (3, 1, 2.0, MISSED)


def test_every_delay_is_measured_once() -> None:
    names = [case.name for task in delays.tasks(5, 1) for case, _ in task.cases]
    assert sorted(names) == sorted(case.name for case in delays.CASES)


@pytest.mark.parametrize(
    ("machines", "jobs", "sizes"),
    [(200, 2, [100, 100]), (7, 2, [4, 3]), (1, 2, [1]), (600, 2, [150] * 4), (200, 1, [200])],
)
def test_machines_are_shared_out_so_that_all_jobs_have_work(machines: int, jobs: int, sizes: list[int]) -> None:
    assert shares(machines, jobs) == sizes
    assert sum(task.machines for task in healthy.tasks(machines, 5, 1, jobs=jobs)) == machines


def test_results_come_in_the_order_of_the_tasks() -> None:
    assert list(run_all(abs, [-3, 1, -2], jobs=1)) == [3, 1, 2]


def test_verdicts_of_people_give_precision_and_recall(tmp_path: Path) -> None:
    told = ["confirmed", "confirmed", "confirmed", "false_alarm", "missed", "duplicate"]
    file = tmp_path / "verdicts.jsonl"
    file.write_text("".join(json.dumps({"fault": "pump_worn", "verdict": each}) + "\n" for each in told))
    figures, detail = verdicts.judge(file)
    assert figures == {"verdict_precision": 0.75, "verdict_recall": 0.75}
    assert sum(detail["pump_worn v0"].values()) == 6  # type: ignore[attr-defined]


def test_a_broken_line_of_verdicts_is_named(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"
    file.write_text('{"fault": "pump_worn", "verdict": "confirmed"}\n{"fault": 3}\n')
    with pytest.raises(PermanentError, match="line 2"):
        verdicts.judge(file)
