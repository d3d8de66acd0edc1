"""The channel registry: every quantity a machine can report, with unit and plausible range.

A maker may send further channels; they are stored in ``extra`` and chart like these.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Profile = Literal["minimal", "basic", "standard", "full"]

PROFILES: tuple[Profile, ...] = get_args(Profile)
"""Each profile includes the ones before it."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One measured quantity.

    Attributes:
        name: as on the wire and in the database; it ends in its unit.
        unit: UCUM code.
        low, high: plausible range; a value outside it is stored as it came and marked.
        profile: the smallest profile that fits this sensor.
        meaning: what is measured, in one line.
    """

    name: str
    unit: str
    low: float
    high: float
    profile: Profile
    meaning: str


CHANNELS: tuple[Channel, ...] = (
    Channel("vacuum_inlet_kpa", "kPa", -2, 105, "minimal", "Vacuum at the pump inlet, kPa below ambient"),
    Channel("pump_on", "1", 0, 1, "minimal", "Pump running, measured or derived"),
    Channel("motor_current_a", "A", 0, 20, "basic", "Motor current, rms"),
    Channel("ambient_kpa", "kPa", 50, 110, "basic", "Ambient pressure, absolute"),
    Channel("mains_v", "V", 0, 300, "basic", "Mains voltage, rms"),
    Channel("filter_dp_kpa", "kPa", -1, 150, "standard", "Pressure drop across the intake filter"),
    Channel("pump_temp_c", "Cel", -40, 200, "standard", "Pump temperature"),
    Channel("ambient_temp_c", "Cel", -40, 200, "standard", "Room temperature"),
    Channel("flow_lpm", "L/min", -5, 1000, "full", "Flow through the intake filter at 20 Cel, 101.325 kPa"),
    Channel("vacuum_handpiece_kpa", "kPa", -2, 105, "full", "Vacuum at the handpiece, kPa below ambient"),
    Channel("exhaust_dp_kpa", "kPa", -1, 50, "full", "Pressure drop across the exhaust filter"),
    Channel("crystal_jar_g", "g", -50, 5000, "full", "Mass of crystals in the jar"),
    Channel("canister_g", "g", -50, 5000, "full", "Mass in the waste canister"),
    Channel("setpoint_kpa", "kPa", 0, 105, "full", "Vacuum set by the operator"),
    Channel("pump_duty", "1", 0, 1, "full", "Duty cycle of the pump drive"),
)
"""The order is the order of the mark bits of a sample: only ever append."""

CHANNEL_BY_NAME: dict[str, Channel] = {channel.name: channel for channel in CHANNELS}


def fitted(profile: Profile) -> tuple[Channel, ...]:
    """The channels of a machine with this profile, in registry order."""
    rank = PROFILES.index(profile)
    return tuple(c for c in CHANNELS if PROFILES.index(c.profile) <= rank)
