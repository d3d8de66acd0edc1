"""Where a machine works: opening days in the clinic's zone, air pressure, room and mains. Pure functions of a draw."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from dermafleet.errors import SettingError

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Clinic:
    """One place.

    Attributes:
        key: short name for plans.
        opens, closes: local hours of the day.
        weekdays: 0 = Monday.
        mains_spread: how far the mains voltage wanders from nominal, as a share.
        sags_per_hour: short dips of the mains.
    """

    key: str
    time_zone: str
    opens: float
    closes: float
    altitude_m: float
    weekdays: frozenset[int] = frozenset(range(5))
    mains_spread: float = 0.02
    sags_per_hour: float = 0.5


_SIX_DAYS = frozenset(range(6))

CLINICS: dict[str, Clinic] = {
    clinic.key: clinic
    for clinic in (
        Clinic("zurich", "Europe/Zurich", 8.0, 18.5, 408.0),
        Clinic("hamburg", "Europe/Berlin", 9.0, 19.0, 8.0, _SIX_DAYS),
        Clinic("lisbon", "Europe/Lisbon", 9.0, 19.0, 10.0, mains_spread=0.03),
        Clinic("madrid", "Europe/Madrid", 10.0, 20.0, 657.0),
        Clinic("denver", "America/Denver", 8.0, 17.0, 1609.0, _SIX_DAYS),
        Clinic("mexico", "America/Mexico_City", 9.0, 19.0, 2240.0, _SIX_DAYS, mains_spread=0.04, sags_per_hour=2.0),
        Clinic("bogota", "America/Bogota", 7.5, 17.0, 2625.0, _SIX_DAYS, mains_spread=0.03, sags_per_hour=1.0),
    )
}

EVALUATED = ("zurich", "hamburg", "lisbon", "madrid", "denver", "mexico")
"""Clinics up to the altitude that machines are built for, 2 250 m."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Weather, room and mains of one machine, for ever: phases and sizes of slow swings, drawn once."""

    altitude_m: float
    weather_kpa: NDArray[np.float64]
    weather_phase: NDArray[np.float64]
    room_c: float
    room_phase: float
    mains_share: float
    mains_phase: NDArray[np.float64]
    mains_spread: float


_WEATHER_DAYS = np.array([6.7, 3.1, 1.3])
_MAINS_DAYS = np.array([1.0, 7.0])
_MAX_WEATHER_KPA = 3.0


def clinic_of(key: str) -> Clinic:
    """Raises SettingError for an unknown clinic; the message lists the known ones."""
    try:
        return CLINICS[key]
    except KeyError:
        raise SettingError(f"clinic {key!r} is not known; there are {', '.join(CLINICS)}") from None


def draw_surroundings(clinic: Clinic, random: Generator) -> Surroundings:
    sizes = random.uniform(0.3, 1.0, 3)
    return Surroundings(
        altitude_m=clinic.altitude_m,
        weather_kpa=sizes / sizes.sum() * random.uniform(1.5, _MAX_WEATHER_KPA),
        weather_phase=random.uniform(0, 2 * np.pi, 3),
        room_c=random.uniform(20.5, 24.5),
        room_phase=random.uniform(0, 2 * np.pi),
        mains_share=1 + clinic.mains_spread / 2 * random.uniform(-1, 1),
        mains_phase=random.uniform(0, 2 * np.pi, 2),
        mains_spread=clinic.mains_spread,
    )


def standard_kpa(altitude_m: float) -> float:
    """Pressure of the standard atmosphere at an altitude, kPa."""
    return float(101.325 * (1 - 2.25577e-5 * altitude_m) ** 5.25588)


def ambient_kpa(place: Surroundings, at_ms: int) -> float:
    """Air pressure at a moment: standard atmosphere plus weather within 3 kPa."""
    swing = np.sin(2 * np.pi * at_ms / DAY_MS / _WEATHER_DAYS + place.weather_phase)
    return standard_kpa(place.altitude_m) + float(swing @ place.weather_kpa)


def room_c(place: Surroundings, at_ms: int) -> float:
    """Temperature of the room, Cel."""
    return place.room_c + 1.5 * float(np.sin(2 * np.pi * at_ms / DAY_MS + place.room_phase))


def mains_share(place: Surroundings, at_ms: int) -> float:
    """Mains voltage over nominal, without sags."""
    swing = np.sin(2 * np.pi * at_ms / DAY_MS / _MAINS_DAYS + place.mains_phase)
    return place.mains_share + place.mains_spread / 4 * float(swing.sum())


def add_sags(share: NDArray[np.float64], clinic: Clinic, random: Generator) -> None:
    """Let the mains dip, in place.

    Args:
        share: (n,) mains voltage over nominal at 10 Hz.
    """
    for _ in range(random.poisson(clinic.sags_per_hour * len(share) / 36_000)):
        begin, length = random.integers(len(share)), random.integers(1, 12)
        share[begin : begin + length] *= random.uniform(0.75, 0.95)


def opening_ms(clinic: Clinic, day: date) -> int:
    """When the clinic opens on a day, Unix ms."""
    midnight = datetime.combine(day, time(), _zone(clinic.time_zone))
    return round((midnight + timedelta(hours=clinic.opens)).timestamp() * 1000)


def open_days(clinic: Clinic, first: date, count: int) -> list[date]:
    """The first ``count`` days from ``first`` on that the clinic is open."""
    days: list[date] = []
    day = first
    while len(days) < count:
        if day.weekday() in clinic.weekdays:
            days.append(day)
        day += timedelta(days=1)
    return days


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:  # a system without a time zone database
        return UTC
