"""Strokes of one set point: their plateaus sorted by vacuum, so that the well-sealed ones can be averaged alone.

A stroke is kept as sums of its level of plateau vacuum: bounded, however long the session is.
"""

import math
from collections.abc import Sequence

import msgspec

from services.alerts.features.sums import Sums, add, mean
from services.alerts.features.types import ContactFeatures, Means, Segment

LEVEL_KPA = 2.5
_UNWANTED = frozenset({"pump_on", "pump_duty", "crystal_jar_g", "canister_g"})
SETPOINT_STEP_KPA = 2.5
MAX_SETPOINTS = 6
"""Set points in one session; the strokes of further ones are not kept."""
MIN_RATE_S = 60.0
"""Contact that uses up enough crystals to be weighed."""
ENVELOPE = 0.25
"""Share of the strokes that count as well sealed."""


class Level(msgspec.Struct):
    """Strokes whose plateaus lie within `LEVEL_KPA` of each other."""

    strokes: int = 0
    sums: Sums = msgspec.field(default_factory=Sums)


class Strokes(msgspec.Struct):
    """Strokes at one set point.

    Attributes:
        levels: by number of the level of plateau vacuum.
        noise: (seconds, sum of squared noise of the handpiece vacuum x seconds).
        setpoint: (seconds, sum of set point x seconds).
    """

    levels: dict[str, Level] = {}
    noise: tuple[float, float] = (0.0, 0.0)


def take(strokes: dict[str, Strokes], segment: Segment) -> None:
    """Show a settled contact segment; changes ``strokes``, which are kept per set point ("" = not known)."""
    plateau = segment.mean.get("vacuum_handpiece_kpa", segment.mean.get("vacuum_inlet_kpa"))
    if plateau is None:
        return
    setpoint = segment.mean.get("setpoint_kpa")
    key = "" if setpoint is None else str(round(setpoint / SETPOINT_STEP_KPA))
    if key not in strokes and len(strokes) >= MAX_SETPOINTS:
        return
    kept = strokes.setdefault(key, Strokes())
    level = kept.levels.setdefault(str(math.floor(plateau / LEVEL_KPA)), Level())
    level.strokes += 1
    wanted = {name: value for name, value in segment.mean.items() if name not in _UNWANTED}
    add(level.sums, wanted, segment.settled_s)
    noise = segment.deviation.get("vacuum_handpiece_kpa")
    if noise is not None:
        seconds, squares = kept.noise
        kept.noise = (seconds + segment.settled_s, squares + segment.settled_s * noise * noise)


def features(strokes: Strokes, ambient_kpa: float) -> ContactFeatures:
    """The well-sealed envelope: means over the strokes in the upper quarter of plateau vacuum."""
    ordered = sorted((int(number), level) for number, level in strokes.levels.items())
    total = sum(level.strokes for _, level in ordered)
    wanted, envelope = max(ENVELOPE * total, 1.0), Sums()
    for _, level in reversed(ordered):
        share = min(wanted / level.strokes, 1.0)
        add(envelope, mean(level.sums), share * level.sums.seconds)
        wanted -= share * level.strokes
        if wanted <= 0:
            break
    means = mean(envelope)
    seconds, squares = strokes.noise
    return ContactFeatures(
        setpoint_kpa=means.get("setpoint_kpa"),
        strokes=total,
        seconds=sum(level.sums.seconds for _, level in ordered),
        mean=means,
        seal_spread=(quantile(ordered, 0.75) - quantile(ordered, 0.25)) / ambient_kpa,
        feed_noise_kpa=math.sqrt(squares / seconds) if seconds else None,
    )


def quantile(ordered: list[tuple[int, Level]], share: float) -> float:
    """Plateau vacuum below which this share of the strokes lies, kPa; even within a level."""
    wanted = share * sum(level.strokes for _, level in ordered)
    for number, level in ordered:
        if wanted <= level.strokes:
            return (number + wanted / level.strokes) * LEVEL_KPA
        wanted -= level.strokes
    return (ordered[-1][0] + 1) * LEVEL_KPA


def envelope_of(contacts: Sequence[ContactFeatures]) -> Means:
    """Means of the set point with the most settled time."""
    return max(contacts, key=lambda contact: contact.seconds).mean if contacts else {}
