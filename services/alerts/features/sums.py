"""Weighted sums of channel means, and what they average to."""

import msgspec

from services.alerts.features.types import Means


class Sums(msgspec.Struct):
    """Per channel (weight, weighted sum): a channel that was missing for a while keeps its own weight."""

    seconds: float = 0.0
    channels: dict[str, tuple[float, float]] = {}


def add(sums: Sums, means: Means, seconds: float, weight: float | None = None) -> None:
    """Take in the means of a stretch; weighted by its length, or as given."""
    share = seconds if weight is None else weight
    sums.seconds += seconds
    for name, mean in means.items():
        known, total = sums.channels.get(name, (0.0, 0.0))
        sums.channels[name] = (known + share, total + share * mean)


def mean(sums: Sums) -> Means:
    """Averages; channels without weight are absent."""
    return {name: total / weight for name, (weight, total) in sums.channels.items() if weight > 0}
