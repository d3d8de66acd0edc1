"""How bad a filter is: from its level, from what is left of its life, and from what was said before. Pure.

*Level* = smoothed ratio (1 = at the rated limit). 1 advisory: a quarter of the limit. 2 service due: the forecast's
share of life left is small, or the level is close to the limit. 3: at the limit. 4: at twice the limit. What was said
once stands until the level tells of another filter; only 4 and 3 fall back as the level falls.
"""

from dataclasses import dataclass

import msgspec

VERSION = 1

ADVISORY, SERVICE_DUE, FAULTY, STOP = 1, 2, 3, 4

ADVISORY_LEVEL = 0.25
"""M1: index 5 of a rated 20 (domain §2.8)."""
NEAR_LEVEL = 0.8
"""Service due whatever a forecast says, and without any."""
LIMIT, TWICE = 1.0, 2.0
BELOW_LIMIT = 0.95
"""A level must fall this far to be below the limit again: noise around it is one fault."""
DUE_LEVEL = 0.1
"""A filter this clean is not due: a forecast may be wrong about an unusual filter, a drop this small is harmless."""
DUE_SPAN = 0.02
"""A share of its life for which a filter's forecast must have said that it is due: one forecast may be a whim."""
OTHER_FILTER = 0.5
"""A level this far below the highest one tells of another filter, or a cleaned one (domain §3.4)."""
SURE_LEVEL = 0.15
"""Highest level from which on a fall counts: below it, noise falls by half."""


@dataclass(frozen=True, slots=True)
class Patience:
    """What it takes to change an opinion.

    Attributes:
        raise_s, clear_s: how long a level must hold, in pumping seconds; a single value counts for at most a quarter.
        limit: level at which the filter has reached its limit.
    """

    raise_s: float
    clear_s: float
    limit: float = LIMIT


SAMPLES = Patience(10.0, 60.0)
"""For values of single samples: a fault shorter than 10 s or 3 strokes is none."""
SESSIONS = Patience(0.0, 0.0)
"""For values of whole sessions."""
WITHIN_SESSION = Patience(10.0, 60.0, 1.05)
"""For samples where sessions tell the limit: a level of seconds differs from its session's by up to 4 %, some sessions'
growth, so that the limit would be reached on another day by each."""
STEPS = 4


class Standing(msgspec.Struct):
    """What is remembered of one filter's judgement; JSON-able.

    Attributes:
        severity: the opinion last told; None = none yet, 0 = no fault.
        peak: highest level of this filter that held.
        advisory_s, near_s, below_s, fallen_s, low_s: for how long the level has been at or above `ADVISORY_LEVEL`, at
            or above `NEAR_LEVEL`, below `BELOW_LIMIT`, at or below `OTHER_FILTER` x peak, below `ADVISORY_LEVEL`;
            None = it is not.
        due_from_s: exposure since when the forecast says due; None = it does not.
        is_due: whether it has said so for long enough.
        has_failed: whether the limit was reached.
    """

    severity: int | None = None
    peak: float = 0.0
    advisory_s: float | None = None
    near_s: float | None = None
    below_s: float | None = None
    fallen_s: float | None = None
    low_s: float | None = None
    due_from_s: float | None = None
    is_due: bool = False
    has_failed: bool = False


def note_level(
    standing: Standing, level: float, pumped_s: float, patience: Patience = SAMPLES, *, grown: float | None = None
) -> None:
    """Move the timers on by one value.

    Args:
        grown: level by which an advisory is due; None = ``level``.
    """
    raising, clearing = patience.raise_s, patience.clear_s
    is_advised = (level if grown is None else grown) >= ADVISORY_LEVEL
    standing.advisory_s = _timer(standing.advisory_s, pumped_s, raising, runs=is_advised)
    standing.near_s = _timer(standing.near_s, pumped_s, raising, runs=level >= NEAR_LEVEL)
    standing.below_s = _timer(standing.below_s, pumped_s, clearing, runs=level < BELOW_LIMIT)
    standing.low_s = _timer(standing.low_s, pumped_s, clearing, runs=not is_advised)
    has_fallen = standing.peak >= SURE_LEVEL and level <= OTHER_FILTER * standing.peak
    standing.fallen_s = _timer(standing.fallen_s, pumped_s, clearing, runs=has_fallen)
    if level > standing.peak:
        standing.peak = level


def note_share(standing: Standing, share_left: float, exposure_s: float, level: float, *, due_share: float) -> None:
    """Take in a new forecast's median share of life left, made at this exposure; it is due from ``due_share`` on."""
    if share_left > due_share or level < DUE_LEVEL:
        standing.due_from_s = None
    elif standing.due_from_s is None:
        standing.due_from_s = exposure_s
    elif exposure_s >= standing.due_from_s * (1 + DUE_SPAN):
        standing.is_due = True


def is_other_filter(standing: Standing, patience: Patience = SAMPLES) -> bool:
    """Whether the level has fallen so far and for so long that this is not the same filter."""
    return _has_run_out(standing.fallen_s, patience.clear_s)


def judge(standing: Standing, level: float, patience: Patience = SAMPLES) -> bool:
    """Change the opinion where a delay has run out; returns whether it changed."""
    before = standing.severity
    standing.severity = _severity(standing, level, patience)
    standing.has_failed = standing.has_failed or (standing.severity or 0) >= FAULTY
    return standing.severity != before


def _severity(standing: Standing, level: float, patience: Patience) -> int | None:
    before = standing.severity or 0
    is_near = before >= SERVICE_DUE or _has_run_out(standing.near_s, patience.raise_s)
    if is_near and level >= TWICE:
        return STOP
    if is_near and level >= patience.limit:
        return max(before, FAULTY)
    if before >= FAULTY and not _has_run_out(standing.below_s, patience.clear_s):
        return before
    if is_near or standing.is_due:
        return SERVICE_DUE
    is_worse_to_come = standing.near_s is not None
    if before == ADVISORY or (_has_run_out(standing.advisory_s, patience.raise_s) and not is_worse_to_come):
        return ADVISORY
    return 0 if standing.severity == 0 or _has_run_out(standing.low_s, patience.clear_s) else None


def _timer(elapsed: float | None, pumped_s: float, delay: float, *, runs: bool) -> float | None:
    if not runs:
        return None
    return 0.0 if elapsed is None else elapsed + min(pumped_s, delay / STEPS)


def _has_run_out(elapsed: float | None, delay: float) -> bool:
    return elapsed is not None and elapsed >= delay
