"""Healthy machines for years: whatever is raised on them is false."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.detection.cases import PUMP_S, limits_of
from bench.detection.pool import shares
from bench.detection.watch import Uplink, Watch, raised
from device_agent.simulator.scenario import Plan, simulate
from services.alerts.context import Context

MODEL = "crystal-m1"
SESSIONS_A_DAY = 6
YEAR_SESSIONS = 1500
"""A machine-year: 250 days of 6 sessions."""
CHANGE_AT = 4.0
"""Filter index from which the operator changes the filter, so that no filter is ever due."""
TOLD, SELF_TESTS = 0.95, 0.9
"""Shares of filter changes recorded at the machine, and of days that begin with a self-test."""


@dataclass(frozen=True, slots=True)
class Task:
    """Some machines for some days; ``pump_s`` = pump time of a treatment."""

    seed: int
    machines: int
    days: int
    pump_s: float = PUMP_S
    uplink: Uplink = "full"


@dataclass(frozen=True, slots=True)
class FalseAlarm:
    """Something raised on a healthy machine."""

    device_id: str
    fault: str
    severity: int
    session: int
    reason: str


@dataclass(frozen=True, slots=True)
class Watched:
    """What came of one task: treatments watched, and all that was raised."""

    sessions: int
    alarms: tuple[FalseAlarm, ...]


def tasks(machines: int, days: int, seed: int, *, pump_s: float = PUMP_S, jobs: int | None = None) -> list[Task]:
    return [Task(seed * 7919 + n, size, days, pump_s) for n, size in enumerate(shares(machines, jobs))]


def plan_of(task: Task) -> Plan:
    """Every nuisance; clinics up to 2 250 m; used machines and filters to begin with."""
    return Plan(
        seed=task.seed,
        machines=task.machines,
        model=MODEL,
        days=task.days,
        sessions_per_day=(SESSIONS_A_DAY, SESSIONS_A_DAY),
        pump_s=task.pump_s,
        change_filter_at=CHANGE_AT,
        told=TOLD,
        self_tests=SELF_TESTS,
    )


def run(task: Task) -> Watched:
    """Watch them with every channel fitted."""
    context = Context(limits=limits_of(MODEL), profile="full")
    watches: dict[str, Watch] = {}
    for stretch in simulate(plan_of(task)):
        watch = watches.setdefault(stretch.device_id, Watch(stretch.device_id, context, task.uplink))
        watch.show(stretch)
    alarms = [
        FalseAlarm(watch.device_id, told.alarm.fault, told.alarm.severity, told.session, told.reason)
        for watch in watches.values()
        for told in raised(watch.history)
    ]
    return Watched(sum(watch.sessions for watch in watches.values()), tuple(alarms))


def rate(watched: Sequence[Watched], severities: range) -> tuple[float, float]:
    """False alarms of these severities per machine-year, and the upper end of the 95 % Poisson interval."""
    years = sum(each.sessions for each in watched) / YEAR_SESSIONS
    count = sum(alarm.severity in severities for each in watched for alarm in each.alarms)
    return count / years, poisson_upper(count) / years


def poisson_upper(count: int, confidence: float = 0.95) -> float:
    """The mean at which as few events as ``count`` have the probability 1 - confidence; exact, by bisection."""
    low, high = float(count), count + 10.0 * math.sqrt(count + 1) + 10.0
    for _ in range(60):
        middle = (low + high) / 2
        term = total = math.exp(-middle)
        for k in range(1, count + 1):
            term *= middle / k
            total += term
        low, high = (middle, high) if total > 1 - confidence else (low, middle)
    return high
