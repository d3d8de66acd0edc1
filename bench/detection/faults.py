"""Faults at their medium level: is each found, named rightly, and told from what the sensors cannot separate?

One simulated machine is watched several times over: under smaller profiles, which only drop channels, and with fewer
samples. Nothing is shared between those but the machine.
"""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.detection.cases import HEALTHY, PUMP_S, SLOW_PUMP_S, Case, case_of, limits_of
from bench.detection.pool import AT_ONCE, split
from bench.detection.watch import Told, Uplink, Watch, is_fitted, raised
from dermafleet.contracts.channels import PROFILES, Profile
from dermafleet.storage.alarms import Alarm
from device_agent.simulator.plan import device_id_of
from device_agent.simulator.scenario import simulate
from device_agent.simulator.stretches import Stretch
from services.alerts.context import Context

SYMPTOMS: Mapping[str, frozenset[str]] = {
    "regulator_shut": frozenset({"over_vacuum"}),
    "feed_blocked": frozenset({"over_vacuum"}),
}
"""Hazards that the fault really brings about: no wrong name."""

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

SMALLER, LEAN = 60, 30
"""How many of a case's machines are also watched under the smaller profiles, and at the lean uplink."""


@dataclass(frozen=True, slots=True)
class Task:
    """Some machines of each of some cases.

    Attributes:
        cases: name and seed.
        smaller, lean: how many of each case's machines are watched so too.
        pump_s: of a treatment.
    """

    cases: tuple[tuple[str, int], ...]
    machines: int
    smaller: int = 0
    lean: int = 0
    pump_s: float = PUMP_S

    @property
    def pumping_s(self) -> float:
        """Pump time of a treatment of all its machines: tells long tasks from short ones."""
        return sum(SLOW_PUMP_S if case_of(name).is_slow else self.pump_s for name, _ in self.cases) * self.machines


@dataclass(frozen=True, slots=True)
class Run:
    """What one machine was said to have, under one profile and uplink.

    Attributes:
        named: what was raised since the fault began, and the highest severity told. Of other components than the
            case's, ``FAULT@COMPONENT``.
        early: what was raised before it began.
        true: all that it really had.
        sets: ambiguity sets of the alarms that stand at the end; if none does any more, as they were last raised.
        is_excused: its faults were said not to be observable, and that is so for this profile.
        channel: that fails, of sensor faults.
    """

    case: Case
    profile: Profile
    uplink: Uplink
    device_id: str
    named: Mapping[str, int]
    early: frozenset[str]
    true: frozenset[str]
    sets: tuple[frozenset[str], ...]
    is_excused: bool
    channel: str = ""

    @property
    def fault(self) -> str:
        """The first of its case; `HEALTHY` without."""
        return self.case.faults[0] if self.case.faults else HEALTHY

    @property
    def found(self) -> frozenset[str]:
        """Its faults that were named."""
        return frozenset(self.case.faults) & self.named.keys()

    @property
    def is_hit(self) -> bool:
        """Its faults are in sets that were told, or cannot be seen and are said to be so."""
        told = frozenset[str]().union(*self.sets)
        return self.is_excused or told.issuperset(self.case.faults)

    @property
    def wrong(self) -> frozenset[str]:
        """Names of faults that the machine does not have, or did not have yet."""
        symptoms = frozenset[str]().union(*(SYMPTOMS.get(fault, frozenset()) for fault in self.case.faults))
        return (frozenset(self.named) - self.true - symptoms) | self.early


def tasks(
    names: Sequence[str], machines: int, seed: int, *, smaller: int = SMALLER, lean: int = LEAN, pump_s: float = PUMP_S
) -> list[Task]:
    """As many machines of each case: small cases together, large ones in parts; the longest tasks first."""
    found: list[Task] = []
    for is_slow in (True, False):
        alike = [name for name in names if case_of(name).is_slow == is_slow]
        at_once = AT_ONCE // 3 if is_slow else AT_ONCE
        first = 0
        for count in split(machines, math.ceil(machines / at_once)):
            step = max(at_once // count, 1)
            of_profile, of_uplink = (min(max(most - first, 0), count) for most in (smaller, lean))
            for at in range(0, len(alike), step):
                cases = tuple((name, _seed(seed, name, first)) for name in alike[at : at + step])
                found.append(Task(cases, count, of_profile, of_uplink, pump_s))
            first += count
    return sorted(found, key=lambda task: -task.pumping_s)


def _seed(seed: int, name: str, first: int) -> int:
    """A case has the same machines whatever other cases are measured with it."""
    return (seed << 32) + zlib.crc32(f"{name} {first}".encode())


@dataclass(slots=True)
class _Machine:
    """One machine with all who watch it, and what is true of it."""

    case: Case
    watches: dict[tuple[Profile, Uplink], Watch]
    true: set[str] = field(default_factory=set)
    since_ms: int | None = None
    channel: str = ""

    def show(self, stretch: Stretch) -> None:
        for each in stretch.truth:
            self.true.add(each.fault)
            if each.fault in self.case.faults:
                self.since_ms = min(self.since_ms or each.since_ms, each.since_ms)
                self.channel = each.channel or self.channel
        for watch in self.watches.values():
            watch.show(stretch)

    def runs(self) -> Iterator[Run]:
        """None if the fault never came about; a sensor that is not there cannot fail."""
        if self.case.faults and self.since_ms is None:
            return
        for (profile, uplink), watch in self.watches.items():
            if not self.channel or is_fitted(self.channel, profile):
                yield _judge(self, watch, profile, uplink)


def run(task: Task) -> list[Run]:
    """Simulate the machines and watch them."""
    machines: dict[str, _Machine] = {}
    plans = []
    for name, seed in task.cases:
        case = case_of(name)
        plan = case.plan(seed, task.machines, task.pump_s)
        plans.append(plan)
        for place, machine_seed in enumerate(plan.seeds()):
            device_id = device_id_of(machine_seed)
            profiles: Sequence[Profile] = PROFILES if place < task.smaller else ("full",)
            uplinks: Sequence[Uplink] = ("full", "lean") if place < task.lean else ("full",)
            watches = {(p, u): watch_of(device_id, case.model, p, u) for p in profiles for u in uplinks}
            machines[device_id] = _Machine(case, watches)
    for stretch in simulate(*plans):
        machines[stretch.device_id].show(stretch)
    return [each for machine in machines.values() for each in machine.runs()]


def watch_of(device_id: str, model: str, profile: Profile, uplink: Uplink) -> Watch:
    return Watch(device_id, Context(limits=limits_of(model), profile=profile), uplink)


def _judge(machine: _Machine, watch: Watch, profile: Profile, uplink: Uplink) -> Run:
    case, since_ms = machine.case, machine.since_ms or 0
    named: dict[str, int] = {}
    early = set()
    for told in raised(watch.history):
        name = name_of(told.alarm, case.component)
        if told.at_ms < since_ms:
            early.add(name)
        else:
            named[name] = max(named.get(name, 0), told.alarm.severity)
    known = [watch.observability.get((case.component, fault)) for fault in case.faults]
    return Run(
        case=case,
        profile=profile,
        uplink=uplink,
        device_id=watch.device_id,
        named=named,
        early=frozenset(early),
        true=frozenset(machine.true),
        sets=tuple(candidates_of(alarm, case.component) for alarm in watch.open_alarms or _last(watch.history)),
        is_excused=bool(known)
        and UNSEEN[profile].issuperset(case.faults)
        and all(each is not None and not each.is_observable for each in known),
        channel=machine.channel,
    )


def _last(history: Sequence[Told]) -> list[Alarm]:
    """Each alarm as it last stood."""
    stood = {(t.alarm.component, t.alarm.fault): t.alarm for t in history if t.transition != "cleared"}
    return list(stood.values())


def name_of(alarm: Alarm, component: str) -> str:
    """The name that counts for a case of this component."""
    return alarm.fault if alarm.component == component else f"{alarm.fault}@{alarm.component}"


def candidates_of(alarm: Alarm, component: str) -> frozenset[str]:
    """The faults that an alarm may stand for, its own included."""
    candidates = alarm.detail.get("candidates") if alarm.component == component else None
    return frozenset({name_of(alarm, component), *(candidates if isinstance(candidates, Mapping) else ())})


def recall(runs: Sequence[Run]) -> dict[str, float]:
    """Per true fault of single-fault runs: share of its runs in which it was named."""
    faults = sorted({run.fault for run in runs} - {HEALTHY})
    return {fault: _share([fault in run.named for run in runs if run.fault == fault]) for fault in faults}


def precision(runs: Sequence[Run]) -> dict[str, float]:
    """Per name given: share of the runs that got it and do have it."""
    given: dict[str, list[bool]] = {}
    for run in runs:
        for name in run.wrong:
            given.setdefault(name, []).append(False)
        for name in run.found - run.early:
            given.setdefault(name, []).append(True)
    return {name: _share(rights) for name, rights in sorted(given.items())}


def confusion(runs: Sequence[Run]) -> dict[str, dict[str, int]]:
    """Case → name → runs that got that name; ``none`` = no name at all, ``early:NAME`` = before the fault began."""
    table: dict[str, dict[str, int]] = {}
    for run in runs:
        row = table.setdefault(run.case.name, {})
        for name in [*(run.named or ("none",)), *(f"early:{name}" for name in run.early)]:
            row[name] = row.get(name, 0) + 1
    return {name: dict(sorted(row.items(), key=lambda item: -item[1])) for name, row in table.items()}


def _share(claims: Sequence[bool]) -> float:
    return sum(claims) / len(claims) if claims else 0.0
