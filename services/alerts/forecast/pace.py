"""How much a machine is used: sessions and pumping time a day, to tell pumping seconds as sessions and days."""

import msgspec

DAYS = 28
"""Memory of the averages, days (domain §6.2); days without a session count."""


class Pace(msgspec.Struct):
    """Exponentially weighted averages over days; JSON-able.

    Attributes:
        days: how many days have been taken in.
        sessions_per_day, pumped_s_per_day: over all days.
        open_share: share of days with a session.
    """

    days: int = 0
    sessions_per_day: float = 0.0
    pumped_s_per_day: float = 0.0
    open_share: float = 0.0


def take_day(pace: Pace, sessions: int, pumped_s: float) -> None:
    """Take in one finished local day, also one without a session; changes `pace`."""
    pace.days += 1
    gain = max(1 / pace.days, 1 / DAYS)
    pace.sessions_per_day += gain * (sessions - pace.sessions_per_day)
    pace.pumped_s_per_day += gain * (pumped_s - pace.pumped_s_per_day)
    pace.open_share += gain * (float(sessions > 0) - pace.open_share)


def pumped_s_per_session(pace: Pace) -> float | None:
    """Mean pumping seconds of a session; None = no session yet."""
    return pace.pumped_s_per_day / pace.sessions_per_day if pace.sessions_per_day else None


def pumped_s_per_open_day(pace: Pace) -> float | None:
    """Mean pumping seconds of a day with sessions; None = no session yet."""
    return pace.pumped_s_per_day / pace.open_share if pace.open_share else None
