"""Scripts and faults of many machines as the arrays that the plant takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dermafleet.physics import steady
from dermafleet.physics.gas import Array
from dermafleet.physics.machine import Machine
from device_agent.simulator import clinic
from device_agent.simulator.faults import BLEED
from device_agent.simulator.life import Life
from device_agent.simulator.plant import CAPPED, CONTACT, OPEN, Control
from device_agent.simulator.treatment import RATE_HZ, SELF_TEST_SETPOINT_KPA, Script

_T = TypeVar("_T", bound=np.generic)

Row = tuple[Life, int]
"""A machine and the number of its circuit: one row of the plant."""

_SETPOINTS = np.arange(8.0, 56.0)
TYPE_TIP_MM = 5.0
_CAPPED_SEAL = 1.0
_GROWTH_STEPS = 2 * RATE_HZ
"""A fault that grows within a session is renewed this often."""


@dataclass(slots=True)
class Activity:
    """What happens to one machine from one moment on, until its samples end.

    Attributes:
        at_ms: of the first sample.
        purpose: ``treatment`` or ``self_test``.
        session: number of the treatment; during a self-test, of the next one.
        scripts: one per circuit, of one length.
        dust_g_s: fines that reach the filters per second of contact, one per circuit.
        tip_mm: opening of the tip.
        length: samples of its telemetry; a power cut makes it shorter than the scripts.
        pump_end: samples until the pump was switched off.
        end: samples until the session was over.
        maintenance: codes of what was done to the machine before it.
        before: steps of the treatment that are over when the scripts begin.
    """

    life: Life
    at_ms: int
    purpose: str
    session: int
    scripts: tuple[Script, ...]
    dust_g_s: tuple[float, ...]
    tip_mm: float
    length: int
    pump_end: int
    end: int
    maintenance: tuple[str, ...] = ()
    before: int = 0


@dataclass(slots=True)
class Inputs:
    """Everything the plant is told for a number of steps; each array (steps, n) or (n,)."""

    pump_on: NDArray[np.bool_]
    tip: NDArray[np.int64]
    pinched: NDArray[np.bool_]
    setpoint_kpa: Array
    mains_v: Array
    ambient_pa: Array
    room_c: Array
    dust_g_per_s: Array
    fluid_g_per_s: Array
    changes: dict[str, Array]

    def control(self, begin: int, end: int) -> Control:
        """The part from one step to another."""

        def part(values: Array) -> Array:
            return values[begin:end] if values.ndim == 2 else values

        return Control(
            steps=end - begin,
            pump_on=self.pump_on[begin:end],
            tip=self.tip[begin:end],
            feed_open=~self.pinched[begin:end],
            mains_v=part(self.mains_v),
            ambient_pa=self.ambient_pa,
            room_c=self.room_c,
            dust_g_per_s=self.dust_g_per_s,
            fluid_g_per_s=self.fluid_g_per_s,
            changes={name: part(values) for name, values in self.changes.items()},
        )


def gather(
    rows: Sequence[Row], machines: Sequence[Machine], activities: Mapping[int, Activity], steps: int, at_ms: int
) -> Inputs:
    """The inputs of all rows; a machine without an activity stands still.

    Args:
        machines: the drawn ones, one per row.
        activities: by the machine's seed.
        at_ms: the moment for machines that stand still.
    """
    count = len(rows)
    seal, setpoint = np.zeros((count, steps)), np.full((count, steps), SELF_TEST_SETPOINT_KPA)
    pump_on, pinched = np.zeros((count, steps), dtype=bool), np.zeros((count, steps), dtype=bool)
    dust, fluid = np.zeros(count), np.zeros(count)
    for number, (life, index) in enumerate(rows):
        activity = activities.get(life.seed)
        if activity is None:
            continue
        script = activity.scripts[index]
        length = len(script)
        seal[number, :length], setpoint[number, :length] = script.seal, script.setpoint_kpa
        setpoint[number, length:] = script.setpoint_kpa[-1]
        pump_on[number, :length], pinched[number, :length] = script.pump_on, script.pinched
        dust[number] = activity.dust_g_s[index]
        circuit = life.circuits[index].circuit
        fluid[number] = circuit.feed_g_s if circuit.architecture == "hydra" else 0.0
    seal, setpoint = _by_step(seal), _by_step(setpoint)
    begun = {life.seed: activities[life.seed].at_ms if life.seed in activities else at_ms for life, _ in rows}
    changes = _changes(rows, machines, activities, steps)
    opening = _openings(machines, setpoint)
    changes["bleed_m2"] = opening * changes.pop(BLEED)
    changes["seal"] = np.where(seal > 0, seal, 0.5)
    return Inputs(
        pump_on=_by_step(pump_on),
        tip=np.where(seal >= _CAPPED_SEAL, CAPPED, np.where(seal > 0, CONTACT, OPEN)),
        pinched=_by_step(pinched),
        setpoint_kpa=setpoint,
        mains_v=_mains(rows, activities, begun, steps),
        ambient_pa=np.array([1000 * clinic.ambient_kpa(life.place, begun[life.seed]) for life, _ in rows]),
        room_c=np.array([clinic.room_c(life.place, begun[life.seed]) for life, _ in rows]),
        dust_g_per_s=dust,
        fluid_g_per_s=fluid,
        changes=changes,
    )


def _by_step(values: NDArray[_T]) -> NDArray[_T]:
    return np.ascontiguousarray(values.T)


def _changes(
    rows: Sequence[Row], machines: Sequence[Machine], activities: Mapping[int, Activity], steps: int
) -> dict[str, Array]:
    """The plant's parameters of faults and wear; those that change within the activity as (steps, n)."""
    courses = [_course(life, index, activities.get(life.seed), steps) for life, index in rows]
    changes: dict[str, Array] = {}
    for name in courses[0][0][1]:
        values = np.array([course[0][1][name] for course in courses])
        moving = [(n, c) for n, c in enumerate(courses) if any(later[name] != c[0][1][name] for _, later in c[1:])]
        if moving:
            values = np.tile(values, (steps, 1))
            for number, course in moving:
                for begin, later in course[1:]:
                    values[begin:, number] = later[name]
        changes[name] = values
    _combine(changes, machines)
    tips = [activities[life.seed].tip_mm if life.seed in activities else TYPE_TIP_MM for life, _ in rows]
    drawn = np.array([float(machine.tip_m2) for machine in machines])
    changes["tip_m2"] = drawn * np.square(np.array(tips) / TYPE_TIP_MM)
    return changes


def _combine(changes: dict[str, Array], machines: Sequence[Machine]) -> None:
    """Put wear and faults on top of what the machines were drawn with, in place."""
    for name in ("displacement", "return_area", "feed_area", "cooling"):
        changes[name] = changes[name] * np.array([float(getattr(machine, name)) for machine in machines])
    for name in ("leak_dirty_m2", "leak_clean_m2", "exhaust_load", "valve_leak"):
        changes[name] = changes[name] + np.array([float(getattr(machine, name)) for machine in machines])


def _course(life: Life, index: int, activity: Activity | None, steps: int) -> list[tuple[int, dict[str, float]]]:
    """From which step on the parameters of one row are what."""
    if activity is None or activity.purpose != "treatment":
        return [(0, life.parameters(index, life.treatments, 0.0, 0.0))]
    session, pump_steps = activity.session, max(activity.pump_end, 1)
    moments = {0}
    for each in life.schedule:
        if session == each.onset and each.growing == 0:
            moments.add(round(each.onset_s * RATE_HZ) - activity.before)
            if each.fault == "canister_full" or each.growing_s > 0:
                moments.update(range(0, len(activity.scripts[index]), _GROWTH_STEPS))
    return [
        (step, life.parameters(index, session, done / RATE_HZ, done / pump_steps))
        for step in sorted(moments)
        if 0 <= step < steps
        for done in (activity.before + step,)
    ]


def _openings(machines: Sequence[Machine], setpoint_kpa: Array) -> Array:
    """Opening of the regulators as set, m2, (steps, n)."""
    opening = np.empty_like(setpoint_kpa)
    for number, machine in enumerate(machines):
        opening[:, number] = np.interp(setpoint_kpa[:, number], _SETPOINTS, _dial(machine))
    return opening


@lru_cache(maxsize=1024)
def _dial(machine: Machine) -> Array:
    """Opening of the regulator at each of `_SETPOINTS`, m2: the maker adjusts each dial, at sea level."""
    return steady.bleed_for_contact(machine, _SETPOINTS)


def _mains(rows: Sequence[Row], activities: Mapping[int, Activity], begun: Mapping[int, int], steps: int) -> Array:
    """Mains voltage, (steps, n): drift, sags and faults; the circuits of one machine share it."""
    volts = np.empty((len(rows), steps))
    for number, (life, index) in enumerate(rows):
        if index > 0:
            volts[number] = volts[number - 1]
            continue
        volts[number] = life.mains_nominal_v * clinic.mains_share(life.place, begun[life.seed])
        activity = activities.get(life.seed)
        if activity is None:
            continue
        if life.plan.nuisances:
            clinic.add_sags(volts[number, : len(activity.scripts[0])], life.clinic, life.random)
        for begin in _supply_moments(life, activity):
            volts[number, max(begin - activity.before, 0) :] *= life.mains_factor(activity.session, begin / RATE_HZ)
    return _by_step(volts)


def _supply_moments(life: Life, activity: Activity) -> list[int]:
    """Steps from which the supply has its fault; at most one, since a supply fault stays for the treatment."""
    begun = [
        round(each.onset_s * RATE_HZ) if activity.session == each.onset and each.growing == 0 else 0
        for each in life.schedule
        if each.fault == "mains_low" and each.level_at(activity.session, np.inf) is not None
    ]
    return begun[:1]
