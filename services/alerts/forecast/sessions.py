"""A machine's intake filter from session to session: judgement, forecast and the evening warning.

For machines whose sessions give one resistance each; rigs that just run are judged by their samples
(`detectors.filter_clogged`).
"""

from dataclasses import dataclass

import msgspec

from services.alerts.forecast.curve import Curve, advance
from services.alerts.forecast.judge import (
    SESSIONS,
    Standing,
    is_other_filter,
    judge,
    note_level,
    note_share,
)
from services.alerts.forecast.library import Library
from services.alerts.forecast.life import Load
from services.alerts.forecast.pace import Pace, take_day
from services.alerts.forecast.remaining import Forecast, Usage, forecast, will_cross_within
from services.alerts.tuning import FIRST

WARN_PROBABILITY = 0.3
"""Of crossing the limit on the next opening day, from which on the evening warning is given.

A filter that clogs during a working day costs more than one looked at in vain: on simulated machines this misses one in
thirty, and one warning in five is wrong."""


class State(msgspec.Struct):
    """What is remembered of a component's filter between its sessions; JSON-able, about 12 kB.

    Attributes:
        day: local day (days since 1970) of the last session; None = none yet.
        day_sessions, day_pumped_s: of that day so far.
    """

    standing: Standing = msgspec.field(default_factory=Standing)
    curve: Curve = msgspec.field(default_factory=Curve)
    pace: Pace = msgspec.field(default_factory=Pace)
    day: int | None = None
    day_sessions: int = 0
    day_pumped_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a session led to.

    Attributes:
        severity: 1 to 4; 0 = no fault, None = no opinion yet.
        has_changed: whether it differs from before.
        ended: the curve that ended before this session, because the level told of another filter; None = it goes on.
        forecast: None = too little is known.
        evening_probability: of reaching the limit on the next opening day; None = not known.
    """

    severity: int | None
    has_changed: bool
    ended: Curve | None
    forecast: Forecast | None
    evening_probability: float | None


def take_session(
    state: State,
    pumped_s: float,
    ratio: float,
    library: Library,
    load: Load,
    *,
    due_share: float = FIRST.filter_due_share,
    grown: float | None = None,
) -> Judgement:
    """Take in one finished session; changes ``state``.

    Args:
        pumped_s: pumping seconds of the session, > 0.
        ratio: filter resistance / rated limit, median of the session (M1: filter index / 20).
        due_share: share of life left from which service is due.
        grown: ratio by which an advisory is due, relative to this machine's own clean filter; None = ``ratio``.
    """
    before = state.standing.severity
    note_level(state.standing, ratio, pumped_s, SESSIONS, grown=grown)
    ended = None
    if is_other_filter(state.standing, SESSIONS):
        ended = state.curve
        replaced(state)
        note_level(state.standing, ratio, pumped_s, SESSIONS, grown=grown)
    advance(state.curve, pumped_s, ratio, values_at_limit=1)
    usage = Usage(load, state.pace)
    found = forecast(state.curve, library, usage)
    if found is not None and found.basis == "library":
        note_share(state.standing, found.share_left, state.curve.exposure_s, ratio, due_share=due_share)
    judge(state.standing, ratio, SESSIONS)
    return Judgement(
        severity=state.standing.severity,
        has_changed=state.standing.severity != before,
        ended=ended,
        forecast=found,
        evening_probability=will_cross_within(state.curve, library, usage),
    )


def note_day(state: State, day: int, pumped_s: float) -> None:
    """Count a session for the machine's pace. ``day`` = local day of its end, in days since 1970; changes ``state``."""
    if state.day is None:
        state.day = day
    if day > state.day:
        take_day(state.pace, state.day_sessions, state.day_pumped_s)
        for _ in range(min(day - state.day - 1, 366)):
            take_day(state.pace, 0, 0.0)
        state.day, state.day_sessions, state.day_pumped_s = day, 0, 0.0
    state.day_sessions += 1
    state.day_pumped_s += pumped_s


def replaced(state: State) -> None:
    """Begin with a new filter (maintenance record): what was said of the old one is forgotten, the pace is not."""
    severity = state.standing.severity
    state.standing, state.curve = Standing(severity=None if severity is None else 0), Curve()
