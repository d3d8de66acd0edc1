"""What the physics expects of a session: the type's value for each measured one, and how far healthy machines scatter.

All comparisons are logarithms of ratios (`transform`), so that a machine whose pump is 8 % stronger differs by 0.08
whatever the altitude. A machine's deviations from its type are shared by its quantities: a weak pump moves them all.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dermafleet.physics import steady
from dermafleet.physics.machine import Machine
from services.alerts.context import Context
from services.alerts.features import nominal
from services.alerts.features.types import CappedFeatures, Means, SessionFeatures
from services.alerts.observation import Floats

State = Literal["open", "contact", "capped"]

PUMP_DOWN, LEAK_DOWN = "pump_down_s", "leak_down_kpa_s"

CHANNELS: dict[State, tuple[str, ...]] = {
    "open": (
        "vacuum_inlet_kpa",
        "vacuum_handpiece_kpa",
        "filter_dp_kpa",
        "flow_lpm",
        "motor_current_a",
        "exhaust_dp_kpa",
    ),
    "contact": (
        "vacuum_inlet_kpa",
        "vacuum_handpiece_kpa",
        "filter_dp_kpa",
        "flow_lpm",
        "motor_current_a",
        "exhaust_dp_kpa",
    ),
    "capped": ("vacuum_inlet_kpa", "flow_lpm", "motor_current_a"),
}

SENSORS: dict[str, tuple[float, float, float]] = {
    "vacuum_inlet_kpa": (0.35, 0.005, 0.5),
    "vacuum_handpiece_kpa": (0.35, 0.005, 1.0),
    "filter_dp_kpa": (0.05, 0.03, 0.1),
    "flow_lpm": (0.3, 0.04, 1.0),
    "motor_current_a": (0.005, 0.015, 0.01),
    "exhaust_dp_kpa": (0.01, 0.03, 0.05),
    PUMP_DOWN: (0.1, 0.02, 0.1),
    LEAK_DOWN: (0.05, 0.1, 0.2),
}
"""Per quantity: error of the sensor (absolute, relative), and what keeps the logarithm away from zero.
Source: domain research, sections 2.5 and 2.9."""

SPREAD = 0.087
"""Standard deviation of a design value over the machines of a type: 15 % at most."""
SHARED: tuple[tuple[str, float], ...] = (
    ("displacement_m3s", SPREAD),
    ("filter_r1", SPREAD),
    ("filter_r2", SPREAD),
    ("exhaust_r1", SPREAD),
    ("feed_m2", SPREAD),
    ("return_m2", SPREAD),
    ("tip_m2", SPREAD),
    ("friction_w", SPREAD),
    ("magnetising_a", 0.05),
    ("clearance", SPREAD),
    ("canister_m3", 0.35),
    ("ambient_kpa", 0.02),
    ("mains_v", 0.04),
)
"""What healthy machines do not have in common, with the standard deviation of its logarithm; the last two are
surroundings, and count where they are not measured."""
SURROUNDINGS = ("ambient_kpa", "mains_v")

SEAL_SPREAD = 0.015
BLEED_SPREAD, BLEED_SPREAD_BLIND = 0.1, 0.4
"""Of the regulator's opening at a set point, measured or not."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measured quantity of a session beside what the type would show.

    Attributes:
        state, channel, setpoint_kpa: which.
        measured, nominal: in the channel's unit; nominal for a clean filter.
        loaded: nominal for the filter's present load.
        error: of the sensor, logarithmic.
        shared: effect of one standard deviation of each of `SHARED`, logarithmic.
        loose: the same of seal and regulator, together.
    """

    state: State
    channel: str
    setpoint_kpa: float | None
    measured: float
    nominal: float
    loaded: float
    error: float
    shared: tuple[float, ...]
    loose: float

    @property
    def quantity(self) -> str:
        """Name under which it is learned."""
        return f"{self.state}.{self.channel}"


def transform(channel: str, value: Floats | float, nominal_value: Floats | float) -> Floats:
    """Logarithm of value over nominal, kept finite where both may be 0; broadcasts."""
    floor = SENSORS[channel][2]
    return np.asarray(np.log((np.maximum(value, 0.0) + floor) / (np.maximum(nominal_value, 0.0) + floor)))


def rows(features: SessionFeatures, load: float, context: Context) -> list[Row]:
    """Every quantity of a session that can be compared.

    Args:
        load: of the intake filter, index less one; 0 where it is not known.
    """
    at = nominal.conditions(context, features.ambient_kpa, features.mains_v, features.ambient_temp_c)
    known = (features.ambient_kpa is not None, features.mains_v is not None)
    found: list[Row] = []
    if features.open is not None:
        found += _rows("open", features.open.mean, at, load, known, context)
    for contact in features.contacts:
        found += _rows("contact", contact.mean, at, load, known, context)
    if features.capped is not None:
        found += _capped(features.capped, at, known, context)
    return found


def _rows(
    state: State, means: Means, at: nominal.Conditions, load: float, known: tuple[bool, bool], context: Context
) -> list[Row]:
    channels = [name for name in CHANNELS[state] if name in means]
    if not channels:
        return []
    setpoint = means.get("setpoint_kpa")
    machine, ambient, mains = _scattered(context, setpoint, at, load)
    points = steady.solve(machine, state, ambient, mains, at.temperature_k)
    return [_row(state, name, setpoint, means[name], np.asarray(getattr(points, name)), known) for name in channels]


def _capped(capped: CappedFeatures, at: nominal.Conditions, known: tuple[bool, bool], context: Context) -> list[Row]:
    setpoint = capped.mean.get("setpoint_kpa")
    machine, ambient, mains = _scattered(context, setpoint, at, 0.0)
    found = _rows("capped", capped.mean, at, 0.0, known, context) if capped.plateau else []
    if capped.pump_down_s is not None:
        times = [
            steady.pump_down_s(machine, kpa, ambient, mains, temperature_k=at.temperature_k)
            for kpa in (capped.pump_down_to_kpa, capped.pump_down_from_kpa)
        ]
        expected = times[0] - times[1]
        if np.isfinite(expected).all():
            found.append(_row("capped", PUMP_DOWN, setpoint, capped.pump_down_s, expected, known))
    if capped.leak_down_kpa_s is not None and capped.leak_down_from_kpa is not None:
        expected = steady.leak_down_kpa_s(machine, capped.leak_down_from_kpa, ambient, temperature_k=at.temperature_k)
        found.append(_row("capped", LEAK_DOWN, setpoint, capped.leak_down_kpa_s, expected, known))
    return found


_NOMINAL, _LOADED, _FIRST = 0, 1, 2
"""Elements of a scattered machine: as designed, with its filter loaded, then one per `SHARED`, seal and regulator."""


def _scattered(
    context: Context, setpoint_kpa: float | None, at: nominal.Conditions, load: float
) -> tuple[Machine, Floats, Floats]:
    """The type, and what scatters about it one at a time; with ambient pressure (Pa) and voltage, shapes (k,)."""
    machine = nominal.type_machine(context)
    bleed = nominal.bleed_for(machine, setpoint_kpa)
    count = _FIRST + len(SHARED) + 2
    surroundings = {"ambient_kpa": np.full(count, 1000 * at.ambient_kpa), "mains_v": np.full(count, at.mains_v)}
    fields: dict[str, Floats] = {}
    for i, (name, spread) in enumerate(SHARED, start=_FIRST):
        if name in surroundings:
            surroundings[name][i] *= np.exp(spread)
        else:
            fields[name] = np.full(count, float(np.asarray(getattr(machine, name))))
            fields[name][i] *= np.exp(spread)
    seal = np.full(count, float(np.asarray(machine.seal)))
    seal[-2] -= SEAL_SPREAD
    opening = np.full(count, bleed)
    opening[-1] *= np.exp(BLEED_SPREAD_BLIND if setpoint_kpa is None else BLEED_SPREAD)
    filter_load = np.zeros(count)
    filter_load[_LOADED] = load
    scattered = machine.with_(**fields, seal=seal, bleed_m2=opening, filter_load=filter_load)
    return scattered, surroundings["ambient_kpa"], surroundings["mains_v"]


def _row(
    state: State, channel: str, setpoint_kpa: float | None, measured: float, points: Floats, known: tuple[bool, bool]
) -> Row:
    absolute, relative, floor = SENSORS[channel]
    effects = transform(channel, points, points[_NOMINAL])
    measured_names = {name for name, is_known in zip(SURROUNDINGS, known, strict=True) if is_known}
    shared = [
        0.0 if name in measured_names else float(effect)
        for (name, _), effect in zip(SHARED, effects[_FIRST:-2], strict=True)
    ]
    level = max(measured, 0.0) + floor
    return Row(
        state=state,
        channel=channel,
        setpoint_kpa=setpoint_kpa,
        measured=measured,
        nominal=float(points[_NOMINAL]),
        loaded=float(points[_LOADED]),
        error=float(np.hypot(absolute, relative * max(measured, 0.0)) / level),
        shared=tuple(shared),
        loose=float(np.hypot(effects[-2], effects[-1])),
    )
