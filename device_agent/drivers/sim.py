"""A simulated crystal-peel machine: a small lumped model with sessions, noise and one fault. Seedable.

Levels are those of a machine with a 32 L/min pump and a 5 mm tip: open tip 2.35 kPa at the inlet and 29.6 L/min
through the filter; contact 40 kPa and 12.6 L/min; clean filter 0.48 kPa (viscous) + 0.12 kPa (inertial) at 30 L/min of
air as it expands at the inlet. First-order lags stand for the volumes: 0.9 s on contact, 0.2 s on lift.
"""

import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from device_agent.clock import Instant
from device_agent.drivers import Sample

Fault = Literal["filter_clogged"]
State = Literal["off", "open", "contact"]

CLOGGED_INDEX = 32.0
"""Filter index at the end of the fault, well above any maker's limit (about 20)."""

_VISCOUS_KPA, _INERTIAL_KPA = 0.48, 0.12
_OPEN_KPA, _OPEN_LPM, _CONTACT_LPM = 2.35, 29.6, 12.6
_RISE_S, _FALL_S, _THERMAL_S = 0.9, 0.2, 900.0
_HANDPIECE_SHARE = 0.98
_CRYSTALS_G_PER_S = 12 / 60
_NOISE = {
    "vacuum_inlet_kpa": 0.12,
    "motor_current_a": 0.004,
    "ambient_kpa": 0.01,
    "mains_v": 0.6,
    "filter_dp_kpa": 0.008,
    "pump_temp_c": 0.05,
    "ambient_temp_c": 0.05,
    "flow_lpm": 0.15,
    "vacuum_handpiece_kpa": 0.3,
    "exhaust_dp_kpa": 0.005,
    "crystal_jar_g": 0.5,
    "canister_g": 0.5,
}


@dataclass(frozen=True, slots=True)
class Phase:
    """What the operator does for a while."""

    state: State
    duration_s: float


class SimDriver:
    """One simulated machine; it treats patients by itself.

    Args:
        seed: everything random follows from it.
        rate_hz: samples per second of event time.
        fault: what goes wrong, from the start on, over ``clog_s`` seconds of pump time; the pump then runs on.
    """

    ended = False

    def __init__(self, seed: int, *, rate_hz: float = 10.0, fault: Fault | None = None, clog_s: float = 90.0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a simulation
        self._period_ms = round(1000 / rate_hz)
        self._fault = fault
        self._clog_s = max(clog_s, 0.001)
        draw = self._random.uniform
        self._filter_index = draw(1.0, 2.0)
        self._ambient_kpa, self._room_c, self._mains_v = draw(98, 102), draw(20, 24), draw(226, 234)
        self._setpoint = draw(32, 40)
        self._jar_g, self._canister_g = draw(200, 400), draw(0, 150)
        self._inlet_kpa = 0.0
        self._warmth_k = draw(0, 15)
        self._pump_s = 0.0
        self._phases = self._days()
        self._phase = next(self._phases)
        self._phase_left_s = self._phase.duration_s
        self._next_at: int | None = None

    def read(self, now: Instant) -> Sample | None:
        """One sample per period; after a long pause it goes on from now."""
        if self._next_at is None or now.up - self._next_at > 600_000:
            self._next_at = now.up
        if now.up < self._next_at:
            return None
        when = Instant(now.at - (now.up - self._next_at), self._next_at, now.boot, now.clock)
        self._next_at += self._period_ms
        self._advance(self._period_ms / 1000)
        return Sample(when, self._measure(), time.time())

    def close(self) -> None:
        pass

    def _advance(self, seconds: float) -> None:
        self._phase_left_s -= seconds
        while self._phase_left_s <= 0:
            self._phase = next(self._phases)
            self._phase_left_s += self._phase.duration_s
        state = self._phase.state
        target = {"off": 0.0, "open": _OPEN_KPA + self._filter_kpa() * 0.5, "contact": self._setpoint}[state]
        lag_s = _RISE_S if target > self._inlet_kpa else _FALL_S
        self._inlet_kpa += (target - self._inlet_kpa) * -math.expm1(-seconds / lag_s)
        heat = {"off": 0.0, "open": 19.0, "contact": 30.0}[state]
        self._warmth_k += (heat - self._warmth_k) * -math.expm1(-seconds / _THERMAL_S)
        if state == "off":
            return
        self._pump_s += seconds
        if self._fault == "filter_clogged":
            self._filter_index = 1 + (CLOGGED_INDEX - 1) * min(1.0, self._pump_s / self._clog_s)
        if state == "contact":
            self._filter_index += 5e-5 * seconds if self._fault is None else 0
            moved = min(_CRYSTALS_G_PER_S * seconds, self._jar_g)
            self._jar_g -= moved
            self._canister_g += moved

    def _flow_lpm(self) -> float:
        """Flow through the filter, standard litres: falls with vacuum, and with what the filter holds back."""
        if self._phase.state == "off":
            return 0.0
        share = (self._inlet_kpa - _OPEN_KPA) / (40.0 - _OPEN_KPA)
        clean = _OPEN_LPM + (_CONTACT_LPM - _OPEN_LPM) * min(max(share, 0.0), 1.2)
        return clean / (1 + 0.01 * (self._filter_index - 1))

    def _filter_kpa(self) -> float:
        """Darcy and Forchheimer, with the volume the air has at the pressure behind the filter."""
        expanded = self._flow_lpm() * self._ambient_kpa / max(self._ambient_kpa - self._inlet_kpa, 5.0) / 30.0
        return self._filter_index * _VISCOUS_KPA * expanded + _INERTIAL_KPA * expanded**2

    def _measure(self) -> dict[str, float | None]:
        on = self._phase.state != "off"
        flow, drop, inlet = self._flow_lpm(), self._filter_kpa(), self._inlet_kpa
        at_handpiece = (inlet - min(drop, inlet)) * _HANDPIECE_SHARE if self._phase.state == "contact" else 0.3 * inlet
        true = {
            "vacuum_inlet_kpa": inlet,
            "motor_current_a": (0.51 + 0.0026 * inlet) if on else 0.0,
            "ambient_kpa": self._ambient_kpa,
            "mains_v": self._mains_v,
            "filter_dp_kpa": drop,
            "pump_temp_c": self._room_c + self._warmth_k,
            "ambient_temp_c": self._room_c,
            "flow_lpm": flow,
            "vacuum_handpiece_kpa": min(at_handpiece, 0.7) if self._phase.state == "open" else at_handpiece,
            "exhaust_dp_kpa": 0.5 * flow / 30.0,
            "crystal_jar_g": self._jar_g,
            "canister_g": self._canister_g,
        }
        gauss = self._random.gauss
        values: dict[str, float | None] = {name: round(v + gauss(0, _NOISE[name]), 4) for name, v in true.items()}
        values["pump_on"] = float(on)
        values["setpoint_kpa"] = round(self._setpoint, 2)
        values["pump_duty"] = float(on)
        return values

    def _days(self) -> Iterator[Phase]:
        """Treatments with pauses, for ever; the first begins at once on two machines of three, and under a fault."""
        draw = self._random.uniform
        if self._fault is None and draw(0, 1) > 2 / 3:
            yield Phase("off", draw(20, 240))
        while True:
            yield from self._treatment()
            if self._fault is None:
                yield Phase("off", draw(300, 900))

    def _treatment(self) -> Iterator[Phase]:
        draw = self._random.uniform
        self._refill()
        yield Phase("open", draw(5, 40))
        for _ in range(self._random.randint(3, 6)):
            self._setpoint = draw(24, 42)
            for _ in range(self._random.randint(40, 90)):
                yield Phase("contact", draw(4, 7) if draw(0, 1) < 0.03 else draw(1.5, 5))
                yield Phase("open", draw(0.3, 1.5))
            yield Phase("open", draw(10, 40))

    def _refill(self) -> None:
        """The operator fills the jar and empties the canister before a treatment when needed."""
        if self._jar_g < 150:
            self._jar_g, self._canister_g = 400.0, 0.0
