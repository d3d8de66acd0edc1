"""The plant of a batch of machines: what is done to each machine in, true signals out."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dermafleet.physics.gas import Array
from dermafleet.physics.machine import Machine
from device_agent.simulator.inputs import Activity, Inputs, Row, gather
from device_agent.simulator.plant import CAPPED, OPEN, Plant, Signals
from device_agent.simulator.treatment import (
    AFTER_S,
    RATE_HZ,
    SELF_TEST_CAPPED_S,
    SELF_TEST_LEAK_S,
    SELF_TEST_LIMIT_KPA,
    SELF_TEST_OFF_S,
    SELF_TEST_OPEN_S,
)

_COOLING_AT_REST = 1.12
"""Thermal resistance of a pump that moves no air, over the nominal one."""
_PLATEAU_STEPS, _PLATEAU_KPA, _SHORTEST_CAPPED = 2 * RATE_HZ, 0.3, 6 * RATE_HZ
_LEAK_STEPS, _AFTER_STEPS = round(SELF_TEST_LEAK_S * RATE_HZ), round(AFTER_S * RATE_HZ)


class Circuits:
    """The circuits of machines, machine after machine; every call advances all of them.

    A machine without an activity stands still with its pump off.
    """

    def __init__(self, rows: Sequence[Row], plant: Plant, machines: Sequence[Machine]) -> None:
        """
        Args:
            rows, machines: of each row of the plant, its machine and circuit, and its drawn parameters.
        """
        self._rows = tuple(rows)
        self._plant = plant
        self._machines = tuple(machines)

    def rest(self, seconds: Mapping[int, float]) -> None:
        """Let machines cool with the pump off; by the machine's seed."""
        for number, ((life, _), machine) in enumerate(zip(self._rows, self._machines, strict=True)):
            time_s = float(machine.thermal_k_per_w) * _COOLING_AT_REST * float(machine.thermal_j_per_k)
            self._plant.rise_k[number] *= np.exp(-seconds.get(life.seed, 0.0) / time_s)

    def rise_k(self, number: int) -> float:
        """Pump temperature of a row above its room."""
        return float(self._plant.rise_k[number])

    def treat(self, activities: Mapping[int, Activity], at_ms: int) -> tuple[Inputs, Signals]:
        """Advance all machines through treatments.

        Args:
            activities: by the machine's seed.
            at_ms: the time for machines that stand still.

        Returns:
            What the plant was told, and true values, each (steps, rows).
        """
        steps = max(len(script) for activity in activities.values() for script in activity.scripts)
        inputs = gather(self._rows, self._machines, activities, steps, at_ms)
        self._load()
        signals = self._plant.run(inputs.control(0, steps))
        self._unload()
        return inputs, signals

    def self_test(self, activities: Mapping[int, Activity], at_ms: int) -> tuple[Inputs, Signals]:
        """Advance all machines through self-tests: each stops its pump at the limit or at the plateau.

        Writes into the activities how long it took.
        """
        capped_from = round((SELF_TEST_OFF_S + SELF_TEST_OPEN_S) * RATE_HZ)
        latest = capped_from + round(SELF_TEST_CAPPED_S * RATE_HZ)
        steps = latest + _LEAK_STEPS + _AFTER_STEPS
        inputs = gather(self._rows, self._machines, activities, steps, at_ms)
        self._load()
        parts = [self._plant.run(inputs.control(0, capped_from))]
        is_tested = np.array([life.seed in activities for life, _ in self._rows])
        stopped = np.where(is_tested, latest, 0)
        recent: list[Array] = []
        step = capped_from
        while step < latest and (stopped > step).any():
            parts.append(self._plant.run(inputs.control(step, step + 1)))
            recent.append(parts[-1]["vacuum_inlet_kpa"][0])
            step += 1
            now_over = (stopped > step) & _is_over(recent)
            for row in np.flatnonzero(now_over):
                _stop(inputs, int(row), step)
            stopped[now_over] = step
        for row in np.flatnonzero(stopped == latest):
            _stop(inputs, int(row), latest)
        until = int(stopped.max()) + _LEAK_STEPS + _AFTER_STEPS
        parts.append(self._plant.run(inputs.control(step, until)))
        self._unload()
        for (life, _), pump_end in zip(self._rows, stopped.tolist(), strict=True):
            if activity := activities.get(life.seed):
                activity.pump_end = max(activity.pump_end, pump_end)
                activity.end = activity.pump_end + _LEAK_STEPS
                activity.length = activity.end + _AFTER_STEPS
        return inputs, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _load(self) -> None:
        """Bring what people have done to the machines into the plant."""
        for number, (life, index) in enumerate(self._rows):
            self._plant.dust_kg[number] = life.circuits[index].dust_g / 1000
            if index == 0:
                self._plant.jar_g[number], self._plant.canister_g[number] = life.jar_g, life.canister_g

    def _unload(self) -> None:
        for number, (life, index) in enumerate(self._rows):
            life.circuits[index].dust_g = 1000 * float(self._plant.dust_kg[number])
            if index == 0:
                life.jar_g = float(self._plant.jar_g[number])
                life.canister_g = float(self._plant.canister_g[number])


def _stop(inputs: Inputs, row: int, step: int) -> None:
    """Switch the pump of a row off: the regulator shuts for the leak-down, then the tip is opened."""
    opened = step + _LEAK_STEPS
    inputs.pump_on[step:, row] = False
    inputs.changes["bleed_m2"][step:opened, row] = 0.0
    inputs.tip[step:opened, row] = CAPPED
    inputs.pinched[step:opened, row] = True
    inputs.tip[opened:, row] = OPEN
    inputs.pinched[opened:, row] = False


def _is_over(vacuum_kpa: Sequence[Array]) -> NDArray[np.bool_]:
    """Whether a capped tip has shown what it can: the limit or a plateau is reached."""
    now = vacuum_kpa[-1]
    over: NDArray[np.bool_] = now >= SELF_TEST_LIMIT_KPA
    if len(vacuum_kpa) > max(_SHORTEST_CAPPED, _PLATEAU_STEPS):
        over = over | (np.abs(now - vacuum_kpa[-1 - _PLATEAU_STEPS]) < _PLATEAU_KPA)
    return over
