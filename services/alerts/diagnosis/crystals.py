"""What the crystals tell: how many are drawn, and the noise that they make, against what is usual for this machine.

Crystals come with the air of the feed, in gulps that shake the vacuum. A blocked feed draws fewer and is quieter; a
regulator that is shut, or set higher, is not. Less vacuum draws less air, and that carries fewer crystals: draw and
noise are compared with what is usual at this vacuum, so that an operator who seals poorly does not hide the feed.
"""

import msgspec
import numpy as np

from services.alerts.diagnosis.fit import QUIET, Feed, Noise
from services.alerts.features.types import ContactFeatures, SessionFeatures

SESSIONS = 5
"""Treatments from which a machine's usual draw and noise are learned."""
BY_VACUUM_ERROR = 0.5
"""Draw and noise go with the vacuum about in proportion: how far from there, as a power of it."""
FEED_ERROR, FEED_TYPE_ERROR = 0.15, 0.5
"""Of the logarithm of what is drawn: learned, and before."""
WEIGHING_ERROR_G = 5.0
"""Of what a jar has lost in a session, under the pump's vibration (domain research, section 2.5)."""
NOTHING_DRAWN = 0.01
"""Grams per second that count as none."""
NOISE_ERROR, NOISE_NEW_ERROR = 0.2, 0.35
"""Of the logarithm of the noise between treatments: learned, and before."""
NOISE_ERROR_KPA = 0.05
"""What of the pump's own noise is left in it."""
LEAST_NOISE_KPA = 0.03
PLACES = ("handpiece", "inlet")
"""Where the noise is heard: the nearest first."""


class Habit(msgspec.Struct):
    """What a machine does while healthy: mean per kPa of vacuum, mean vacuum (kPa), and how many sessions say so."""

    per_kpa: float = 0.0
    vacuum_kpa: float = 0.0
    sessions: int = 0

    def learn(self, value: float, vacuum_kpa: float) -> None:
        self.sessions += 1
        self.per_kpa += (value / vacuum_kpa - self.per_kpa) / self.sessions
        self.vacuum_kpa += (vacuum_kpa - self.vacuum_kpa) / self.sessions

    def away(self, vacuum_kpa: float) -> float:
        """Error of the logarithm of what is usual at this vacuum, because it was learned at another."""
        return BY_VACUUM_ERROR * abs(float(np.log(vacuum_kpa / self.vacuum_kpa)))


class Usual(msgspec.Struct):
    """What is usual for a machine: crystals drawn, g/s, and per place the noise, kPa."""

    draw: Habit = msgspec.field(default_factory=Habit)
    heard: dict[str, Habit] = {}


def feed(usual: Usual, features: SessionFeatures) -> Feed | None:
    """Crystals drawn per second of contact; learns while the machine is new."""
    rates = [each.crystal_g_per_s for each in features.contacts if each.crystal_g_per_s is not None]
    vacuum_kpa = _vacuum(features)
    if not rates or vacuum_kpa is None:
        return None
    rate, draw = rates[0], usual.draw  # one for the whole session
    is_new = draw.sessions < SESSIONS
    if is_new:
        draw.learn(rate, vacuum_kpa)
    expected = max(draw.per_kpa * vacuum_kpa, 0.0) + NOTHING_DRAWN
    weighing = WEIGHING_ERROR_G / features.contact_s * float(np.sqrt(1 + 1 / draw.sessions)) / expected
    own = FEED_TYPE_ERROR if is_new else FEED_ERROR
    error = float(np.hypot(np.hypot(own, draw.away(vacuum_kpa)), weighing))
    return Feed(float(np.log((max(rate, 0.0) + NOTHING_DRAWN) / expected)), error)


def noise(usual: Usual, features: SessionFeatures) -> Noise | None:
    """Noise of the feed in a treatment; learns while the machine is new. None = not heard, or not known yet."""
    vacuum_kpa = _vacuum(features)
    for place in PLACES:
        kpa = features.values.get(f"feed_noise_{place}_kpa")
        if kpa is None or vacuum_kpa is None:
            continue
        habit = usual.heard.setdefault(place, Habit())
        is_new, is_known = habit.sessions < SESSIONS, habit.sessions >= 2
        expected = habit.per_kpa * vacuum_kpa
        away = habit.away(vacuum_kpa) if is_known else 0.0
        if is_new:
            habit.learn(kpa, vacuum_kpa)
        if expected < LEAST_NOISE_KPA or not is_known:
            return None
        own = np.hypot(NOISE_NEW_ERROR if is_new else NOISE_ERROR, NOISE_ERROR_KPA / expected)
        return Noise(float(np.log((kpa / expected + QUIET) / (1 + QUIET))), float(np.hypot(own, away)))
    return None


def _vacuum(features: SessionFeatures) -> float | None:
    """Mean vacuum at the pump inlet in the well-sealed strokes, kPa; None = not measured."""
    found = [(each.mean["vacuum_inlet_kpa"], each.seconds) for each in features.contacts if _is_drawing(each)]
    seconds = sum(each for _, each in found)
    return sum(kpa * each for kpa, each in found) / seconds if seconds else None


def _is_drawing(contact: ContactFeatures) -> bool:
    return contact.mean.get("vacuum_inlet_kpa", 0.0) > 0
