"""Drivers: where samples come from. A driver knows its sensors and nothing about the log or the network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from device_agent.clock import Instant

Values = Mapping[str, float | None]
"""Channel name → value in the channel's unit; None = not measured."""


@dataclass(frozen=True, slots=True)
class Sample:
    """All channels at one instant.

    Attributes:
        when: event time.
        values: what was measured.
        taken: Unix seconds of the wall clock when it was read, to measure latency.
    """

    when: Instant
    values: Values
    taken: float


class Driver(Protocol):
    """One machine's sensors. Used by one thread."""

    @property
    def ended(self) -> bool:
        """There will be no further samples: a recording is over."""
        ...

    def read(self, now: Instant) -> Sample | None:
        """The next sample that is due at ``now``, or None; call again until it is None."""
        ...

    def close(self) -> None: ...
