"""Contact of the tip, read from the vacuum by hysteresis. Pure, and cheap enough for every sample.

The levels follow the machine: between its open tip and its contact, so that a clogging filter, which raises the vacuum
of the open tip too, hides no lift.
"""

CONTACT_KPA, LIFT_KPA = 9.0, 6.0
"""Vacuum above which the tip is on skin, and below which it is lifted, until the machine's own levels are known. An
open tip draws 2.4 kPa."""

CONTACT_SHARE, LIFT_SHARE = 0.4, 0.2
"""Of the way from the open tip to the 95th percentile of the recent vacuum."""

SEALED_MS = 2_000
"""A tip that seals goes from lifted to contact in this time; what rises more slowly is no skin."""

_LEAST_P95_KPA = 15.0
"""Below, there was no contact yet: an open tip behind a clogged filter comes to 12 kPa."""
_LEARN_MS, _FORGET_MS = 10_000, 120_000
_SETPOINT_STEP_KPA = 1.0
_BIN_KPA, _BINS = 0.25, 440


class Histogram:
    """For how long the vacuum was where; levels from 0 to 110 kPa in steps of 0.25 kPa."""

    def __init__(self) -> None:
        self.total_ms = 0
        self.max_kpa = 0.0
        self._ms = [0] * _BINS

    def add(self, kpa: float, ms: int) -> None:
        place = int(kpa / _BIN_KPA)
        self._ms[0 if place < 0 else _BINS - 1 if place >= _BINS else place] += ms
        self.total_ms += ms
        if kpa > self.max_kpa:
            self.max_kpa = kpa

    def quantile(self, share: float) -> float:
        """The vacuum below which it was for this share of the time, kPa; 0 while there is nothing."""
        wanted, below = share * self.total_ms, 0
        for place, ms in enumerate(self._ms):
            if ms and below + ms >= wanted:
                return (place + (wanted - below) / ms) * _BIN_KPA
            below += ms
        return 0.0

    def halve(self) -> None:
        """Let the past count half."""
        self._ms = [ms // 2 for ms in self._ms]
        self.total_ms = sum(self._ms)


class Contact:
    """Whether the tip is on skin.

    Attributes:
        since_up: uptime at which the contact began, ms; None while the tip is lifted.
        is_sealed: this contact came as quickly as skin does.
    """

    def __init__(self) -> None:
        self.since_up: int | None = None
        self.is_sealed = False
        self._lifted_up: int | None = None
        self._contact_kpa, self._lift_kpa = CONTACT_KPA, LIFT_KPA
        self._setpoint_kpa: float | None = None
        self._recent = Histogram()
        self._learn_at_ms = _LEARN_MS

    def reset(self) -> None:
        """Begin anew: the pump starts, or the set point is another."""
        self._contact_kpa, self._lift_kpa = CONTACT_KPA, LIFT_KPA
        self._recent = Histogram()
        self._learn_at_ms = _LEARN_MS

    def release(self, up: int) -> None:
        """The pump is off, so the tip holds nothing."""
        self.since_up = None
        self._lifted_up = up

    def step(self, kpa: float, up: int, gap_ms: int, setpoint_kpa: float | None) -> bool:
        """Take one sample of a running pump; True when a contact begins with it."""
        if setpoint_kpa is not None and setpoint_kpa != self._setpoint_kpa:
            self._follow(setpoint_kpa)
        self._recent.add(kpa, gap_ms)
        if self._recent.total_ms >= self._learn_at_ms:
            self._learn()
        if kpa < self._lift_kpa:
            self._lifted_up = up
            self.since_up = None
        elif self.since_up is None and kpa >= self._contact_kpa:
            self.since_up = up
            self.is_sealed = self._lifted_up is not None and up - self._lifted_up <= SEALED_MS
            return True
        return False

    def _follow(self, setpoint_kpa: float) -> None:
        if self._setpoint_kpa is None:
            self._setpoint_kpa = setpoint_kpa
        elif abs(setpoint_kpa - self._setpoint_kpa) >= _SETPOINT_STEP_KPA:
            self._setpoint_kpa = setpoint_kpa
            self.reset()

    def _learn(self) -> None:
        recent = self._recent
        high = recent.quantile(0.95)
        if high >= _LEAST_P95_KPA:
            # With hardly a lift, the 5th percentile is contact too.
            low = min(recent.quantile(0.05), high / 3)
            self._contact_kpa = low + CONTACT_SHARE * (high - low)
            self._lift_kpa = low + LIFT_SHARE * (high - low)
        else:
            self._contact_kpa, self._lift_kpa = CONTACT_KPA, LIFT_KPA
        if recent.total_ms >= _FORGET_MS:
            recent.halve()
        self._learn_at_ms = recent.total_ms + _LEARN_MS
