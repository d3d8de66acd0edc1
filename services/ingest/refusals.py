"""When to stop refusing: a bug of the server must not delete a fleet's data.

A refusal lets the device forget the entry. A few bad devices are refused for ever; when many devices look bad at once,
the server is the more likely culprit, so it withholds its answer and the devices keep their data.
"""

from collections import Counter
from dataclasses import dataclass, field

MAX_DEVICES = 5
MAX_DEVICES_SHARE = 0.01
"""Of the devices seen: in a large fleet a handful is bad at any time."""
MAX_SHARE = 0.01
MIN_BAD = 3
"""One bad entry in a window with few of them says nothing about the device."""
WINDOW_S = 300.0


@dataclass(slots=True)
class Refusals:
    """How many entries were bad within the last minutes, per device.

    Two half windows take turns, so "five minutes" means between five and ten; memory is bounded by the fleet.
    """

    _started: float = float("-inf")
    _seen: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))
    _bad: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))

    def note(self, seen: Counter[str], bad: Counter[str], now: float) -> None:
        """Count entries by device: all those seen, and the bad ones among them (refused or withheld)."""
        if now - self._started >= WINDOW_S:
            self._seen, self._bad = (Counter(), self._seen[0]), (Counter(), self._bad[0])
            if now - self._started >= 2 * WINDOW_S:
                self._seen, self._bad = (Counter(), Counter()), (Counter(), Counter())
            self._started = now
        self._seen[0].update(seen)
        self._bad[0].update(bad)

    def suspects(self) -> int:
        """How many devices have at least `MIN_BAD` bad entries, and more than `MAX_SHARE` of all theirs."""
        bad = self._bad[0] + self._bad[1]
        return sum(
            count >= MIN_BAD and count > MAX_SHARE * (self._seen[0][d] + self._seen[1][d]) for d, count in bad.items()
        )

    def is_tripped(self) -> bool:
        """Whether to withhold refusals."""
        devices = len(self._seen[0].keys() | self._seen[1].keys())
        return self.suspects() > max(MAX_DEVICES, MAX_DEVICES_SHARE * devices)


UNNUMBERED_SHARE = 0.25
"""Of the quarantine's space: garbage without a number must not use up what real refusals need."""

ROW_BYTES = 300
"""What a row costs besides its payload."""

_FRESH_S = 30.0


@dataclass(slots=True)
class Space:
    """How much room the quarantine has, read from the database now and then and counted on in between."""

    limit_bytes: int
    numbered: int = 0
    unnumbered: int = 0
    _read_at: float = float("-inf")

    def is_stale(self, now: float) -> bool:
        return now - self._read_at >= _FRESH_S

    def set(self, numbered: int, unnumbered: int, now: float) -> None:
        self.numbered, self.unnumbered, self._read_at = numbered, unnumbered, now

    def has_room(self) -> bool:
        """Whether an entry may still be refused."""
        return self.numbered + self.unnumbered < self.limit_bytes

    def has_room_unnumbered(self) -> bool:
        """Whether a message without a number may still be kept."""
        return self.unnumbered < UNNUMBERED_SHARE * self.limit_bytes and self.has_room()

    def note(self, payload_bytes: int, *, is_numbered: bool) -> None:
        if is_numbered:
            self.numbered += payload_bytes + ROW_BYTES
        else:
            self.unnumbered += payload_bytes + ROW_BYTES
