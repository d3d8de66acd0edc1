"""How long until it is told: over-vacuum, stuck sensors, small leaks, a worn pump."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.detection.cases import ONSET, PUMP_S, limits_of
from bench.detection.watch import Watch, raised
from device_agent.simulator.faults import Scheduled
from device_agent.simulator.plan import Plan, device_id_of
from device_agent.simulator.scenario import simulate
from device_agent.simulator.stretches import Stretch
from services.alerts.context import Context

MODEL = "crystal-m1"
MISSED = 1e6
"""Delay of what was not told within the run: no real delay comes near it."""

SAME_MS = 2000
"""What the noise of a sensor tells so shortly before the limit is truly crossed is told of the crossing."""


@dataclass(frozen=True, slots=True)
class Case:
    """One question.

    Attributes:
        fault: what the machines get; any of ``told`` answers it.
        unit: of the delay: seconds of event time, seconds of pump time, self-tests, or opening days.
        self_tests: share of days that begin with one.
    """

    name: str
    fault: Scheduled
    told: frozenset[str]
    unit: str
    days: int
    self_tests: float = 1.0


_LEAKS = frozenset({"leak_dirty_side", "leak_clean_side"})
_WORN = frozenset({"pump_worn"})
_IN_SESSION_S = 60.0

CASES: tuple[Case, ...] = (
    Case(
        "over_vacuum_regulator",
        Scheduled(fault="regulator_shut", onset=ONSET, onset_s=_IN_SESSION_S),
        frozenset({"over_vacuum"}),
        "s",
        3,
    ),
    Case(
        "over_vacuum_feed",
        Scheduled(fault="feed_blocked", level=0.2, onset=ONSET, onset_s=_IN_SESSION_S),
        frozenset({"over_vacuum"}),
        "s",
        3,
    ),
    Case(
        "stuck_sensor",
        Scheduled(fault="sensor_stuck", onset=ONSET, onset_s=_IN_SESSION_S),
        frozenset({"sensor_stuck"}),
        "pump_s",
        3,
    ),
    Case("leak", Scheduled(fault="leak_dirty_side", level=0.5, onset=ONSET), _LEAKS, "self_tests", 8),
    Case("leak_clean", Scheduled(fault="leak_clean_side", level=0.5, onset=ONSET), _LEAKS, "self_tests", 8),
    Case("pump_wear", Scheduled(fault="pump_worn", level=0.8, onset=ONSET), _WORN, "days", 20),
    Case("pump_wear_30", Scheduled(fault="pump_worn", level=0.8, onset=ONSET), _WORN, "days", 20, 0.3),
    Case("pump_wear_0", Scheduled(fault="pump_worn", level=0.8, onset=ONSET), _WORN, "days", 20, 0.0),
)


@dataclass(frozen=True, slots=True)
class Task:
    """Some machines for each of some cases."""

    cases: tuple[tuple[Case, int], ...]
    """Each with its seed."""
    machines: int


@dataclass(slots=True)
class _Timer:
    """One machine: when its fault began, and what has passed since, until it is told."""

    watch: Watch
    since_ms: int | None = None
    passed: dict[str, float] = field(default_factory=lambda: {"pump_s": 0.0, "self_tests": 0.0})
    delay: float = MISSED


def tasks(machines: int, seed: int) -> list[Task]:
    """Long runs first; cases that last as long together, which is faster."""
    seeded = [(case, seed * 31 + number) for number, case in enumerate(CASES)]
    parts = [seeded[6:], seeded[5:6], seeded[:5]]
    return [Task(tuple(part), machines) for part in parts]


def plan_of(case: Case, seed: int, machines: int) -> Plan:
    return Plan(
        seed=seed,
        machines=machines,
        model=MODEL,
        days=case.days,
        sessions_per_day=(3, 3),
        pump_s=PUMP_S,
        faults=(case.fault,),
        self_tests=case.self_tests,
    )


def run(task: Task) -> list[tuple[str, dict[str, float]]]:
    """Per case the delay of each machine by id, `MISSED` if it was never told; without an onset it is left out."""
    context = Context(limits=limits_of(MODEL), profile="full")
    plans = [plan_of(case, seed, task.machines) for case, seed in task.cases]
    case_of = {
        device_id_of(seed): case for (case, _), plan in zip(task.cases, plans, strict=True) for seed in plan.seeds()
    }
    timers = {device_id: _Timer(Watch(device_id, context)) for device_id in case_of}
    for stretch in simulate(*plans):
        timer = timers[stretch.device_id]
        if timer.delay == MISSED:
            timer.watch.show(stretch)
            _pass(timer, case_of[stretch.device_id], stretch)
    found: dict[str, dict[str, float]] = {case.name: {} for case, _ in task.cases}
    for device_id, timer in timers.items():
        if timer.since_ms is not None:
            found[case_of[device_id].name][device_id] = timer.delay
    return list(found.items())


def _pass(timer: _Timer, case: Case, stretch: Stretch) -> None:
    wanted = "over_vacuum" if case.unit == "s" else case.fault.fault
    if timer.since_ms is None:
        timer.since_ms = next((each.since_ms for each in stretch.truth if each.fault == wanted), None)
    if timer.since_ms is None:
        return
    raises = (
        round(told.alarm.raised_at.timestamp() * 1000)
        for told in raised(timer.watch.history)
        if told.alarm.fault in case.told
    )
    told_ms = next((at_ms for at_ms in raises if at_ms >= timer.since_ms - SAME_MS), None)
    is_test = any(getattr(record, "purpose", "") == "self_test" for _, record in stretch.records)
    timer.passed["self_tests"] += is_test and stretch.at_ms[0] >= timer.since_ms
    end_ms = told_ms if told_ms is not None else int(stretch.at_ms[-1])
    counted = (stretch.at_ms >= timer.since_ms) & (stretch.at_ms <= end_ms)
    timer.passed["pump_s"] += float((counted & (stretch.channels["pump_on"] >= 0.5)).sum()) / 10
    if told_ms is not None:
        elapsed_s = max(told_ms - timer.since_ms, 0) / 1000
        timer.delay = {"s": elapsed_s, "days": elapsed_s / 86_400, **timer.passed}[case.unit]


def summary(delays: Mapping[str, float]) -> dict[str, float]:
    """Median, 90th percentile and worst, `MISSED` included; and how many machines were not told of."""
    ordered = sorted(delays.values())
    return {
        "machines": len(ordered),
        "missed": ordered.count(MISSED),
        "p50": _at(ordered, 0.5),
        "p90": _at(ordered, 0.9),
        "worst": _at(ordered, 1.0),
    }


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else MISSED
