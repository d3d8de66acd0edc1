"""Noise of the vacuum while crystals flow, beyond that of the open tip: crystals and air come in gulps.

It grows with the crystals that are carried and vanishes with them, whatever the seal and the set point are. A stroke
whose vacuum still settles looks noisy too, so a low quantile of the strokes counts: those that settled best.
"""

import math

import msgspec

from services.alerts.features.types import Segment

CHANNELS = {"inlet": "vacuum_inlet_kpa", "handpiece": "vacuum_handpiece_kpa"}
MIN_S = 6.0
"""Settled seconds of contact, and a quarter of it open, that a noise is taken from."""
STEP = 0.1
"""Width of the classes of noise, of its logarithm."""
LEAST_KPA = 0.01
QUANTILE = 0.25


class Noise(msgspec.Struct):
    """Settled seconds of one state by class of noise."""

    seconds: dict[str, float] = {}


def take(noise: dict[str, Noise], segment: Segment) -> None:
    """Show a segment with a settled part; changes ``noise``, kept by "state.channel"."""
    for channel, deviation in segment.deviation.items():
        kept = noise.setdefault(f"{segment.state}.{channel}", Noise())
        key = str(math.floor(math.log(max(deviation, LEAST_KPA)) / STEP))
        kept.seconds[key] = kept.seconds.get(key, 0.0) + segment.settled_s


def of_feed(noise: dict[str, Noise]) -> dict[str, float]:
    """Per place ("inlet", "handpiece") the noise, kPa, that contact adds to the pump's; only where both are known."""
    found = {}
    for place, channel in CHANNELS.items():
        contact = _quantile(noise.get(f"contact.{channel}"), MIN_S)
        pump = _quantile(noise.get(f"open.{channel}"), MIN_S / 4)
        if contact is not None and pump is not None:
            found[place] = math.sqrt(max(contact**2 - pump**2, 0.0))
    return found


def _quantile(noise: Noise | None, least_s: float) -> float | None:
    """Noise, kPa, below which `QUANTILE` of the time lies; None = too short a time."""
    total = sum(noise.seconds.values()) if noise is not None else 0.0
    if noise is None or total < least_s:
        return None
    wanted = QUANTILE * total
    for number in sorted(map(int, noise.seconds)):
        here = noise.seconds[str(number)]
        if wanted <= here:
            return math.exp((number + wanted / here) * STEP)
        wanted -= here
    return None
