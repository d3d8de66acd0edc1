"""Ranges of time in a request: RFC 3339 with a zone, or relative to now (``-15m``)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Query

from services.api.problems import invalid_parameter

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""PostgreSQL and Python agree on all instants between these."""

_RELATIVE = re.compile(r"-(\d{1,7})(ms|s|m|h|d|w)")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}

_FORM = "RFC 3339 with a zone, or relative to now, such as `-15m`, `-24h` or `-7d`"
From = Annotated[str | None, Query(alias="from", max_length=64, description=f"Start, included: {_FORM}.")]
To = Annotated[str | None, Query(max_length=64, description=f"End, not included: {_FORM}. Default: now.")]


@dataclass(frozen=True, slots=True)
class TimeRange:
    """``[from_at, to_at)``."""

    from_at: datetime
    to_at: datetime


def parse_instant(text: str, name: str, now: datetime) -> datetime:
    """An instant named in a request.

    Raises:
        Refused: it is none; the problem names the parameter.
    """
    if relative := _RELATIVE.fullmatch(text):
        at = now - min(int(relative[1]) * _UNITS[relative[2]], now - EARLIEST)
    else:
        try:
            # A plus sign in a query string arrives as a space unless it was escaped.
            at = datetime.fromisoformat(text.replace(" ", "+"))
        except ValueError as error:
            raise invalid_parameter(name, f"must be {_FORM}") from error
        if at.tzinfo is None:
            raise invalid_parameter(name, "has no zone; end it with Z for UTC")
    if not EARLIEST <= at <= LATEST:
        raise invalid_parameter(name, f"must lie between {EARLIEST:%Y} and {LATEST:%Y}")
    return at.astimezone(UTC)


def parse_range(
    from_: str | None, to: str | None, now: datetime, *, default: timedelta | None, longest: timedelta | None = None
) -> TimeRange:
    """The range of a request; without ``from``, ``default`` up to its end (None: since the beginning).

    Raises:
        Refused: it is empty, longer than ``longest``, or not a range at all.
    """
    to_at = parse_instant(to, "to", now) if to else (now if default else LATEST)
    from_at = parse_instant(from_, "from", now) if from_ else (to_at - default if default else EARLIEST)
    if from_at >= to_at:
        raise invalid_parameter("from", "must be before `to`")
    if longest and to_at - from_at > longest:
        raise invalid_parameter("from", f"must be at most {longest.days} days before `to`")
    return TimeRange(from_at, to_at)
