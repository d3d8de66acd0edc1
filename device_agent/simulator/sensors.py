"""What sensors make of the plant's true values in many machines: lag, noise, offset, gain, zero, steps, rails, faults.

The figures are those of usual parts (docs/physics.md, section "Sensors"). It knows no machine and no fault of one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dermafleet.contracts.channels import Channel
from dermafleet.physics.gas import Array, Real
from device_agent.simulator.plant import DT_S

Readings = dict[str, NDArray[np.float32]]
"""Readings by channel name, each (steps, n); NaN = none."""

GOOD, STUCK, RAIL_HIGH, RAIL_LOW, ZERO, MISSING = range(6)
"""Conditions of a sensor: fine, frozen at its last good reading, at a rail (open or short), reads 0, no reading."""

AUTO_ZERO_S = 10.0
_ZERO_MEAN_STEP = 1 - float(np.exp(-DT_S / 2.0))  # the zero is the mean of the last 2 s or so


@dataclass(frozen=True, slots=True)
class Probe:
    """One channel's sensor in many machines; each field a number or (n,), in the unit of the channel.

    Attributes:
        noise: 1 sigma of one reading.
        running_noise: 1 sigma on top while the pump runs: ripple, vibration.
        resolution: smallest step of a reading.
        low, high: the rails: readings when open or short, and the ends of all others.
        lag_s: time constant of the sensor and what it is mounted to.
        is_averaged: noise passes the lag too, and what is left of it is as stated.
        zero_limit: largest reading at rest that the automatic zero accepts; 0 = not zeroed.
        offset, gain, drift_per_year: errors.
    """

    noise: Real
    resolution: float
    low: float
    high: float
    running_noise: Real = 0.0
    lag_s: Real = 0.0
    is_averaged: bool = False
    zero_limit: float = 0.0
    offset: Real = 0.0
    gain: Real = 1.0
    drift_per_year: Real = 0.0


@dataclass(frozen=True, slots=True)
class SensorFault:
    """A faulty sensor; each field broadcasts to (steps, n).

    Attributes:
        offset: added to what the sensor senses.
        gain: factor of it.
        condition: GOOD, STUCK, RAIL_HIGH, RAIL_LOW, ZERO or MISSING.
    """

    offset: Real = 0.0
    gain: Real = 1.0
    condition: int | NDArray[np.int64] = GOOD


_VACUUM = Probe(noise=0.05, resolution=0.03, low=-10.5, high=120.2, running_noise=0.2, lag_s=0.03, zero_limit=1.5)
_DROP = Probe(noise=0.015, resolution=0.0136, low=-2.2, high=53.3, running_noise=0.015, lag_s=0.03, zero_limit=1.0)
_MASS = Probe(noise=1.0, resolution=0.1, low=-49.0, high=2000.0, running_noise=5.0, lag_s=10.0, is_averaged=True)

PROBES: dict[str, Probe] = {
    "vacuum_inlet_kpa": _VACUUM,
    "vacuum_handpiece_kpa": _VACUUM,
    "filter_dp_kpa": _DROP,
    "exhaust_dp_kpa": _DROP,
    "flow_lpm": Probe(noise=0.1, resolution=1 / 140, low=-228.0, high=239.0, running_noise=0.3),
    "motor_current_a": Probe(noise=0.002, resolution=0.001, low=0.0, high=5.2, running_noise=0.0035, lag_s=0.1),
    "pump_temp_c": Probe(noise=0.1, resolution=0.1, low=-55.0, high=210.0, lag_s=30.0),
    "ambient_temp_c": Probe(noise=0.05, resolution=0.1, low=-55.0, high=150.0, lag_s=30.0),
    "ambient_kpa": Probe(noise=0.001, resolution=0.001, low=30.0, high=125.0),
    "mains_v": Probe(noise=0.4, resolution=0.1, low=0.0, high=320.0, lag_s=0.1),
    "crystal_jar_g": _MASS,
    "canister_g": _MASS,
    "setpoint_kpa": Probe(noise=0.02, resolution=0.1, low=0.0, high=110.0),
    "pump_duty": Probe(noise=0.0, resolution=0.001, low=0.0, high=1.0),
    "pump_on": Probe(noise=0.0, resolution=1.0, low=0.0, high=1.0),
}
"""Sensors without error of offset or gain; ``draw.py`` draws those."""

NO_FAULTS: Mapping[str, SensorFault] = {}
_SOUND = SensorFault()


class Sensors:
    """The sensors of n machines, and what they remember: lag, zero, last good reading.

    The zero: when the pump has been off for 10 s, the mean of vacuum and pressure-drop readings becomes their zero,
    unless it is beyond ``zero_limit``; a larger drift therefore stays visible.
    """

    def __init__(
        self, probes: Mapping[str, Probe], channels: Sequence[Channel], count: int, rng: np.random.Generator
    ) -> None:
        """Sensors as they leave the factory.

        Args:
            probes: by channel name.
            channels: fitted ones.
            count: number of machines.
            rng: for the noise; every channel gets a stream of its own.
        """
        self._names = tuple(channel.name for channel in channels)
        self._probes = {name: probes[name] for name in self._names}
        self._rngs = dict(zip(self._names, rng.spawn(len(self._names)), strict=True))
        self._zeroed = tuple(name for name in self._names if probes[name].zero_limit > 0)
        self._lagged = tuple(name for name in self._names if np.any(np.asarray(probes[name].lag_s) > 0))
        self._count = count
        self._lag: Array | None = None
        self._zero = np.zeros((len(self._zeroed), count))
        self._rest = np.zeros((len(self._zeroed), count))
        self._off_steps = np.zeros(count, dtype=np.int64)
        self._held = {name: np.full(count, np.nan) for name in self._names}

    def measure(
        self, signals: Mapping[str, Array], faults: Mapping[str, SensorFault] = NO_FAULTS, *, years: Real = 0.0
    ) -> Readings:
        """Readings of the next steps.

        Args:
            signals: true values by channel name, each (steps, n): all that the plant gives. ``setpoint_kpa`` and
                ``pump_duty`` may be among them; without them they are missing in the result.
            faults: by channel name.
            years: age of the sensors, (n,) or a number.
        """
        names = tuple(name for name in self._names if name in signals)
        sensed = self._sense(names, signals)
        for name in names:
            probe, fault = self._probes[name], faults.get(name, _SOUND)
            gain = np.asarray(probe.gain) * fault.gain
            sensed[name] = (
                sensed[name] * gain + (probe.offset + np.asarray(probe.drift_per_year) * years) + fault.offset
            )
        self._take_zero(sensed, signals["pump_on"] > 0)
        return {name: self._read(name, sensed[name], faults.get(name, _SOUND)) for name in names}

    def settle(self, signals: Mapping[str, Array]) -> None:
        """Forget all lag: the machines have stood as they are for long.

        Args:
            signals: true values by channel name, each (n,), all fitted channels among them.
        """
        self._lag = np.stack([signals[name] for name in self._lagged]) if self._lagged else None

    def _sense(self, names: Sequence[str], signals: Mapping[str, Array]) -> dict[str, Array]:
        """True values with noise and lag, a new array per channel."""
        running = signals["pump_on"] > 0
        sensed, noise = {}, {}
        for name in names:
            probe = self._probes[name]
            scale = np.hypot(probe.noise, np.where(running, probe.running_noise, 0.0))
            step = _lag_step(probe)
            if probe.is_averaged:
                scale = scale * np.sqrt((2 - step) / step)
            noise[name] = scale * self._rngs[name].standard_normal(running.shape, dtype=np.float32)
            sensed[name] = signals[name] + noise[name] if probe.is_averaged else signals[name]
        self._follow(sensed)
        for name in names:
            if not self._probes[name].is_averaged:
                sensed[name] = sensed[name] + noise[name]
        return sensed

    def _follow(self, sensed: dict[str, Array]) -> None:
        """Replace the channels by what a first-order lag makes of them."""
        names = self._lagged
        if not names:
            return
        values = np.stack([sensed[name] for name in names], axis=1)
        step = np.stack([np.broadcast_to(_lag_step(self._probes[name]), self._count) for name in names])
        state = values[0].copy() if self._lag is None else self._lag
        for row in values:
            state += step * (row - state)
            row[:] = state
        self._lag = state
        for at, name in enumerate(names):
            sensed[name] = values[:, at]

    def _take_zero(self, sensed: dict[str, Array], running: NDArray[np.bool_]) -> None:
        """Subtract the zeros, renewed whenever a pump has been off for long enough."""
        if not self._zeroed:
            return
        values = np.stack([sensed[name] for name in self._zeroed], axis=1)
        limit = np.array([[self._probes[name].zero_limit] for name in self._zeroed])
        for row, on in zip(values, running, strict=True):
            self._off_steps = np.where(on, 0, self._off_steps + 1)
            self._rest += _ZERO_MEAN_STEP * (row - self._rest)
            due = self._off_steps == round(AUTO_ZERO_S / DT_S)
            if due.any():
                self._zero = np.where(due & (np.abs(self._rest) <= limit), self._rest, self._zero)
            row -= self._zero
        for at, name in enumerate(self._zeroed):
            sensed[name] = values[:, at]

    def _read(self, name: str, sensed: Array, fault: SensorFault) -> NDArray[np.float32]:
        probe = self._probes[name]
        reading = np.clip(np.round(sensed / probe.resolution) * probe.resolution, probe.low, probe.high)
        if np.any(np.asarray(fault.condition) != GOOD):
            reading = self._spoil(name, reading, np.broadcast_to(fault.condition, reading.shape))
        self._held[name] = np.where(np.isnan(reading[-1]), self._held[name], reading[-1])
        return reading.astype(np.float32)

    def _spoil(self, name: str, reading: Array, condition: NDArray[np.int64]) -> Array:
        probe = self._probes[name]
        known = np.concatenate([self._held[name][None], reading])
        rows = np.arange(1, len(known))[:, None]
        last_good = np.maximum.accumulate(np.where(condition == STUCK, 0, rows), axis=0)
        frozen = np.take_along_axis(known, last_good, axis=0)
        cases: dict[int, Array | float] = {
            STUCK: np.where(np.isnan(frozen), reading[:1], frozen),
            RAIL_HIGH: probe.high,
            RAIL_LOW: probe.low,
            ZERO: 0.0,
            MISSING: np.nan,
        }
        return np.select([condition == case for case in cases], list(cases.values()), reading)


def _lag_step(probe: Probe) -> Array:
    """Share of the way to a new value that the lag lets through in one step, (n,) or a number."""
    return np.asarray(1 - np.exp(-DT_S / np.maximum(probe.lag_s, 1e-3)))
