"""Machines as they really are: drawn parameters, plant and sensors for the rows of a batch."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import fields, replace
from typing import cast

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from dermafleet.contracts.channels import CHANNELS
from dermafleet.physics.gas import Array
from dermafleet.physics.machine import FIELDS, Machine
from device_agent.simulator import draw
from device_agent.simulator.faults import DRIFT, Scheduled
from device_agent.simulator.inputs import Activity, Inputs, Row
from device_agent.simulator.models import CAKE_G, Circuit
from device_agent.simulator.plant import Plant, Quirks, Signals
from device_agent.simulator.sensors import (
    AUTO_ZERO_S,
    GOOD,
    PROBES,
    RAIL_HIGH,
    RAIL_LOW,
    STUCK,
    ZERO,
    SensorFault,
    Sensors,
)
from device_agent.simulator.streams import Streams
from device_agent.simulator.treatment import RATE_HZ

_IDLE = 1 << 31
_FEED_NOISE, _SENSOR_NOISE, _DROPOUTS = 11, 12, 13
"""Purposes of random numbers: each has streams of its own."""

_PLAIN = {"crystal": Quirks(), "diamond": Quirks(crystal_loading=0.0)}
_PLAIN["hydra"] = Quirks(crystal_loading=0.0, waste_m3_per_g=1e-6, has_float=True)
_DROPPED = (
    "vacuum_inlet_kpa",
    "vacuum_handpiece_kpa",
    "filter_dp_kpa",
    "flow_lpm",
    "motor_current_a",
    "exhaust_dp_kpa",
)
"""Channels of one connector: they drop out together."""
_ZERO_SHARE = 0.7
"""Share of drop-outs in which they read zero; in the others they freeze."""


Readings = dict[str, NDArray[np.float32]]
"""Readings by channel, each (rows, steps)."""


class Machines:
    """The rows of a batch: one plant, and the sensors of each row."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = tuple(rows)
        seeds = [life.seed + (index << 48) for life, index in rows]
        is_drawn = [life.plan.is_drawn for life, _ in rows]
        self.drawn: list[Machine] = []
        quirks: list[Quirks] = []
        for (life, index), seed, draws in zip(rows, seeds, is_drawn, strict=True):
            circuit = life.circuits[index].circuit
            machine, quirk = _draw(circuit, seed, draw.SPREAD if draws else 0.0)
            life.circuits[index].weigh(1000 * float(quirk.dust_unit_kg))
            self.drawn.append(machine)
            quirks.append(quirk)
        stacked = Machine(**{name: np.array([float(getattr(each, name)) for each in self.drawn]) for name in FIELDS})
        self._streams = [Streams([(seed, purpose) for seed in seeds]) for purpose in (_FEED_NOISE, _SENSOR_NOISE)]
        # Plant and sensors use no more of a Generator than Streams has.
        feed_noise, sensor_noise = (cast("Generator", streams) for streams in self._streams)
        self.plant = Plant(stacked, len(rows), _stack(quirks), feed_noise)
        probes = draw.draw_probes(seeds) if any(is_drawn) else PROBES
        self._sensors = Sensors(probes, CHANNELS, len(rows), sensor_noise)
        self._zero()

    def begin(self, activities: Mapping[int, Activity]) -> None:
        """The noise of a machine depends on its seed and the number of its activity alone."""
        for activity in activities.values():
            activity.life.activities += 1
        self._restart([life.activities for life, _ in self._rows])

    def begin_to_stand(self, seeds: Container[int]) -> None:
        """Likewise, for a time between activities."""
        for life, index in self._rows:
            life.idles += index == 0 and life.seed in seeds
        self._restart([_IDLE + life.idles for life, _ in self._rows])

    def _restart(self, numbers: Sequence[int]) -> None:
        for streams in self._streams:
            streams.restart(numbers)

    def measure(self, signals: Signals, inputs: Inputs, activities: Mapping[int, Activity]) -> Readings:
        """What the sensors say during activities, after the machines have stood for long."""
        return self.go_on(signals, inputs, activities, settle=True)

    def go_on(
        self, signals: Signals, inputs: Inputs, activities: Mapping[int, Activity], *, settle: bool = False
    ) -> Readings:
        """What the sensors say of the next steps."""
        steps = len(signals["pump_on"])
        true = {**signals, "setpoint_kpa": inputs.setpoint_kpa[:steps], "pump_duty": signals["pump_on"]}
        if settle:
            self._sensors.settle({name: values[0] for name, values in true.items()})
        years = np.array([life.circuits[0].hours / 600 for life, _ in self._rows])
        readings = self._sensors.measure(true, self._faults(activities, steps), years=years)
        return {name: np.ascontiguousarray(values.T) for name, values in readings.items()}

    def _zero(self) -> None:
        """Every sensor has taken its zero before the first day."""
        shape = (round(AUTO_ZERO_S * RATE_HZ) + 1, len(self._rows))
        self._sensors.measure({channel.name: np.zeros(shape) for channel in CHANNELS})

    def stand(self, signals: Signals) -> Readings:
        """What the sensors say of machines at rest, however far apart the samples are."""
        self._sensors.settle({name: values[0] for name, values in signals.items()})
        readings = self._sensors.measure(signals)
        return {name: np.ascontiguousarray(values.T) for name, values in readings.items()}

    def _faults(self, activities: Mapping[int, Activity], steps: int) -> dict[str, SensorFault]:
        """The faults of sensors and connectors, by channel."""
        spoiled = _Spoiled((steps, len(self._rows)))
        for row, (life, index) in enumerate(self._rows):
            activity = activities.get(life.seed)
            component = life.circuits[index].circuit.component
            if activity is None:  # it stands, and a sensor that lies goes on lying
                for each, lasting in life.of_kind("sensor", life.treatments):
                    if each.component == component and each.onset < life.treatments:
                        spoiled.spoil(each, lasting, row, 0)
                continue
            for each in life.schedule:
                if each.component != component or each.kind not in ("sensor", "electrical"):
                    continue
                begin = _begin(each, activity)
                level = each.level_at(activity.session, activity.pump_end / RATE_HZ)
                if begin is None or level is None:
                    continue
                if each.fault == "electrical_dropout":
                    random = default_rng(SeedSequence((life.seed, _DROPOUTS, life.activities)))
                    spoiled.drop_out(row, begin, activity.length, level, random)
                elif each.fault != "power_cut":
                    spoiled.spoil(each, level, row, begin)
        return spoiled.faults()


class _Spoiled:
    """Faults of sensors as they gather, each (steps, rows)."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._offsets: dict[str, Array] = {}
        self._conditions: dict[str, NDArray[np.int64]] = {}

    def spoil(self, each: Scheduled, level: float, row: int, begin: int) -> None:
        """One channel of one row lies from a step on."""
        if each.fault == "sensor_drift":
            offsets = self._offsets.setdefault(each.channel, np.zeros(self._shape))
            offsets[begin:, row] = level * DRIFT[each.channel]
            return
        condition = STUCK if each.fault == "sensor_stuck" else RAIL_HIGH if level > 0 else RAIL_LOW
        self._condition(each.channel)[begin:, row] = condition

    def drop_out(self, row: int, begin: int, end: int, per_hour: float, random: Generator) -> None:
        """The channels of one connector read zero, or freeze, now and then."""
        for _ in range(random.poisson(per_hour * max(end - begin, 0) / RATE_HZ / 3600)):
            at, length = int(random.integers(begin, end)), int(random.integers(2, 30))
            condition = ZERO if random.uniform() < _ZERO_SHARE else STUCK
            for channel in _DROPPED:
                self._condition(channel)[at : at + length, row] = condition

    def faults(self) -> dict[str, SensorFault]:
        return {
            channel: SensorFault(offset=self._offsets.get(channel, 0.0), condition=self._conditions.get(channel, GOOD))
            for channel in self._offsets.keys() | self._conditions.keys()
        }

    def _condition(self, channel: str) -> NDArray[np.int64]:
        return self._conditions.setdefault(channel, np.full(self._shape, GOOD, dtype=np.int64))


def _begin(each: Scheduled, activity: Activity) -> int | None:
    """The step from which a fault is there; None = not during this activity."""
    if activity.purpose == "treatment" and activity.session == each.onset and each.growing == 0:
        return max(round(each.onset_s * RATE_HZ) - activity.before, 0)
    return 0 if each.level_at(activity.session) is not None else None


def _draw(circuit: Circuit, seed: int, spread: float) -> tuple[Machine, Quirks]:
    """One circuit's parameters, each a number."""
    stacked = draw.draw_machines(circuit.design, [seed], spread)
    plain = replace(_PLAIN[circuit.architecture], is_depth=circuit.is_depth)
    plain = replace(plain, dust_unit_kg=CAKE_G / 1000)
    quirks = draw.draw_quirks(plain, stacked, [seed]) if spread else plain
    machine = Machine(**{name: float(np.ravel(getattr(stacked, name))[0]) for name in FIELDS})
    unit_kg = float(np.ravel(quirks.dust_unit_kg)[0]) * circuit.filter_unit_g / CAKE_G
    return machine, replace(quirks, dust_unit_kg=unit_kg)


def _stack(quirks: Sequence[Quirks]) -> Quirks:
    values = {
        each.name: np.array([np.ravel(getattr(quirk, each.name))[0] for quirk in quirks]) for each in fields(Quirks)
    }
    return Quirks(**values)
