"""A small synthetic machine for the fast detectors: samples of a treatment, cut into blocks as a test likes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dermafleet.contracts.channels import CHANNELS
from services.alerts.observation import Block, Floats, Observation

START_MS = 1_790_000_000_000
_RANGE = {channel.name: (channel.low, channel.high) for channel in CHANNELS}

_LEVELS: Mapping[str, tuple[float, float, float, float]] = {
    # off, open, contact, noise (one sigma)
    "vacuum_inlet_kpa": (0.0, 2.35, 40.0, 0.12),
    "pump_on": (0.0, 1.0, 1.0, 0.0),
    "motor_current_a": (0.0, 0.516, 0.613, 0.004),
    "ambient_kpa": (101.3, 101.3, 101.3, 0.01),
    "mains_v": (230.0, 230.0, 230.0, 0.8),
    "filter_dp_kpa": (0.0, 0.61, 0.41, 0.015),
    "pump_temp_c": (22.0, 22.0, 22.0, 0.1),
    "ambient_temp_c": (22.0, 22.0, 22.0, 0.1),
    "flow_lpm": (0.0, 29.6, 12.6, 0.25),
    "vacuum_handpiece_kpa": (0.0, 0.7, 39.3, 0.15),
    "exhaust_dp_kpa": (0.0, 0.5, 0.3, 0.005),
    "crystal_jar_g": (300.0, 300.0, 300.0, 1.0),
    "canister_g": (50.0, 50.0, 50.0, 1.0),
    "setpoint_kpa": (40.0, 40.0, 40.0, 0.0),
    "pump_duty": (0.0, 1.0, 1.0, 0.0),
}


@dataclass
class Signal:
    """Samples of one boot, to be changed in place before they are cut.

    Attributes:
        period_ms: between samples.
        at_ms, up_ms: event time and uptime of each.
        values: per channel, NaN = not measured.
    """

    period_ms: int
    at_ms: NDArray[np.int64]
    up_ms: NDArray[np.int64]
    values: dict[str, Floats]
    boot: str = "boot-1"
    gone: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.at_ms)

    def at(self, seconds: float) -> int:
        """Index of the sample so many seconds after the first."""
        return round(seconds * 1000 / self.period_ms)

    def put(self, channel: str, value: float | Floats, start_s: float = 0.0, end_s: float | None = None) -> None:
        """Overwrite a channel between two times."""
        end = len(self) if end_s is None else self.at(end_s)
        self.values[channel][self.at(start_s) : end] = value

    def blocks(self, sizes: Sequence[int] = (20,), seq: int = 1) -> Iterator[Block]:
        """Cut into blocks of these sizes, in turn."""
        start, turn = 0, 0
        while start < len(self):
            end = min(start + sizes[turn % len(sizes)], len(self))
            yield self.block(start, end, seq + turn)
            start, turn = end, turn + 1

    def block(self, start: int, end: int, seq: int = 1) -> Block:
        channels = {}
        for name, values in self.values.items():
            low, high = _RANGE[name]
            part = values[start:end]
            channels[name] = np.where((part >= low) & (part <= high), part, np.nan)
        return Block("epoch-1", seq, self.boot, int(self.up_ms[start]), self.at_ms[start:end], channels)


def treatment(
    seconds: float,
    *,
    off_s: float = 0.0,
    open_s: float = 20.0,
    period_ms: int = 100,
    seed: int = 1,
    channels: Sequence[str] = tuple(_LEVELS),
    up_ms: int = 0,
    at_ms: int = START_MS,
) -> Signal:
    """Pump off, then on with the tip open, then strokes of 3 s and lifts of 1 s; sensors with noise and steps."""
    count = round(seconds * 1000 / period_ms)
    time_s = np.arange(count) * period_ms / 1000
    state = np.where(time_s < off_s, 0, np.where((time_s - off_s - open_s) % 4 < 3, 2, 1))
    state[(time_s >= off_s) & (time_s < off_s + open_s)] = 1
    random = np.random.default_rng(seed)
    values: dict[str, Floats] = {}
    for name in channels:
        *levels, noise = _LEVELS[name]
        smooth = _lag(np.array(levels)[state], 0.0 if noise == 0 else period_ms / 500)
        values[name] = (smooth + random.normal(0, noise, count)).astype(np.float32).astype(np.float64)
    steps = np.arange(count, dtype=np.int64) * period_ms
    return Signal(period_ms, at_ms + steps, up_ms + steps, values)


def _lag(target: Floats, step: float) -> Floats:
    """First-order lag; `step` = period over time constant, 0 = none."""
    if step == 0:
        return target
    gain, value = 1 - np.exp(-step), target[0]
    result = np.empty(len(target))
    for i, each in enumerate(target.tolist()):
        value += gain * (each - value)
        result[i] = value
    return result


def told(observations: Sequence[Observation]) -> list[tuple[str, int | None, float]]:
    """Fault, severity and seconds after the start of each."""
    return [(each.fault, each.severity, each.at.timestamp() - START_MS / 1000) for each in observations]
