"""What the physics expects of a session: the type's value for each measured one, and how far healthy machines scatter.

All comparisons are logarithms of ratios (`transform`), so that a machine whose pump is 8 % stronger differs by 0.08
whatever the altitude. A machine's deviations from its type are shared by its quantities: a weak pump moves them all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dermafleet.physics import steady
from dermafleet.physics.machine import FIELDS, Machine
from services.alerts.context import Context
from services.alerts.features import nominal
from services.alerts.features.self_test import LATE_SHARES
from services.alerts.features.types import CappedFeatures, Means, SessionFeatures
from services.alerts.observation import Floats

State = Literal["open", "contact", "capped"]

PUMP_DOWN, LATE_RISE, LEAK_DOWN = "pump_down_s", "late_rise_s", "leak_down_kpa_s"

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
    "capped": ("vacuum_inlet_kpa", "flow_lpm", "motor_current_a", "exhaust_dp_kpa"),
}

LONGEST_S = 25.0
"""A self-test lasts no longer."""

SENSORS: dict[str, tuple[float, float, float]] = {
    "vacuum_inlet_kpa": (0.35, 0.005, 0.5),
    "vacuum_handpiece_kpa": (0.35, 0.005, 1.0),
    "filter_dp_kpa": (0.05, 0.03, 0.1),
    "flow_lpm": (0.3, 0.04, 1.0),
    "motor_current_a": (0.005, 0.015, 0.01),
    "exhaust_dp_kpa": (0.01, 0.03, 0.05),
    PUMP_DOWN: (0.1, 0.02, 0.1),
    LATE_RISE: (0.05, 0.03, 0.1),
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

USUAL_SETPOINT_KPA = 40.0
"""Of the design opening of the regulator; the mark of the dial at which self-tests are run."""
SEAL_SPREAD = 0.015
BLEED_SPREAD, BLEED_SPREAD_BLIND = 0.1, 0.4
"""Of the regulator's opening at a set point, measured or not."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measured quantity of a session beside what the type would show.

    Attributes:
        state, channel, setpoint_kpa: which.
        measured, nominal: in the channel's unit; nominal for a clean filter.
        own: what this machine would show if it were the type: with the filter's present load and, in contact, at the
            inlet vacuum as it was, because the seal is the operator's.
        error: of the sensor, logarithmic.
        shared: effect of one standard deviation of each of `SHARED`, logarithmic.
        loose: the same of seal and regulator, together.
    """

    state: State
    channel: str
    setpoint_kpa: float | None
    measured: float
    nominal: float
    own: float
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


def deviation(channel: str, value: float, nominal_value: float) -> float:
    """`transform` of single values."""
    floor = SENSORS[channel][2]
    return math.log((max(value, 0.0) + floor) / (max(nominal_value, 0.0) + floor))


def rows(features: SessionFeatures, load: float, context: Context) -> list[Row]:
    """Every quantity of a session that can be compared.

    Args:
        load: of the intake filter, index less one; 0 where it is not known.
    """
    at = nominal.conditions(context, features.ambient_kpa, features.mains_v, features.ambient_temp_c)
    unknown = tuple(
        name
        for name, value in zip(SURROUNDINGS, (features.ambient_kpa, features.mains_v), strict=True)
        if value is None
    )
    stretches: list[tuple[State, Means]] = [("contact", contact.mean) for contact in features.contacts]
    if features.open is not None:
        stretches.insert(0, ("open", features.open.mean))
    capped = features.capped
    if capped is not None and (capped.plateau or capped.is_self_test):
        stretches.append(("capped", capped.mean if capped.plateau else {}))
    if not stretches:
        return []
    machine, ambient, mains = _scattered(stretches, at, load, features.tip, context)
    points = steady.solve(machine, "contact", ambient, mains, at.temperature_k)
    found = [
        _row(state, name, means, np.asarray(getattr(points, name))[i], points.vacuum_inlet_kpa[i], unknown)
        for i, (state, means) in enumerate(stretches)
        for name in CHANNELS[state]
        if name in means
    ]
    return found if capped is None else found + _timed(capped, _capped_machine(machine, ambient, mains), at, unknown)


def _timed(
    capped: CappedFeatures, scattered: tuple[Machine, Floats, Floats], at: nominal.Conditions, unknown: tuple[str, ...]
) -> list[Row]:
    """Pump-down, late rise and leak-down of a self-test."""
    machine, ambient, mains = scattered
    means = capped.mean
    found = []
    if capped.pump_down_s is not None:
        times = [
            steady.pump_down_s(machine, kpa, ambient, mains, temperature_k=at.temperature_k)
            for kpa in (capped.pump_down_to_kpa, capped.pump_down_from_kpa)
        ]
        lasts = times[0] - times[1]
        if np.isfinite(lasts).all():
            found.append(_row("capped", PUMP_DOWN, {**means, PUMP_DOWN: capped.pump_down_s}, lasts, lasts, unknown))
    if capped.late_rise_s is not None:
        half, most = (
            steady.pump_down_s(machine, share * at.ambient_kpa, ambient, mains, temperature_k=at.temperature_k)
            for share in LATE_SHARES
        )
        lasts = np.minimum(most - half, LONGEST_S)
        found.append(_row("capped", LATE_RISE, {**means, LATE_RISE: capped.late_rise_s}, lasts, lasts, unknown))
    if capped.leak_down_kpa_s is not None and capped.leak_down_from_kpa is not None:
        falls = steady.leak_down_kpa_s(machine, capped.leak_down_from_kpa, ambient, temperature_k=at.temperature_k)
        found.append(_row("capped", LEAK_DOWN, {**means, LEAK_DOWN: capped.leak_down_kpa_s}, falls, falls, unknown))
    return found


_NOMINAL, _LOADED, _FIRST = 0, 1, 2
"""Elements of a scattered machine: as designed, with its filter loaded, then one per `SHARED`, seal and regulator,"""
_SEAL = _FIRST + len(SHARED)
_BLEED = _SEAL + 1
_GAP = _BLEED + 1
_GAPS = np.geomspace(0.8, 0.002, 30)
"""and loaded ones with these shares of the tip open, by which contact is compared at the same vacuum."""
_COUNT = _GAP + len(_GAPS)


def _scattered(
    stretches: Sequence[tuple[State, Means]], at: nominal.Conditions, load: float, tip: str, context: Context
) -> tuple[Machine, Floats, Floats]:
    """The type, and what scatters about it one at a time; with ambient pressure (Pa) and voltage.

    Returns:
        fields of shape (stretches, `_COUNT`). All are in contact: an open tip is one whose seal is 0, a capped one
        seals fully and has no feed.
    """
    machine = nominal.type_machine(context).with_(tip_m2=nominal.tip_m2(nominal.type_machine(context), tip))
    shape = (len(stretches), _COUNT)
    design = {name: np.full(shape, float(np.asarray(getattr(machine, name)))) for name, _ in SHARED[:-2]}
    surroundings = {"ambient_kpa": np.full(shape, 1000 * at.ambient_kpa), "mains_v": np.full(shape, at.mains_v)}
    for i, (name, spread) in enumerate(SHARED, start=_FIRST):
        (surroundings if name in SURROUNDINGS else design)[name][:, i] *= math.exp(spread)
    seal, bleed, filter_load = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    filter_load[:, _LOADED] = filter_load[:, _GAP:] = load
    for row, (state, means) in enumerate(stretches):
        setpoint = means.get("setpoint_kpa")
        bleed[row] = nominal.bleed_for(nominal.type_machine(context), setpoint)
        bleed[row, _FIRST:_SEAL] = _adjusted(nominal.type_machine(context), setpoint)
        bleed[row, _BLEED] *= math.exp(BLEED_SPREAD_BLIND if setpoint is None else BLEED_SPREAD)
        if state == "contact":
            seal[row] = float(np.asarray(machine.seal))
            seal[row, _SEAL] -= SEAL_SPREAD
            seal[row, _GAP:] = 1 - _GAPS
        elif state == "capped":
            seal[row], design["feed_m2"][row] = 1.0, 0.0
    scattered = machine.with_(**design, seal=seal, bleed_m2=bleed, filter_load=filter_load)
    return scattered, surroundings["ambient_kpa"], surroundings["mains_v"]


def _adjusted(machine: Machine, setpoint_kpa: float | None) -> list[float]:
    """Opening of the regulator, m2, of a machine that has one of `SHARED` more than the type.

    The maker adjusts each dial to its machine: a pump 9 % weaker leaves the regulator a third less to let in. Where the
    set point is not known, it is that of the design opening.
    """
    mark = USUAL_SETPOINT_KPA if setpoint_kpa is None else setpoint_kpa
    opening, usual = nominal.bleed_for(machine, setpoint_kpa), nominal.bleed_for(machine, mark)
    design = {name: float(np.asarray(getattr(machine, name))) for name, _ in SHARED if name not in SURROUNDINGS}
    return [
        opening * nominal.bleed_for(machine.with_(**{name: design[name] * math.exp(spread)}), mark) / usual
        if name in design
        else opening
        for name, spread in SHARED
    ]


def _capped_machine(machine: Machine, ambient: Floats, mains: Floats) -> tuple[Machine, Floats, Floats]:
    """The last stretch alone."""
    fields = {name: np.asarray(getattr(machine, name)) for name in FIELDS}
    last = {name: value[-1] for name, value in fields.items() if value.ndim == 2}
    return machine.with_(**last), ambient[-1], mains[-1]


def _row(state: State, channel: str, means: Means, points: Floats, vacuum_kpa: Floats, unknown: tuple[str, ...]) -> Row:
    """One quantity from the physics' values for it and for the inlet vacuum, shape (`_COUNT`,) each."""
    absolute, relative, floor = SENSORS[channel]
    measured = means[channel]
    effects = transform(channel, points[:_GAP], points[_NOMINAL])
    moved: list[float] = effects[_FIRST:].tolist()
    shared = [
        0.0 if name in SURROUNDINGS and name not in unknown else effect
        for (name, _), effect in zip(SHARED, moved, strict=False)
    ]
    own = float(points[_LOADED])
    if state == "contact" and "vacuum_inlet_kpa" in means:
        own = float(np.interp(means["vacuum_inlet_kpa"], vacuum_kpa[_GAP:], points[_GAP:]))
    level = max(measured, 0.0) + floor
    return Row(
        state=state,
        channel=channel,
        setpoint_kpa=means.get("setpoint_kpa"),
        measured=measured,
        nominal=float(points[_NOMINAL]),
        own=own,
        error=math.hypot(absolute, relative * max(measured, 0.0)) / level,
        shared=tuple(shared),
        loose=math.hypot(*moved[len(SHARED) :]),
    )
