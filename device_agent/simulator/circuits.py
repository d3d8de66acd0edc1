"""The plant of a batch of machines: what is done to each machine in, true signals out."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dermafleet.contracts.channels import CHANNELS
from dermafleet.physics.gas import Array
from dermafleet.physics.machine import Machine
from device_agent.simulator import clinic
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
    SELF_TEST_SETPOINT_KPA,
)

_COOLING_AT_REST = 1.12
"""Thermal resistance of a pump that moves no air, over the nominal one."""
_PLATEAU_STEPS, _PLATEAU_KPA, _SHORTEST_CAPPED = 2 * RATE_HZ, 0.3, 6 * RATE_HZ
IDLE_MS = 60_000
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
        self._cooling_s = np.array(
            [float(each.thermal_k_per_w) * _COOLING_AT_REST * float(each.thermal_j_per_k) for each in machines]
        )

    def rest(self, seconds: Mapping[int, float]) -> None:
        """Let machines cool with the pump off; by the machine's seed."""
        passed = np.array([seconds.get(life.seed, 0.0) for life, _ in self._rows])
        self._plant.rise_k *= np.exp(-passed / self._cooling_s)

    def stand(self, samples: int, since_ms: Sequence[int]) -> Signals:
        """True values of machines that stand with the pump off, one sample a minute; nothing is advanced.

        Args:
            since_ms: per row, when it began to stand.

        Returns:
            Every channel, each (samples, rows).
        """
        shape = (samples, len(self._rows))
        zero = np.zeros(shape)
        seconds = IDLE_MS / 1000 * np.arange(1, samples + 1)[:, None]
        standing = list(zip((life for life, _ in self._rows), since_ms, strict=True))
        room = np.array([clinic.room_c(life.place, at) for life, at in standing])
        ambient = np.array([clinic.ambient_kpa(life.place, at) for life, at in standing])
        mains = np.array([life.mains_nominal_v * clinic.mains_share(life.place, at) for life, at in standing])
        signals = {channel.name: zero for channel in CHANNELS}
        return signals | {
            "pump_temp_c": room + self._plant.rise_k * np.exp(-seconds / self._cooling_s),
            "ambient_temp_c": np.broadcast_to(room, shape),
            "ambient_kpa": np.broadcast_to(ambient, shape),
            "mains_v": np.broadcast_to(mains, shape),
            "crystal_jar_g": np.broadcast_to(self._plant.jar_g, shape),
            "canister_g": np.broadcast_to(self._plant.canister_g, shape),
            "setpoint_kpa": np.full(shape, SELF_TEST_SETPOINT_KPA),
        }

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
        warm = self._load()
        signals = self._plant.run(inputs.control(0, steps))
        self._unload(activities, signals, warm)
        return inputs, signals

    def self_test(self, activities: Mapping[int, Activity], at_ms: int) -> tuple[Inputs, Signals]:
        """Advance all machines through self-tests: each stops its pump at the limit or at the plateau.

        Writes into the activities how long it took.
        """
        capped_from = round((SELF_TEST_OFF_S + SELF_TEST_OPEN_S) * RATE_HZ)
        latest = capped_from + round(SELF_TEST_CAPPED_S * RATE_HZ)
        steps = latest + _LEAK_STEPS + _AFTER_STEPS
        inputs = gather(self._rows, self._machines, activities, steps, at_ms)
        warm = self._load()
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
        for (life, _), pump_end in zip(self._rows, stopped.tolist(), strict=True):
            if activity := activities.get(life.seed):
                activity.pump_end = max(activity.pump_end, pump_end)
                activity.end = activity.pump_end + _LEAK_STEPS
                activity.length = activity.end + _AFTER_STEPS
        signals = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        self._unload(activities, signals, warm)
        return inputs, signals

    def _load(self) -> Array:
        """Bring what people have done to the machines into the plant; returns how warm the pumps are, K."""
        for number, (life, index) in enumerate(self._rows):
            self._plant.dust_kg[number] = life.circuits[index].dust_g / 1000
            if index == 0:
                self._plant.jar_g[number], self._plant.canister_g[number] = life.jar_g, life.canister_g
        return self._plant.rise_k.copy()

    def _unload(self, activities: Mapping[int, Activity], signals: Signals, warm: Array) -> None:
        """Note what is left, as of the end of each machine's own samples: others may have gone on for longer."""
        for number, (life, index) in enumerate(self._rows):
            activity = activities.get(life.seed)
            if activity is None:
                self._plant.rise_k[number] = warm[number]
                continue
            last = activity.length - 1
            self._plant.rise_k[number] = signals["pump_temp_c"][last, number] - signals["ambient_temp_c"][last, number]
            life.circuits[index].dust_g = 1000 * float(self._plant.dust_kg[number])
            if index == 0:
                life.jar_g = float(signals["crystal_jar_g"][last, number])
                life.canister_g = float(signals["canister_g"][last, number])


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
