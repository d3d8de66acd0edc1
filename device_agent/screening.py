"""Clients who were not treated: counted per UTC day, because a count of a day names nobody."""

from datetime import UTC, datetime

import msgspec

from dermafleet.contracts.records import SCREENING, Event, Privacy, Screening
from device_agent.clock import Instant
from device_agent.drivers import Operator

TALLY = "screening"
"""The fact that holds the counts of the running day."""

TURNED_AWAY = {"REFUSED": "refused", "DEFERRED": "deferred"}
"""Screening outcome that leads to no session → its count."""

_DAY_MS = 86_400_000


class Tally:
    """The counts of the running day; begins with the first one."""

    def __init__(self, privacy: Privacy, told: Screening | None = None) -> None:
        if told is not None and privacy != "coded":
            told = msgspec.structs.replace(told, privacy=privacy, contraindications={})
        self.told = told
        self._privacy = privacy
        self._until = _end_of(told.day) if told else 0

    def add(self, operator: Operator, outcome: str, when: Instant) -> bool:
        """Count one screening; False if it has nothing to count. Reasons only where the clinic has chosen ``coded``."""
        reasons = operator.contraindications if self._privacy == "coded" else []
        if outcome not in TURNED_AWAY and not reasons:
            return False
        told = self.told or Screening(day=_day_of(when), privacy=self._privacy)
        counts = dict(told.contraindications)
        for code in reasons:
            counts[code] = counts.get(code, 0) + 1
        told = msgspec.structs.replace(told, contraindications=counts)
        if field := TURNED_AWAY.get(outcome):
            told = msgspec.structs.replace(told, **{field: getattr(told, field) + 1})
        self.told, self._until = told, _end_of(told.day)
        return True

    def close(self, when: Instant) -> Event | None:
        """The event of a day that is over; the counts begin anew."""
        told = self.told
        if told is None or when.at < self._until or when.clock == "unset":
            return None
        self.told = None
        data = msgspec.to_builtins(told)
        return Event(type=SCREENING, boot=when.boot, at=when.at, up=when.up, clock=when.clock, data=data)


def read_tally(remembered: str | None) -> Screening | None:
    """The counts as they were remembered; None if there are none that can be read."""
    if remembered is None:
        return None
    try:
        return msgspec.json.decode(remembered, type=Screening)
    except msgspec.MsgspecError:
        return None


def write_tally(told: Screening | None) -> str | None:
    """As they are remembered; None = nothing."""
    return None if told is None else msgspec.json.encode(told).decode()


def _day_of(when: Instant) -> str:
    return datetime.fromtimestamp(when.at / 1000, UTC).date().isoformat()


def _end_of(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000) + _DAY_MS
