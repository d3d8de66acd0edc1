"""Single faults at their medium level: is each found, named rightly, and told from what the sensors cannot separate?

One simulated machine is watched under every profile at once: a smaller profile only drops channels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.detection.watch import Uplink, Watch, is_fitted
from dermafleet.contracts.channels import PROFILES, Profile
from dermafleet.storage.alarms import Alarm
from device_agent.simulator import models
from device_agent.simulator.faults import FAULTS, UNTOLD, Scheduled
from device_agent.simulator.scenario import Plan, simulate
from device_agent.simulator.stretches import Stretch
from services.alerts.context import Context
from services.alerts.limits import Limits, decode_limits

HEALTHY = "healthy"
ONSET = 5
"""Treatments without the fault before it: more than the learning window of three."""
DAYS, A_DAY = 3, 3
"""Opening days of a run, and treatments a day; each day begins with a self-test."""
PUMP_S = 200.0
"""Of a treatment, in place of 25 min: strokes, lifts, set points and pauses are the same, there are fewer of them."""

MODEL_OF: Mapping[str, str] = {"liquid_blocked": "hydra"}
"""The model a fault is tried on; others on the crystal machine."""

SYMPTOMS: Mapping[str, frozenset[str]] = {
    "regulator_shut": frozenset({"over_vacuum"}),
    "feed_blocked": frozenset({"over_vacuum"}),
}
"""Hazards that the fault really brings about: no wrong name."""

SINGLE = tuple(code for code in FAULTS if code not in UNTOLD)

_CONSUMABLES = frozenset({"crystals_low", "canister_full"})
_BASIC = _CONSUMABLES | {"filter_missing", "motor_overheated"}
_MINIMAL = _BASIC | {
    "exhaust_clogged",
    "leak_dirty_side",
    "leak_clean_side",
    "pump_worn",
    "pump_valve_leak",
    "regulator_open",
    "mains_low",
}
UNSEEN: Mapping[Profile, frozenset[str]] = {
    "minimal": _MINIMAL,
    "basic": _BASIC,
    "standard": _CONSUMABLES | {"exhaust_clogged"},
    "full": frozenset(),
}
"""Where domain section 2.9, or a missing sensor, excuses a profile; elsewhere *not observable* is a miss."""


@dataclass(frozen=True, slots=True)
class Task:
    """Some machines that get the same fault; ``fault`` may be `HEALTHY`."""

    fault: str
    seed: int
    machines: int
    uplink: Uplink


@dataclass(frozen=True, slots=True)
class Run:
    """What one machine with one true fault was said to have, under one profile.

    Attributes:
        named: every fault that was raised, and the highest severity told.
        sets: ambiguity sets of the alarms that stand at the end.
        is_excused: the true fault was said not to be observable, and that is so for this profile.
    """

    fault: str
    profile: Profile
    uplink: Uplink
    device_id: str
    named: Mapping[str, int]
    sets: tuple[frozenset[str], ...]
    is_excused: bool

    @property
    def is_hit(self) -> bool:
        """The true fault is in a set that stands, or cannot be seen and is said to be so."""
        return self.is_excused or any(self.fault in candidates for candidates in self.sets)

    @property
    def wrong(self) -> frozenset[str]:
        """Names of faults that the machine does not have."""
        return frozenset(self.named) - {self.fault} - SYMPTOMS.get(self.fault, frozenset())


def tasks(machines: int, seed: int, *, uplink: Uplink = "full", batch: int = 200) -> list[Task]:
    """Every fault, and as many machines without one, in batches."""
    found = []
    for number, fault in enumerate((*SINGLE, HEALTHY)):
        for first in range(0, machines, batch):
            own_seed = (seed * 1000 + number) * 1000 + first
            found.append(Task(fault, own_seed, min(batch, machines - first), uplink))
    return found


def run(task: Task) -> list[Run]:
    """Simulate the machines and watch them under each profile."""
    model = MODEL_OF.get(task.fault, "crystal-m1")
    limits = limits_of(model)
    watches: dict[str, dict[Profile, Watch]] = {}
    channels: dict[str, str] = {}
    for stretch in simulate(_plan(task, model)):
        of_device = watches.setdefault(stretch.device_id, _watch(stretch, limits, task.uplink))
        for each in stretch.truth:
            channels[stretch.device_id] = each.channel or "pump_on"
        for watch in of_device.values():
            watch.show(stretch)
    return [
        _judge(task, device_id, profile, watch)
        for device_id, of_device in watches.items()
        for profile, watch in of_device.items()
        if is_fitted(channels.get(device_id, "pump_on"), profile)  # a sensor that is not there cannot fail
    ]


def limits_of(model: str) -> Limits:
    """What the maker of a simulated model states."""
    return decode_limits(models.limits(models.model_of(model)))


def _plan(task: Task, model: str) -> Plan:
    faults = () if task.fault == HEALTHY else (Scheduled(fault=task.fault, onset=ONSET),)
    return Plan(
        seed=task.seed,
        machines=task.machines,
        model=model,
        days=DAYS,
        sessions_per_day=(A_DAY, A_DAY),
        pump_s=PUMP_S,
        faults=faults,
    )


def _watch(stretch: Stretch, limits: Limits, uplink: Uplink) -> dict[Profile, Watch]:
    return {p: Watch(stretch.device_id, Context(limits=limits, profile=p), uplink) for p in PROFILES}


def _judge(task: Task, device_id: str, profile: Profile, watch: Watch) -> Run:
    named: dict[str, int] = {}
    for told in watch.history:
        named[told.alarm.fault] = max(named.get(told.alarm.fault, 0), told.alarm.severity)
    known = watch.observability.get(("main", task.fault))
    return Run(
        fault=task.fault,
        profile=profile,
        uplink=task.uplink,
        device_id=device_id,
        named=named,
        sets=tuple(candidates_of(alarm) for alarm in watch.open_alarms),
        is_excused=task.fault in UNSEEN[profile] and known is not None and not known.is_observable,
    )


def candidates_of(alarm: Alarm) -> frozenset[str]:
    """The faults that an alarm may stand for, its own included."""
    candidates = alarm.detail.get("candidates")
    return frozenset({alarm.fault, *(candidates if isinstance(candidates, Mapping) else ())})


def recall(runs: Sequence[Run]) -> dict[str, float]:
    """Per true fault: share of its runs in which it was named."""
    return {fault: _share([fault in run.named for run in runs if run.fault == fault]) for fault in _faults(runs)}


def precision(runs: Sequence[Run]) -> dict[str, float]:
    """Per name given: share of the runs that got it and do have it."""
    given: dict[str, list[bool]] = {}
    for run in runs:
        for name in run.wrong | (frozenset({run.fault}) & run.named.keys()):
            given.setdefault(name, []).append(run.fault == name)
    return {name: _share(rights) for name, rights in sorted(given.items())}


def confusion(runs: Sequence[Run]) -> dict[str, dict[str, int]]:
    """True fault → name → runs that got that name; ``none`` = no name at all."""
    table: dict[str, dict[str, int]] = {}
    for run in runs:
        row = table.setdefault(run.fault, {})
        for name in run.named or ("none",):
            row[name] = row.get(name, 0) + 1
    return table


def _faults(runs: Sequence[Run]) -> list[str]:
    return sorted({run.fault for run in runs} - {HEALTHY})


def _share(claims: Sequence[bool]) -> float:
    return sum(claims) / len(claims) if claims else 0.0
