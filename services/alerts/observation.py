"""What detectors take and give: a block of samples, and what it says about a fault."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Value = str | int | float | bool | None | Sequence[str] | Mapping[str, float]
Detail = Mapping[str, Value]
"""Why an alarm stands: names and plain values, shown to people."""


@dataclass(frozen=True, slots=True)
class Block:
    """The samples of one log entry, in order.

    Attributes:
        epoch, seq: the entry.
        boot, up_ms: boot in which they were taken, and its uptime at the first one.
        at_ms: shape (n,), int64, event time in Unix ms, not decreasing.
        channels: per channel shape (n,), NaN = not measured or out of its plausible range.
    """

    epoch: str
    seq: int
    boot: str
    up_ms: int
    at_ms: NDArray[np.int64]
    channels: Mapping[str, Floats]

    def channel(self, name: str) -> Floats:
        """One channel, shape (n,); all NaN when it is not fitted."""
        values = self.channels.get(name)
        return np.full(len(self.at_ms), np.nan) if values is None else values


@dataclass(frozen=True, slots=True)
class Origin:
    """The place in a device's log that led to a decision; the alarm it raises is named after it."""

    epoch: str
    seq: int
    sample: int = 0

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}:{self.sample}"


@dataclass(frozen=True, slots=True)
class Observation:
    """A detector's changed opinion on one fault.

    Attributes:
        severity: 0 to 4 while the fault is there; None = it is gone.
        at: event time at which it became certain.
        confidence: 0 to 1.
        reason: why it changed, one line for a person.
        detail: the numbers behind it.
        candidates: the ambiguity set: fault → probability of each that this profile cannot tell from it, itself
            included; empty = no doubt about the name.
    """

    component: str
    fault: str
    severity: int | None
    at: datetime
    origin: Origin
    confidence: float
    detector: str
    detector_version: int
    reason: str
    detail: Detail = field(default_factory=dict)
    candidates: Mapping[str, float] = field(default_factory=dict)


def utc(ms: int) -> datetime:
    """Unix ms as an aware time, exactly."""
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)


def unix_ms(at: datetime) -> int:
    """An aware time as Unix ms; the inverse of `utc`."""
    return round(at.timestamp() * 1000)
