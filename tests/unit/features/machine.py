"""A small machine for tests: operating points of the physics, joined by first-order transients, with noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from dermafleet.contracts.channels import Profile, fitted
from dermafleet.physics import steady
from dermafleet.physics.machine import M1, Machine
from services.alerts.observation import Block, Floats

NOISE: Mapping[str, float] = {
    "vacuum_inlet_kpa": 0.15,
    "vacuum_handpiece_kpa": 0.15,
    "filter_dp_kpa": 0.02,
    "flow_lpm": 0.3,
    "motor_current_a": 0.004,
    "ambient_kpa": 0.005,
    "mains_v": 0.5,
    "pump_temp_c": 0.1,
    "ambient_temp_c": 0.1,
    "exhaust_dp_kpa": 0.005,
    "setpoint_kpa": 0.0,
}
RISE_S, FALL_S = 0.7, 0.17
START_MS = 1_790_000_000_000


@dataclass
class Bench:
    """A machine that is operated step by step; `block` gives what its sensors said."""

    machine: Machine = M1
    profile: Profile = "full"
    setpoint_kpa: float = 40.0
    ambient_kpa: float = 101.325
    mains_v: float = 230.0
    zeros: Mapping[str, float] = field(default_factory=dict)
    rate_hz: float = 10.0
    seed: int = 1

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self._values: dict[str, list[Floats]] = {}
        self._last: dict[str, float] = {}

    def run(self, state: str, seconds: float, **faults: float) -> "Bench":
        """Stay in a state of `steady` (or "leak_down") for some time."""
        steps = np.arange(1, round(seconds * 10) + 1)
        left = np.exp(-0.1 * steps / (RISE_S if state in ("contact", "capped") else FALL_S))
        for name, target in self._target(state, faults).items():
            is_slow = name.startswith(("vacuum", "filter", "flow", "exhaust"))
            begin = self._last.get(name, 0.0) if is_slow else target
            true = target + (begin - target) * left
            self._last[name] = float(true[-1])
            noise = self._random.normal(0, NOISE.get(name, 0.0), len(steps))
            self._values.setdefault(name, []).append(true + noise + self.zeros.get(name, 0.0))
        return self

    def treat(self, strokes: int, contact_s: float = 4.0, lift_s: float = 1.0, **faults: float) -> "Bench":
        """Strokes and lifts; the seal differs from stroke to stroke unless it is given."""
        for _ in range(strokes):
            seal = float(np.clip(self._random.normal(0.98, 0.01), 0.9, 0.995))
            self.run("contact", contact_s, **{"seal": seal} | faults).run("open", lift_s, **faults)
        return self

    def block(self, boot: str = "b1") -> Block:
        """Everything so far."""
        every = round(10 / self.rate_hz)
        names = [channel.name for channel in fitted(self.profile) if channel.name in self._values]
        channels = {name: np.concatenate(self._values[name])[::every] for name in names}
        at_ms = START_MS + 100 * np.arange(sum(map(len, self._values["pump_on"])))[::every]
        return Block("e1", 1, boot, 1_000, at_ms, channels)

    def _target(self, state: str, faults: Mapping[str, float]) -> dict[str, float]:
        key = (state, self.setpoint_kpa, tuple(sorted(faults.items())))
        cache = self.__dict__.setdefault("_targets", {})
        if key not in cache:
            cache[key] = self._solve(state, faults)
        return dict(cache[key])

    def _solve(self, state: str, faults: Mapping[str, float]) -> dict[str, float]:
        bleed = float(steady.bleed_for_contact(M1, self.setpoint_kpa))
        machine = self.machine.with_(**{"bleed_m2": bleed, **faults})
        at = steady.solve(machine, state, self.ambient_kpa * 1000, self.mains_v)  # type: ignore[arg-type]
        values = {name: float(getattr(at, name)) for name in NOISE if hasattr(at, name)}
        values |= {"pump_on": float(state != "off"), "ambient_kpa": self.ambient_kpa, "mains_v": self.mains_v}
        return values | {"pump_temp_c": 40.0, "ambient_temp_c": 20.0, "setpoint_kpa": self.setpoint_kpa}


def cut(block: Block, edges: Sequence[int]) -> list[Block]:
    """The same samples in several blocks, cut before the given samples."""
    bounds = [0, *sorted(set(edges) - {0}), len(block.at_ms)]
    return [part(block, first, last) for first, last in pairwise(bounds) if first < last]


def part(block: Block, first: int, last: int) -> Block:
    """Samples ``first`` up to ``last``."""
    up_ms = block.up_ms + int(block.at_ms[first] - block.at_ms[0])
    channels: dict[str, Floats] = {name: values[first:last] for name, values in block.channels.items()}
    return Block(block.epoch, block.seq, block.boot, up_ms, block.at_ms[first:last], channels)
