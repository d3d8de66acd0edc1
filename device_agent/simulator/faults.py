"""The faults of a simulated machine: what each does to it, at which level, and how it comes about.

F1 to F18 of the machine, the nuisances N1 to N3 (no faults: they never stand in the ground truth), and interruptions.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import mul
from typing import Literal

from dermafleet.errors import SettingError
from dermafleet.physics.gas import hole_m2

Kind = Literal["machine", "consumable", "supply", "sensor", "electrical", "nuisance"]
"""machine: other parameters of the plant. consumable: crystals, canister. supply: mains. sensor: one channel lies.
electrical: connections drop out or power is cut. nuisance: no fault."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that can go wrong.

    Attributes:
        code: as in alarms.
        unit: of the level.
        healthy: level at which nothing is wrong; a growing fault starts here.
        medium: level at which detection is measured.
        kind: what it acts on.
        architectures: of the circuits that can have it.
        is_geometric: a growing fault multiplies its level from session to session instead of adding to it.
    """

    code: str
    unit: str
    healthy: float
    medium: float
    kind: Kind
    architectures: tuple[str, ...] = ("crystal", "diamond", "hydra")
    is_geometric: bool = False


_FEEDS = ("crystal", "hydra")
_TABLE = (
    Fault("filter_clogged", "filter index", 1.0, 13.0, "machine"),
    Fault("exhaust_clogged", "x clean resistance", 1.0, 25.0, "machine"),
    Fault("return_path_blocked", "x free area", 1.0, 0.2, "machine", is_geometric=True),
    Fault("feed_blocked", "x free area", 1.0, 0.43, "machine", _FEEDS, is_geometric=True),
    Fault("leak_dirty_side", "mm equivalent hole", 0.0, 1.0, "machine"),
    Fault("leak_clean_side", "mm equivalent hole", 0.0, 1.0, "machine"),
    Fault("canister_full", "x capacity", 0.5, 1.2, "consumable", ("crystal",)),
    Fault("pump_worn", "x displacement", 1.0, 0.75, "machine"),
    Fault("pump_valve_leak", "1e-9 kg/s/Pa", 0.0, 2.4, "machine"),
    Fault("regulator_shut", "x opening as set", 1.0, 0.1, "machine", is_geometric=True),
    Fault("regulator_open", "x opening as set", 1.0, 3.0, "machine", is_geometric=True),
    Fault("filter_missing", "share of the filter gone", 0.0, 0.9, "machine"),
    Fault("crystals_low", "x capacity of the jar at the start", 0.5, 0.01, "consumable", ("crystal",)),
    Fault("motor_overheated", "x thermal resistance", 1.0, 2.5, "machine"),
    Fault("mains_low", "x nominal voltage", 1.0, 0.82, "supply"),
    Fault("electrical_dropout", "drop-outs per hour", 0.0, 60.0, "electrical"),
    Fault("sensor_drift", "x DRIFT of the channel", 0.0, 1.0, "sensor"),
    Fault("sensor_stuck", "1", 0.0, 1.0, "sensor"),
    Fault("sensor_rail", "1 = high rail, -1 = low rail", 0.0, 1.0, "sensor"),
    Fault("liquid_blocked", "filter index, wetted", 1.0, 31.0, "machine", ("hydra",)),
    Fault("poor_seal", "share of the tip closed", 0.98, 0.80, "nuisance"),
    Fault("set_point", "kPa", 40.0, 20.0, "nuisance"),
    Fault("power_cut", "1", 0.0, 1.0, "electrical"),
)

FAULTS: Mapping[str, Fault] = {fault.code: fault for fault in _TABLE}

MEDIUM: Mapping[str, float] = {fault.code: fault.medium for fault in _TABLE}
"""Levels of domain section 2.9 where it names one. Chosen here: canister 20 % overfull, jar at 1 %, filter with a tenth
of its resistance left (torn), pump cooled 2.5 times worse, a drop-out a minute, the offsets of `DRIFT`."""

NUISANCES: tuple[str, ...] = tuple(fault.code for fault in _TABLE if fault.kind == "nuisance")

UNTOLD = frozenset((*NUISANCES, "power_cut"))
"""Not in the ground truth: they are no faults of a machine."""

BLEED = "bleed"

DRIFT: Mapping[str, float] = {
    "vacuum_inlet_kpa": 3.0,
    "motor_current_a": 0.08,
    "ambient_kpa": 3.0,
    "mains_v": 15.0,
    "filter_dp_kpa": 1.5,
    "pump_temp_c": 12.0,
    "ambient_temp_c": 8.0,
    "flow_lpm": 4.0,
    "vacuum_handpiece_kpa": 3.0,
    "exhaust_dp_kpa": 1.5,
}
"""Offset of a drifted sensor at level 1, in the channel's unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """A fault that a machine gets.

    Attributes:
        fault: code.
        level: in the fault's unit; None = the medium level.
        onset: session (0 = the first treatment) with which it begins.
        onset_s: seconds of pump time within that session, when it comes suddenly.
        growing: sessions it takes to grow to its level; 0 = within its first one.
        growing_s: seconds of pump time it takes to grow within its first session; 0 = sudden.
        until: session with which it is gone (repaired); None = never.
        component: which circuit has it.
        channel: of a sensor fault; empty = drawn for each machine among those that its profile has.
    """

    fault: str
    level: float | None = None
    onset: int = 0
    onset_s: float = 0.0
    growing: int = 0
    growing_s: float = 0.0
    until: int | None = None
    component: str = "main"
    channel: str = ""

    def __post_init__(self) -> None:
        if self.fault not in FAULTS:
            raise SettingError(f"fault {self.fault!r} is not simulated; there are {', '.join(FAULTS)}")

    @property
    def kind(self) -> Kind:
        return FAULTS[self.fault].kind

    @property
    def final_level(self) -> float:
        return FAULTS[self.fault].medium if self.level is None else self.level

    def level_at(self, session: int, pump_s: float = 0.0) -> float | None:
        """The level during a session, after so many seconds of its pump time; None = not there."""
        if session < self.onset or (self.until is not None and session >= self.until):
            return None
        if self.growing > 0:
            share = min((session - self.onset + 1) / self.growing, 1.0)
        elif session > self.onset:
            share = 1.0
        elif pump_s < self.onset_s:
            return None
        else:
            share = min((pump_s - self.onset_s) / self.growing_s, 1.0) if self.growing_s > 0 else 1.0
        return level_between(FAULTS[self.fault], self.final_level, share)


def level_between(fault: Fault, final: float, share: float) -> float:
    """The level of a fault that has grown by a share (0..1) from healthy to its final level."""
    if fault.is_geometric:
        return float(fault.healthy * (final / fault.healthy) ** share)
    return fault.healthy + (final - fault.healthy) * share


def parse(text: str) -> tuple[str, float | None, float]:
    """A fault as on the command line: ``filter_clogged``, ``leak_dirty_side=0.5@3d``, ``pump_worn@90s``.

    Returns:
        code, level (None = medium), and when it begins, seconds after the start.

    Raises:
        SettingError: it is not written like that, or there is no such fault.
    """
    code, level, begins_s = split(text)
    Scheduled(fault=code)
    return code, level, begins_s


def split(text: str) -> tuple[str, float | None, float]:
    """As `parse`, of any code.

    Raises:
        SettingError: it is not written like that.
    """
    head, _, when = text.partition("@")
    code, _, level = head.partition("=")
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
    try:
        onset_s = float(when[:-1]) * units[when[-1]] if when else 0.0
        chosen = float(level) if level else None
    except (ValueError, KeyError):
        raise SettingError(
            f"--fault {text!r}: write it like filter_clogged, leak_dirty_side=0.5, pump_worn@3d"
        ) from None
    return code, chosen, onset_s


_EFFECTS: Mapping[str, tuple[str, Callable[[float, float], float]]] = {
    "filter_clogged": ("filter_load", lambda own, level: max(own, level - 1)),
    "liquid_blocked": ("filter_load", lambda own, level: max(own, level - 1)),
    "filter_missing": ("filter_missing", max),
    "exhaust_clogged": ("exhaust_load", lambda own, level: own + level - 1),
    "return_path_blocked": ("return_area", mul),
    "feed_blocked": ("feed_area", mul),
    "leak_dirty_side": ("leak_dirty_m2", lambda own, level: own + float(hole_m2(level))),
    "leak_clean_side": ("leak_clean_m2", lambda own, level: own + float(hole_m2(level))),
    "pump_worn": ("displacement", mul),
    "pump_valve_leak": ("valve_leak", lambda own, level: own + level * 1e-9),
    "regulator_shut": (BLEED, mul),
    "regulator_open": (BLEED, mul),
    "motor_overheated": ("cooling", mul),
}
"""Field of the plant's parameters, and its value from the one without the fault and the level."""


def apply(code: str, level: float, parameters: dict[str, float]) -> None:
    """Change, in place, the plant's parameters as a fault of kind ``machine`` does.

    Args:
        parameters: field of `physics.machine.Machine` → value; :data:`BLEED` is a factor of the opening as set.
    """
    name, effect = _EFFECTS[code]
    parameters[name] = effect(parameters[name], level)


def check(schedule: Iterable[Scheduled], architectures: Mapping[str, str]) -> None:
    """Check that a machine with these circuits (component → architecture) can have these faults.

    Raises:
        SettingError: it has no such component, or the component cannot have the fault.
    """
    for each in schedule:
        architecture = architectures.get(each.component)
        if architecture is None:
            raise SettingError(f"fault {each.fault}: the model has no component {each.component!r}")
        if architecture not in FAULTS[each.fault].architectures:
            raise SettingError(f"fault {each.fault}: a {architecture} circuit cannot have it")
