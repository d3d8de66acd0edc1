"""Live machines of one process: one plant computes all of them ahead, a second at a time.

Used by one thread. Machines treat one patient after the other, at whatever hour.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dermafleet.contracts.records import Maintenance
from device_agent.drivers import Operator, Values
from device_agent.simulator.faults import Scheduled
from device_agent.simulator.inputs import Activity, gather
from device_agent.simulator.life import Life
from device_agent.simulator.machines import Machines, Readings
from device_agent.simulator.stretches import MODALITY, TIPS
from device_agent.simulator.treatment import RATE_HZ
from device_agent.simulator.truth import TrueFault
from device_agent.simulator.upcoming import next_treatment

_AHEAD_STEPS = RATE_HZ
_MOST_STEPS = 60 * RATE_HZ
"""Computed at once, at least and at most: more is cheaper, but the machines come to it later."""
_KEPT_CHUNKS = 20
_PAUSE_S = (300.0, 900.0)
_FIRST_PAUSE_S = (20.0, 240.0)
_IDLE_AT_FIRST = 1 / 3


@dataclass(frozen=True, slots=True)
class Guest:
    """A machine for a hall, and its faults: seconds after the start with which each begins.

    A machine with a fault to show makes no pauses.
    """

    life: Life
    faults: tuple[tuple[float, Scheduled], ...] = ()


@dataclass(slots=True)
class _Course:
    """Where one machine is in what it does: pauses and treatments in turn.

    Attributes:
        left: steps of the pause that are left.
        is_restless: it makes no pauses.
        pending: faults to come, with their begin in seconds.
        done: steps of the treatment that are over.
        told: what the operator told, not yet read.
    """

    life: Life
    left: int
    is_restless: bool
    pending: list[tuple[float, Scheduled]]
    activity: Activity | None = None
    done: int = 0
    told: Operator | None = None

    def suffer(self, seconds: float, at_ms: int) -> None:
        """Let the faults begin that are due so long after the start."""
        due = [fault for begins_s, fault in self.pending if begins_s <= seconds]
        self.pending = [each for each in self.pending if each[0] > seconds]
        session, onset_s = self.life.treatments, 0.0
        if self.activity is not None:
            session, onset_s = self.activity.session, self.done / RATE_HZ
        self.life.suffer(replace(fault, onset=session, onset_s=onset_s) for fault in due)
        if due:
            self.life.note_onsets(session, at_ms - round(onset_s * 1000), onset_s)

    def take(self, steps: int, at_ms: int) -> Activity | None:
        """What is done within the next steps; None = nothing."""
        if self.activity is None:
            self.left -= steps
            if self.left > 0:
                return None
            self._begin(at_ms)
        whole, begin = self.activity, self.done
        assert whole is not None
        self.done += steps
        if self.done >= len(whole.scripts[0]):
            self.activity = None
            self.left = 0 if self.is_restless else round(self.life.random.uniform(*_PAUSE_S) * RATE_HZ)
        parts = tuple(script.part(begin, begin + steps) for script in whole.scripts)
        return Activity(
            life=self.life,
            at_ms=at_ms,
            purpose=whole.purpose,
            session=whole.session,
            scripts=parts,
            dust_g_s=whole.dust_g_s,
            tip_mm=whole.tip_mm,
            length=len(parts[0]),
            pump_end=whole.pump_end,
            end=whole.end,
            before=begin,
        )

    @property
    def truth(self) -> tuple[TrueFault, ...]:
        """What is wrong now."""
        session = self.life.treatments - 1 if self.activity is not None else self.life.treatments
        return self.life.truth(session, self.done / RATE_HZ)

    def _begin(self, at_ms: int) -> None:
        self.activity, self.done = next_treatment(self.life, at_ms), 0
        self.life.note_onsets(self.activity.session, at_ms, self.activity.pump_end / RATE_HZ)
        architecture = self.life.model.circuits[0].architecture
        self.told = Operator(
            modality=MODALITY[architecture],
            tip_type=TIPS[architecture],
            tip_size_mm=self.activity.tip_mm,
            abrasive="AL2O3" if architecture == "crystal" else "NONE",
            screening_outcome="PASSED",
            maintenance=tuple(Maintenance(type=kind) for kind in self.activity.maintenance),
        )


@dataclass(slots=True)
class _Chunk:
    """Readings of all machines for some steps from ``begin`` on."""

    begin: int
    end: int
    readings: Readings


class Hall:
    """The machines and what has been computed of them; each row is read by step number, in its own time."""

    def __init__(self, guests: Sequence[Guest]) -> None:
        self._lives = lives = tuple(guest.life for guest in guests)
        self._rows = [(life, index) for life in lives for index in range(len(life.circuits))]
        self._first_row = {life.seed: row for row, (life, index) in enumerate(self._rows) if index == 0}
        self._machines = Machines(self._rows)
        self._courses = [_new_course(guest) for guest in guests]
        self._chunks: deque[_Chunk] = deque(maxlen=_KEPT_CHUNKS)
        self._end = 0
        self._is_settled = False
        self._names = [_names(life, self._first_row[life.seed]) for life in lives]
        for row, (life, index) in enumerate(self._rows):
            self._machines.plant.dust_kg[row] = life.circuits[index].dust_g / 1000

    def read(self, number: int, step: int, at_ms: int) -> tuple[Values, Operator | None]:
        """What the sensors of the n-th machine say at a step, and what its operator told before.

        Args:
            step: of 0.1 s since the hall was opened; one that is long gone stands for the oldest kept.
            at_ms: event time, for weather and mains.
        """
        while step >= self._end:
            self._compute(min(max(step + 1 - self._end, _AHEAD_STEPS), _MOST_STEPS), at_ms)
        chunk = next((each for each in reversed(self._chunks) if each.begin <= step), self._chunks[0])
        at = max(step - chunk.begin, 0)
        course = self._courses[number]
        told, course.told = course.told, None
        return {name: chunk.readings[standard].item(row, at) for name, standard, row in self._names[number]}, told

    def truth(self, number: int) -> tuple[TrueFault, ...]:
        """What is wrong with the n-th machine now."""
        return self._courses[number].truth

    def filter_index(self, number: int) -> dict[str, float]:
        """True filter index of each circuit of the n-th machine, faults included."""
        life = self._lives[number]
        return {each.circuit.component: round(1 + each.dust_load, 3) for each in life.circuits}

    def _compute(self, steps: int, at_ms: int) -> None:
        """Advance all machines."""
        plant = self._machines.plant
        activities: dict[int, Activity] = {}
        for course in self._courses:
            course.suffer(self._end / RATE_HZ, at_ms)
            life, was_idle = course.life, course.activity is None
            activity = course.take(steps, at_ms)
            if activity is not None:
                activities[life.seed] = activity
                if was_idle:
                    self._prepare(life)
        inputs = gather(self._rows, self._machines.drawn, activities, steps, at_ms)
        signals = plant.run(inputs.control(0, steps))
        readings = self._machines.go_on(signals, inputs, activities, settle=not self._is_settled)
        self._is_settled = True
        self._chunks.append(_Chunk(self._end, self._end + steps, readings))
        self._end += steps
        for row, (life, index) in enumerate(self._rows):
            life.circuits[index].dust_g = 1000 * float(plant.dust_kg[row])
            if index == 0:
                life.jar_g, life.canister_g = float(plant.jar_g[row]), float(plant.canister_g[row])

    def _prepare(self, life: Life) -> None:
        """Bring what the operator did before a treatment into the plant."""
        first = self._first_row[life.seed]
        plant = self._machines.plant
        plant.jar_g[first], plant.canister_g[first] = life.jar_g, life.canister_g
        for index, circuit in enumerate(life.circuits):
            plant.dust_kg[first + index] = circuit.dust_g / 1000


def _new_course(guest: Guest) -> _Course:
    life, is_restless = guest.life, bool(guest.faults)
    waits = not is_restless and life.random.uniform() < _IDLE_AT_FIRST
    pause = round(life.random.uniform(*_FIRST_PAUSE_S) * RATE_HZ) if waits else 0
    return _Course(life, pause, is_restless, list(guest.faults))


def _names(life: Life, first_row: int) -> list[tuple[str, str, int]]:
    """Name as sent, standard channel and row of everything that a machine measures."""
    return [
        (name, standard, first_row + index)
        for index, circuit in enumerate(life.circuits)
        for standard, name in life.channels[circuit.circuit.component].items()
    ]
