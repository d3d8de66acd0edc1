"""A batch of machines through their days, activity by activity at the same time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_agent.simulator import clinic, treatment
from device_agent.simulator.circuits import IDLE_MS, Circuits
from device_agent.simulator.inputs import TYPE_TIP_MM, Activity, Inputs, Row
from device_agent.simulator.life import Life
from device_agent.simulator.machines import Machines, Readings
from device_agent.simulator.plant import Signals
from device_agent.simulator.stretches import PERIOD_MS, Record, Stretch, maintenance_records, session_records
from device_agent.simulator.treatment import RATE_HZ
from device_agent.simulator.truth import TrueFault
from device_agent.simulator.upcoming import next_treatment

_ON_BEFORE_OPENING_MS = 15 * 60_000
_SELF_TEST_AFTER_MS = 120_000
_FIRST_CLIENT_AFTER_MS = 5 * 60_000
_BETWEEN_MS = 120_000
_REBOOT_MS = 90_000
_OVER_VACUUM_KPA, _OVER_SETPOINT_KPA = 65.0, 10.0


@dataclass(slots=True)
class _Day:
    """One opening day of one machine, Unix ms.

    Attributes:
        self_test_ms: None = nobody tests today.
        starts_ms: of the treatments, at the earliest.
        busy_until_ms: end of the last activity's samples.
    """

    self_test_ms: int | None
    starts_ms: list[int]
    closes_ms: int
    busy_until_ms: int


class Batch:
    """Some machines, whose plans may differ."""

    def __init__(self, lives: Sequence[Life]) -> None:
        self._lives = tuple(lives)
        self._rows: list[Row] = [(life, index) for life in self._lives for index in range(len(life.circuits))]
        self._first_row = {life.seed: number for number, (life, index) in enumerate(self._rows) if index == 0}
        self._machines = Machines(self._rows)
        self._circuits = Circuits(self._rows, self._machines.plant, self._machines.drawn)
        self._dates = [clinic.open_days(life.clinic, life.plan.first_day, life.plan.days) for life in self._lives]
        self._days: dict[int, _Day] = {}

    def run(self) -> Iterator[Stretch]:
        """All days."""
        for number in range(max(map(len, self._dates))):
            self._open(number)
            yield from self._self_tests()
            for slot in range(max((len(day.starts_ms) for day in self._days.values()), default=0)):
                yield from self._treatments(slot)
            yield from self._idle({seed: day.closes_ms for seed, day in self._days.items()})

    def _open(self, number: int) -> None:
        """Switch the machines on in the morning of each one's n-th day."""
        for life, dates in zip(self._lives, self._dates, strict=True):
            if number >= len(dates):
                self._days.pop(life.seed, None)
                continue
            opens = clinic.opening_ms(life.clinic, dates[number])
            closes = opens + round((life.clinic.closes - life.clinic.opens) * 3_600_000)
            on = opens - _ON_BEFORE_OPENING_MS + int(life.random.integers(0, 300_000))
            before = self._days.get(life.seed)
            if before is not None:
                self._circuits.rest({life.seed: (on - before.busy_until_ms) / 1000})
            life.switch_on(on)
            least, most = life.plan.sessions_per_day
            count = int(life.random.integers(least, most + 1))
            shares = (np.arange(count) + life.random.uniform(0.05, 0.3, count)) / max(count, 1)
            starts = (opens + (closes - opens) * shares).astype(int).tolist()
            earliest = on + _FIRST_CLIENT_AFTER_MS
            is_tested = life.random.uniform() < life.plan.self_tests
            self._days[life.seed] = _Day(
                self_test_ms=on + _SELF_TEST_AFTER_MS if is_tested else None,
                starts_ms=[max(start, earliest) for start in starts],
                closes_ms=closes,
                busy_until_ms=on,
            )

    def _self_tests(self) -> Iterator[Stretch]:
        activities = {}
        for life in self._lives:
            day = self._days.get(life.seed)
            if day is not None and day.self_test_ms is not None:
                activities[life.seed] = _self_test(life, day.self_test_ms)
        if activities:
            yield from self._idle({seed: each.at_ms for seed, each in activities.items()})
            self._rest(activities)
            inputs, signals = self._circuits.self_test(activities, _earliest(activities))
            yield from self._stretches(activities, inputs, signals)

    def _treatments(self, slot: int) -> Iterator[Stretch]:
        activities = {}
        for life in self._lives:
            day = self._days.get(life.seed)
            if day is not None and slot < len(day.starts_ms):
                at_ms = max(day.starts_ms[slot], day.busy_until_ms + _BETWEEN_MS)
                activities[life.seed] = next_treatment(life, at_ms)
        yield from self._idle({seed: each.at_ms for seed, each in activities.items()})
        self._rest(activities)
        inputs, signals = self._circuits.treat(activities, _earliest(activities))
        yield from self._stretches(activities, inputs, signals)

    def _rest(self, activities: Mapping[int, Activity]) -> None:
        """Let the machines cool since their last activity, and begin the next."""
        self._machines.begin(activities)
        gaps = {seed: (each.at_ms - self._days[seed].busy_until_ms) / 1000 for seed, each in activities.items()}
        self._circuits.rest(gaps)

    def _idle(self, until_ms: Mapping[int, int]) -> Iterator[Stretch]:
        """Samples of machines that stand powered from their last activity until a moment, one a minute."""
        counts = {
            life.seed: (until_ms[life.seed] - self._days[life.seed].busy_until_ms) // IDLE_MS
            for life in self._lives
            if life.plan.idle and life.seed in until_ms
        }
        most = max(counts.values(), default=0)
        if most <= 0:
            return
        self._machines.begin_to_stand({seed for seed, count in counts.items() if count > 0})
        earliest = min(until_ms.values())
        since = [self._days[life.seed].busy_until_ms if life.seed in self._days else earliest for life, _ in self._rows]
        measured = self._machines.stand(self._circuits.stand(most, since))
        for life in self._lives:
            count = counts.get(life.seed, 0)
            if count > 0:
                yield self._standing(life, count, measured)

    def _standing(self, life: Life, count: int, measured: Readings) -> Stretch:
        at_ms = self._days[life.seed].busy_until_ms + IDLE_MS * np.arange(1, count + 1, dtype=np.int64) - 1
        return Stretch(
            device_id=life.device_id,
            boot=life.boot.id,
            up_ms=int(at_ms[0]) - life.boot.at_ms,
            at_ms=at_ms,
            channels=self._sent(life, measured, count),
            records=(),
            truth=life.truth(life.treatments, 0.0),
            filter_index=1 + life.circuits[0].dust_load,
            altitude_m=life.place.altitude_m,
        )

    def _sent(self, life: Life, measured: Readings, count: int) -> dict[str, NDArray[np.float32]]:
        """The channels of one machine under the names by which it sends them."""
        row = self._first_row[life.seed]
        return {
            name: measured[standard][row + index, :count]
            for index, circuit in enumerate(life.circuits)
            for standard, name in life.channels[circuit.circuit.component].items()
        }

    def _stretches(self, activities: Mapping[int, Activity], inputs: Inputs, signals: Signals) -> Iterator[Stretch]:
        """What each machine has sent of an activity; moves its day on."""
        measured = self._machines.measure(signals, inputs, activities)
        over = _over_vacuum(signals, inputs)
        for seed, activity in activities.items():
            row, life = self._first_row[seed], activity.life
            records: list[tuple[int, Record]] = [(0, each) for each in life.events]
            life.events = []
            records += maintenance_records(activity)
            records += session_records(activity, life.next_session_id(), inputs.setpoint_kpa[:, row])
            yield Stretch(
                device_id=life.device_id,
                boot=life.boot.id,
                up_ms=activity.at_ms - life.boot.at_ms,
                at_ms=activity.at_ms + PERIOD_MS * np.arange(activity.length, dtype=np.int64),
                channels=self._sent(life, measured, activity.length),
                records=tuple(records),
                truth=(*_truth(activity), *_crossings(activity, over[:, row : row + len(life.circuits)])),
                filter_index=float(signals["filter_index"][activity.length - 1, row]),
                altitude_m=life.place.altitude_m,
            )
            self._move_on(activity)

    def _move_on(self, activity: Activity) -> None:
        life, day = activity.life, self._days[activity.life.seed]
        day.busy_until_ms = activity.at_ms + activity.length * PERIOD_MS
        for index in range(len(life.circuits)):
            life.wear(index, activity.pump_end / RATE_HZ)
        if life.unfinished is not None:
            life.events, life.unfinished = [life.unfinished], None
            day.busy_until_ms += _REBOOT_MS
            life.switch_on(day.busy_until_ms - 30_000)


def _self_test(life: Life, at_ms: int) -> Activity:
    """A self-test of all circuits; how long it is shows while it runs."""
    script, count = treatment.self_test(), len(life.circuits)
    return Activity(
        life=life,
        at_ms=at_ms,
        purpose="self_test",
        session=life.treatments,
        scripts=(script,) * count,
        dust_g_s=(0.0,) * count,
        tip_mm=TYPE_TIP_MM,
        length=0,
        pump_end=0,
        end=0,
    )


def _earliest(activities: Mapping[int, Activity]) -> int:
    return min(each.at_ms for each in activities.values())


def _truth(activity: Activity) -> tuple[TrueFault, ...]:
    pump_s = activity.pump_end / RATE_HZ if activity.purpose == "treatment" else 0.0
    activity.life.note_onsets(activity.session, activity.at_ms, pump_s)
    return activity.life.truth(activity.session, pump_s)


def _over_vacuum(signals: Signals, inputs: Inputs) -> NDArray[np.bool_]:
    """Whether the handpiece is beyond what it may be, (steps, rows); a capped tip is a test."""
    vacuum = signals["vacuum_handpiece_kpa"]
    steps = len(vacuum)
    limit = np.minimum(_OVER_VACUUM_KPA, inputs.setpoint_kpa[:steps] + _OVER_SETPOINT_KPA)
    result: NDArray[np.bool_] = (vacuum > limit) & ~inputs.pinched[:steps]
    return result


def _crossings(activity: Activity, over: NDArray[np.bool_]) -> Iterator[TrueFault]:
    """Over-vacuum of at least a second: the first crossing on each circuit, at its sample."""
    for index, life in enumerate(activity.life.circuits):
        column = over[: activity.length, index]
        if not column.any():
            continue
        edges = np.flatnonzero(np.diff(np.concatenate(([0], column.view(np.int8), [0]))))
        long = np.flatnonzero(edges[1::2] - edges[::2] >= RATE_HZ)
        if len(long):
            at_ms = activity.at_ms + int(edges[2 * long[0]]) * PERIOD_MS
            yield TrueFault("over_vacuum", life.circuit.component, 1.0, at_ms)
