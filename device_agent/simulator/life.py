"""One simulated machine over its days: what lasts between treatments, and what is wrong with it."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng

from dermafleet.contracts.channels import Profile
from dermafleet.contracts.records import Event, Session
from dermafleet.physics.gas import hole_m2
from device_agent.simulator import faults
from device_agent.simulator.clinic import Clinic, Surroundings, clinic_of, draw_surroundings
from device_agent.simulator.faults import BLEED, UNTOLD, Scheduled
from device_agent.simulator.models import Circuit, Model, channel_names, model_of
from device_agent.simulator.plan import Plan, device_id_of
from device_agent.simulator.treatment import Operator, draw_operator
from device_agent.simulator.truth import TrueFault

_DUST_SIGMA = 0.6
_CANISTER_EMPTIED_AT, _JAR_FILLED_BELOW = 0.7, 0.4
_OVERFILL_DUST = 10.0
_SCREENED_LOAD = 10.0
"""Filter load that an overfull canister (20 %) adds by throwing whole crystals at the filter."""
_WEAR_PER_HOUR = 2e-5
_EXHAUST_LOAD_PER_HOUR = 5e-4
_PLAIN = Operator(3.0, 0.8, 0.98, 0.008, 0.99, 0.0, 0.0, 40.0, 0.0, 30.0, 0)


@dataclass(slots=True)
class CircuitLife:
    """What lasts of one circuit.

    Attributes:
        dust_g: in the intake filter; kept up with the plant after each activity.
        unit_g: dust that doubles (cake) or e-folds (depth) the resistance of its filters.
        leak_mm: of a healthy machine, on the dirty and on the clean side.
        hours: of its pump.
    """

    circuit: Circuit
    dust_g: float
    unit_g: float
    leak_mm: tuple[float, float]
    exhaust_load: float
    hours: float = 0.0

    def weigh(self, unit_g: float) -> None:
        """Learn of the real filter: how much dust loads it; the load that it has stays."""
        self.dust_g *= unit_g / self.unit_g
        self.unit_g = unit_g

    @property
    def dust_load(self) -> float:
        """Filter index less one that the dust makes."""
        share = self.dust_g / self.unit_g
        return float(np.expm1(share)) if self.circuit.is_depth else share


@dataclass(slots=True)
class Boot:
    """The time from one power-on to the next power-off."""

    id: str
    at_ms: int


@dataclass(slots=True)
class Life:
    """The state of one machine.

    Attributes:
        treatments: begun so far; the running one's number + 1.
        activities, idles: treatments and self-tests, and times between them, so far.
        events: records that the next samples bring along.
        unfinished: end of a session that a power cut has left open.
        since_ms: when each scheduled fault began.
    """

    seed: int
    plan: Plan
    model: Model
    profile: Profile
    clinic: Clinic
    place: Surroundings
    operators: list[Operator]
    circuits: list[CircuitLife]
    schedule: tuple[Scheduled, ...]
    random: Generator
    channels: dict[str, dict[str, str]]
    jar_g: float
    canister_g: float
    mains_nominal_v: float = 230.0
    treatments: int = 0
    sessions: int = 0
    activities: int = 0
    idles: int = 0
    boots: int = 0
    boot: Boot = field(default_factory=lambda: Boot("", 0))
    unfinished: Session | None = None
    events: list[Session | Event] = field(default_factory=list)
    since_ms: dict[int, int] = field(default_factory=dict)

    @property
    def device_id(self) -> str:
        return device_id_of(self.seed)

    def switch_on(self, at_ms: int) -> None:
        """A new boot."""
        self.boots += 1
        self.boot = Boot(f"{self.seed:012x}-{self.boots:05d}", at_ms)

    def next_session_id(self) -> str:
        self.sessions += 1
        return f"{self.seed:012x}{self.sessions:05d}"

    def parameters(self, index: int, session: int, pump_s: float, progress: float) -> dict[str, float]:
        """What the plant of one circuit differs in from the drawn machine, at a moment of a treatment.

        The load of the filter is that on top of its dust, of which the plant keeps account.

        Args:
            index: of the circuit.
            session: number of the treatment (the next one, between treatments).
            pump_s: pump time within it.
            progress: share of it that is over.
        """
        life = self.circuits[index]
        dust_load = life.dust_load
        values = {
            "filter_load": dust_load,
            "filter_missing": 0.0,
            "exhaust_load": life.exhaust_load,
            "return_area": 1.0,
            "feed_area": 1.0,
            "leak_dirty_m2": float(hole_m2(life.leak_mm[0])),
            "leak_clean_m2": float(hole_m2(life.leak_mm[1])),
            "displacement": 1 - _WEAR_PER_HOUR * life.hours,
            "valve_leak": 0.0,
            "cooling": 1.0,
            BLEED: 1.0,
        }
        for each, level in self._active(session, pump_s):
            if each.component != life.circuit.component:
                continue
            if each.kind == "machine":
                faults.apply(each.fault, level, values)
            elif each.fault == "canister_full":
                began = min(max(progress - 0.3, 0) / 0.3, 1.0) if session == each.onset else 1.0
                values["filter_load"] += _SCREENED_LOAD * began * max(level - 0.95, 0) / 0.25
        values["filter_load"] -= dust_load
        return values

    def mains_factor(self, session: int, pump_s: float) -> float:
        """What faults of the supply leave of the mains voltage."""
        levels = [level for each, level in self._active(session, pump_s) if each.fault == "mains_low"]
        return float(np.prod(levels))

    def of_kind(self, kind: str, session: int, pump_s: float = 0.0) -> list[tuple[Scheduled, float]]:
        """The faults of a kind that are there at a moment, with their levels."""
        return [(each, level) for each, level in self._active(session, pump_s) if each.kind == kind]

    def note_onsets(self, session: int, began_ms: int, pump_s: float) -> None:
        """Remember when the faults that are there after so much pump time have begun."""
        for number, each in enumerate(self.schedule):
            if number not in self.since_ms and each.level_at(session, pump_s) is not None:
                first = each.onset_s if session == each.onset and each.growing == 0 else 0.0
                self.since_ms[number] = began_ms + round(first * 1000)

    def suffer(self, more: Iterable[Scheduled]) -> None:
        """Add faults.

        Raises:
            SettingError: the model cannot have one of them.
        """
        added = tuple(more)
        faults.check(added, {circuit.component: circuit.architecture for circuit in self.model.circuits})
        self.schedule += tuple(_with_channel(each, self.channels, self.seed) for each in added)

    def truth(self, session: int, pump_s: float) -> tuple[TrueFault, ...]:
        """What is wrong after so much pump time of a treatment."""
        return tuple(
            TrueFault(each.fault, each.component, level, self.since_ms[number], each.channel)
            for number, each in enumerate(self.schedule)
            if each.fault not in UNTOLD
            and number in self.since_ms
            and (level := each.level_at(session, pump_s)) is not None
        )

    def operator(self, session: int) -> Operator:
        """Who treats now: another operator now and then, or one bent by a scheduled nuisance."""
        chosen = self.operators[0 if len(self.operators) == 1 else int(self.random.choice(len(self.operators)))]
        for each, level in self.of_kind("nuisance", session, np.inf):
            if each.fault == "poor_seal":
                chosen = replace(chosen, seal=level, seal_spread=0.03)
            else:
                chosen = replace(chosen, setpoint_kpa=level)
        return chosen

    def prepare(self, session: int) -> list[str]:
        """What the operator does before a treatment; returns the maintenance records' types.

        Crystals and canister last for the treatment, even if all of it were contact.
        """
        done = []
        neglected = {each.fault for each, _ in self._active(session, np.inf)}
        if not neglected & {"filter_clogged", "canister_full", "liquid_blocked", "filter_missing"} and (
            self.circuits[0].dust_load + 1 >= self.plan.change_filter_at
        ):
            self.circuits[0].dust_g = 0.0
            done.append("FILTER_INTAKE_REPLACED")
        for life in self.circuits[1:]:
            if life.dust_load + 1 >= self.plan.change_filter_at:
                life.dust_g = 0.0
        need_g = self.plan.pump_s * sum(each.circuit.feed_g_s for each in self.circuits)
        emptied_at_g = min(_CANISTER_EMPTIED_AT * self.model.canister_g, self.model.canister_g - need_g)
        if self.canister_g > emptied_at_g and "canister_full" not in neglected:
            self.canister_g = 0.0
            done.append("CANISTER_EMPTIED")
        if self.jar_g < max(_JAR_FILLED_BELOW * self.model.jar_g, need_g) and "crystals_low" not in neglected:
            self.jar_g = self.model.jar_g * self.random.uniform(0.7, 0.8)
            done.append("CRYSTALS_REFILLED")
        self._neglect(session)
        return [each for each in done if self.random.uniform() < self.plan.told]

    def draw_dust_g(self, index: int) -> float:
        """Fines that will reach the filter in the next treatment."""
        median = self.circuits[index].circuit.dust_g * self.plan.dust
        overfill = max(self.canister_g / self.model.canister_g - 1, 0.0)
        return float(median * self.random.lognormal(0, _DUST_SIGMA) * (1 + _OVERFILL_DUST * overfill))

    def wear(self, index: int, pump_s: float) -> None:
        life = self.circuits[index]
        life.hours += pump_s / 3600
        life.exhaust_load += _EXHAUST_LOAD_PER_HOUR * pump_s / 3600

    def _neglect(self, session: int) -> None:
        """Bring jar and canister to where a scheduled fault begins."""
        for each, level in self._active(session, np.inf):
            if each.fault == "crystals_low":
                self.jar_g = min(self.jar_g, level * self.model.jar_g)
            elif each.fault == "canister_full":
                self.canister_g = max(self.canister_g, (level - 0.1) * self.model.canister_g)

    def _active(self, session: int, pump_s: float) -> list[tuple[Scheduled, float]]:
        if not self.schedule:
            return []
        levels = ((each, each.level_at(session, pump_s)) for each in self.schedule)
        return [(each, level) for each, level in levels if level is not None]


def begin(plan: Plan, seed: int) -> Life:
    """A machine before its first day.

    Raises:
        SettingError: the plan names something unknown, or a fault that the model cannot have.
    """
    random = default_rng(SeedSequence((seed, 1)))
    model = model_of(plan.model)
    profile = plan.profile or model.profile
    architectures = {circuit.component: circuit.architecture for circuit in model.circuits}
    faults.check(plan.faults, architectures)
    chosen = clinic_of(plan.clinics[int(random.integers(len(plan.clinics)))])
    channels = channel_names(model, profile)
    return Life(
        seed=seed,
        plan=plan,
        model=model,
        profile=profile,
        clinic=chosen,
        place=_place(plan, chosen, random),
        operators=_operators(plan, model, random),
        circuits=[_new_circuit(plan, circuit, random) for circuit in model.circuits],
        schedule=tuple(_with_channel(each, channels, seed) for each in plan.faults),
        random=random,
        channels=channels,
        jar_g=model.jar_g * random.uniform(0.5, 0.8),
        canister_g=model.canister_g * random.uniform(0.0, 0.4),
    )


def _place(plan: Plan, chosen: Clinic, random: Generator) -> Surroundings:
    place = draw_surroundings(chosen, random)
    if plan.nuisances:
        return place
    return replace(place, altitude_m=0.0, weather_kpa=np.zeros(3), mains_share=1.0, mains_spread=0.0)


def _operators(plan: Plan, model: Model, random: Generator) -> list[Operator]:
    seal = float(model.circuits[0].design.seal)
    if not plan.nuisances:
        return [replace(_PLAIN, seal=seal, seal_best=seal + 0.01)]
    count = int(random.integers(1, 4))
    return [draw_operator(random, seal=seal, poor=random.uniform() < 0.15) for _ in range(count)]


def _new_circuit(plan: Plan, circuit: Circuit, random: Generator) -> CircuitLife:
    unit_g = circuit.filter_unit_g
    used = random.uniform(0, 0.6) if plan.start_used else 0.0
    depth = np.log1p if circuit.is_depth else float
    return CircuitLife(
        circuit=circuit,
        dust_g=float(depth(used * 2.5)) * unit_g,
        unit_g=unit_g,
        leak_mm=(random.uniform(0, 0.1), random.uniform(0, 0.1)),
        exhaust_load=random.uniform(0, 0.3) if plan.start_used else 0.0,
    )


def _with_channel(each: Scheduled, channels: dict[str, dict[str, str]], seed: int) -> Scheduled:
    """A sensor fault needs a channel: draw one that this machine has."""
    if each.kind != "sensor" or each.channel:
        return each
    fitted = [name for name in channels[each.component] if name in faults.DRIFT]
    drawn = default_rng(SeedSequence((seed, 2))).integers(len(fitted))
    return replace(each, channel=fitted[int(drawn)])
