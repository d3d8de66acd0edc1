"""What the crystals tell: how many are drawn, and the noise that they make, against what is usual for this machine.

Crystals come with the air of the feed, in gulps that shake the vacuum. A blocked feed draws fewer and is quieter; a
regulator that is shut, or set higher, is not.
"""

import msgspec
import numpy as np

from services.alerts.diagnosis.fit import QUIET, Feed, Noise
from services.alerts.features.types import SessionFeatures

SESSIONS = 5
"""Treatments from which a machine's usual draw and noise are learned."""
MIN_CONTACT_S = 30.0
FEED_ERROR, FEED_TYPE_ERROR = 0.15, 0.5
"""Of the logarithm of what is drawn: learned, and of the type before."""
NOTHING_DRAWN = 0.01
"""Grams per second that count as none."""
NOISE_ERROR, NOISE_NEW_ERROR = 0.2, 0.35
"""Of the logarithm of the noise between treatments: learned, and before."""
NOISE_ERROR_KPA = 0.05
"""What of the pump's own noise is left in it."""
LEAST_NOISE_KPA = 0.03
PLACES = ("handpiece", "inlet")
"""Where the noise is heard: the nearest first."""


class Usual(msgspec.Struct):
    """What is usual for a machine.

    Attributes:
        feed_mean, feed_sessions: crystals drawn, mean logarithm of g/s, and how many sessions it rests on.
        noise: per place the mean, kPa, and the sessions.
    """

    feed_mean: float = 0.0
    feed_sessions: int = 0
    noise: dict[str, tuple[float, int]] = {}


def feed(usual: Usual, features: SessionFeatures) -> Feed | None:
    """Crystals drawn per second of contact; learns while the machine is new."""
    rates = [(each.crystal_g_per_s, each.seconds) for each in features.contacts if each.crystal_g_per_s is not None]
    seconds = sum(each for _, each in rates)
    if seconds < MIN_CONTACT_S:
        return None
    rate = sum(rate * each for rate, each in rates) / seconds
    found = float(np.log(max(rate, 0.0) + NOTHING_DRAWN))
    if usual.feed_sessions < SESSIONS and rate > 5 * NOTHING_DRAWN:
        usual.feed_sessions += 1
        usual.feed_mean += (found - usual.feed_mean) / usual.feed_sessions
    if usual.feed_sessions == 0:
        return None
    error = FEED_ERROR if usual.feed_sessions >= SESSIONS else FEED_TYPE_ERROR
    return Feed(found - usual.feed_mean, error)


def noise(usual: Usual, features: SessionFeatures) -> Noise | None:
    """Noise of the feed in a treatment; learns while the machine is new. None = not heard, or not known yet."""
    for place in PLACES:
        kpa = features.values.get(f"feed_noise_{place}_kpa")
        if kpa is None:
            continue
        mean, sessions = usual.noise.get(place, (0.0, 0))
        if sessions < SESSIONS:
            usual.noise[place] = (mean + (kpa - mean) / (sessions + 1), sessions + 1)
        if mean < LEAST_NOISE_KPA or sessions < 2:
            return None
        residual = float(np.log((kpa / mean + QUIET) / (1 + QUIET)))
        error = float(np.hypot(NOISE_ERROR if sessions >= SESSIONS else NOISE_NEW_ERROR, NOISE_ERROR_KPA / mean))
        return Noise(residual, error)
    return None
