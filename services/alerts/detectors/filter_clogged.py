"""Intake filter clogged: its pressure drop against the limit of the device model, and what is left of its life.

*Ratio* of one sample = pressure drop at rated flow / rated limit. Dust on a filter resists in proportion to the flow,
so a drop measured at another flow is scaled by rated/actual flow, actual at the mean pressure in the filter, because a
litre at standard conditions takes more room under vacuum (Darcy; the quadratic part of a loaded filter is within sensor
error). Without a flow sensor the drop is taken as it is: in contact the flow is lower, so such a machine is judged
late, never early. The *level* is the ratio's median of five, smoothed over seconds of pumping. The level and the
forecast from the filter's course so far decide (`forecast.judge`).

Not observable, hence silent: no limit in the model, no pressure drop measured, or flow fitted but missing or too low.
"""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.forecast.curve import Curve, advance
from services.alerts.forecast.judge import (
    ADVISORY,
    ADVISORY_LEVEL,
    FAULTY,
    LIMIT,
    NEAR_LEVEL,
    OTHER_FILTER,
    SAMPLES,
    SERVICE_DUE,
    STOP,
    TWICE,
    Standing,
    is_other_filter,
    judge,
    note_level,
    note_share,
)
from services.alerts.forecast.library import Library
from services.alerts.forecast.remaining import Forecast, Usage, forecast
from services.alerts.limits import Limits
from services.alerts.observation import Block, Floats, Observation, Origin, Value, utc
from services.alerts.tuning import FIRST

FAULT = "filter_clogged"
COMPONENT = "main"
VERSION = 2
CHANNELS = ("filter_dp_kpa", "flow_lpm", "pump_on", "vacuum_inlet_kpa", "ambient_kpa")

SMOOTHING_MS = 10_000
"""Several strokes (contact and lift) of a treatment."""
MIN_SAMPLES = 5
"""Median of so many."""
MAX_GAIN = 0.25
"""After a pause the level still takes several samples to follow."""
MIN_FLOW = 0.3
"""Share of the rated flow below which noise, scaled up, would drown the ratio."""
MAX_RATIO = 3.0
MAX_PAUSE_MS = 3_600_000
"""The longest gap between two samples with the pump on that counts as pumping."""
LOOK_AGAIN = 1.02
MIN_LOOK_S = 1.0
"""A filter is forecast again when its exposure has grown by 2 %, and by 1 s."""
TELL_STEP = 0.1
"""An alarm's numbers are renewed when the level has moved this far."""
COVERAGE_GAIN = 1 / 64
NOISE_GAIN = 1 / 32
STANDARD_KPA = 101.325
MIN_MEAN_KPA = 10.0


class State(msgspec.Struct):
    """What is remembered between entries; becomes JSON in `detector_state.state`.

    Attributes:
        standing: the opinion and its timers.
        curve: the course of this filter.
        boot, up_ms, at_ms: the last usable sample.
        was_on: whether the pump ran at the last sample.
        recent: the last ratios, oldest first, for the median.
        level: smoothed ratio.
        noise: mean absolute deviation of the ratio from the level.
        coverage: share of usable samples among those with the pump on.
        has_flow: a flow was measured once, so a sample without it is unusable.
        forecast: the last one; None = none yet.
        looked_s: exposure at it.
        risen_at_ms, fallen_at_ms: event time from which the level has been at or above, below the advisory level.
        told: the level last told; told_sure: whether with a confidence that lets an alarm be a fault.
        samples: usable samples so far.
    """

    version: int = VERSION
    standing: Standing = msgspec.field(default_factory=Standing)
    curve: Curve = msgspec.field(default_factory=Curve)
    boot: str | None = None
    up_ms: int = 0
    at_ms: int = 0
    was_on: bool = False
    recent: list[float] = msgspec.field(default_factory=list)
    level: float = 0.0
    noise: float = 0.0
    coverage: float = 1.0
    has_flow: bool = False
    forecast: Forecast | None = None
    looked_s: float = 0.0
    risen_at_ms: int | None = None
    fallen_at_ms: int | None = None
    told: float = 0.0
    told_sure: bool = True
    samples: int = 0


_NONE = Library()
_ANY = Usage()


def evaluate(
    state: State,
    block: Block,
    limits: Limits,
    library: Library | None = _NONE,
    usage: Usage = _ANY,
    *,
    due_share: float = FIRST.filter_due_share,
) -> list[Observation]:
    """Take in one entry's samples; changes `state`, returns the opinions that changed, oldest first.

    Without a library nothing is forecast: the level alone decides. The result depends only on the entries and their
    order, not on how they are grouped into calls.
    """
    if limits.filter_dp_kpa is None:
        return []
    state.has_flow = state.has_flow or bool(np.isfinite(block.channel("flow_lpm")).any())
    is_on, ratios = find_ratios(block, limits, has_flow=state.has_flow)
    usable = np.isfinite(ratios)
    changes: list[Observation] = []
    course = _Course(state)
    for i, runs in enumerate(is_on.tolist()):
        if runs:
            state.coverage += COVERAGE_GAIN * (float(usable[i]) - state.coverage)
        if usable[i]:
            course.note(_take(state, block, i, float(ratios[i])), float(ratios[i]))
            if library is not None and course.is_due:
                course.close()
                _look(state, library, usage, due_share)
            is_other = is_other_filter(state.standing)
            if is_other:
                course.close()
            if _decide(state):
                changes.append(_observation(state, block, i, limits))
            if is_other:
                course = _Course(state)
        state.was_on = runs
    course.close()
    return changes


class _Course:
    """Values on their way into the curve, which takes many at once far faster than one by one."""

    def __init__(self, state: State) -> None:
        self._state, self._exposure_s = state, state.curve.exposure_s
        self._pumped_s: list[float] = []
        self._ratios: list[float] = []

    def note(self, pumped_s: float, ratio: float) -> None:
        self._pumped_s.append(pumped_s)
        self._ratios.append(ratio)
        self._exposure_s += pumped_s

    @property
    def is_due(self) -> bool:
        """Whether the filter is notably older than at its last forecast."""
        looked_s = self._state.looked_s
        return self._exposure_s >= max(looked_s * LOOK_AGAIN, looked_s + MIN_LOOK_S)

    def close(self) -> None:
        advance(self._state.curve, self._pumped_s, self._ratios)
        self._pumped_s, self._ratios = [], []


def replaced(state: State) -> None:
    """Begin with a new filter: its course, and what was said of the old one, are forgotten; the level is not."""
    severity = state.standing.severity
    state.standing, state.curve = Standing(severity=None if severity is None else 0), Curve()
    state.forecast, state.looked_s = None, 0.0


def find_ratios(block: Block, limits: Limits, *, has_flow: bool) -> tuple[NDArray[np.bool_], Floats]:
    """Whether the pump runs, and the ratio of each sample (1 = at the limit).

    Returns:
        shapes (n,) and (n,); the ratio is NaN where it cannot be compared, and between 0 and `MAX_RATIO` elsewhere.
    """
    dp, flow, pump = block.channel("filter_dp_kpa"), block.channel("flow_lpm"), block.channel("pump_on")
    rated = limits.filter_flow_lpm
    actual = flow * STANDARD_KPA / _mean_pressure(block, dp)
    is_flowing = flow > 0 if rated is None else actual >= MIN_FLOW * rated
    is_on = np.where(np.isnan(pump), is_flowing, pump >= 0.5)
    ratio = dp / (limits.filter_dp_kpa or math.nan)
    if has_flow and rated is not None:
        ratio = np.where(is_flowing, ratio * rated / np.where(is_flowing, actual, 1.0), np.nan)
    ratio = np.where(is_on, np.clip(ratio, 0.0, MAX_RATIO), np.nan)
    return is_on, ratio


def _mean_pressure(block: Block, dp: Floats) -> Floats:
    """Absolute pressure in the middle of the filter, kPa, shape (n,); standard pressure where it is not known."""
    ambient = np.nan_to_num(block.channel("ambient_kpa"), nan=STANDARD_KPA)
    vacuum = block.channel("vacuum_inlet_kpa")
    mean = ambient - vacuum + np.nan_to_num(dp) / 2
    return np.where(np.isnan(vacuum), STANDARD_KPA, np.maximum(mean, MIN_MEAN_KPA))


def _take(state: State, block: Block, i: int, ratio: float) -> float:
    """Move level, noise and timers on by one usable sample; returns the pumping seconds since the one before."""
    at_ms = int(block.at_ms[i])
    up_ms = block.up_ms + at_ms - int(block.at_ms[0])
    is_same_boot = block.boot == state.boot
    pause = max(up_ms - state.up_ms if is_same_boot else at_ms - state.at_ms, 0)
    state.boot, state.up_ms, state.at_ms = block.boot, up_ms, at_ms
    state.recent = [*state.recent[1 - MIN_SAMPLES :], ratio]
    median = sorted(state.recent)[len(state.recent) // 2]
    if state.samples == 0:
        state.level = median
    state.samples += 1
    state.level += min(1 - math.exp(-pause / SMOOTHING_MS), MAX_GAIN) * (median - state.level)
    state.noise += NOISE_GAIN * (abs(ratio - state.level) - state.noise)
    note_level(state.standing, state.level, pause / 1000)
    if state.level >= ADVISORY_LEVEL:
        state.risen_at_ms, state.fallen_at_ms = state.risen_at_ms or at_ms, None
    else:
        state.risen_at_ms, state.fallen_at_ms = None, state.fallen_at_ms or at_ms
    return min(pause, MAX_PAUSE_MS) / 1000 if state.was_on and is_same_boot else 0.0


def _look(state: State, library: Library, usage: Usage, due_share: float) -> None:
    exposure_s = state.looked_s = state.curve.exposure_s
    state.forecast = forecast(state.curve, library, usage)
    if state.forecast is not None and state.forecast.basis == "library":
        note_share(state.standing, state.forecast.share_left, exposure_s, state.level, due_share=due_share)


def _decide(state: State) -> bool:
    """Change the opinion where a delay has run out; returns whether there is something to tell."""
    if is_other_filter(state.standing):
        has_changed = bool(state.standing.severity)
        replaced(state)
    else:
        has_changed = judge(state.standing, state.level)
    has_moved = bool(state.standing.severity) and abs(state.level - state.told) >= TELL_STEP
    is_surer = bool(state.standing.severity) and not state.told_sure and find_confidence(state) >= FIRST.sure
    if not has_changed and not has_moved and not is_surer:
        return False
    state.told, state.told_sure = state.level, find_confidence(state) >= FIRST.sure
    return True


def _observation(state: State, block: Block, i: int, limits: Limits) -> Observation:
    severity = state.standing.severity
    since_ms = state.risen_at_ms if severity else state.fallen_at_ms
    return Observation(
        component=COMPONENT,
        fault=FAULT,
        severity=severity or None,
        at=utc(int(block.at_ms[i])),
        origin=Origin(block.epoch, block.seq, i),
        confidence=find_confidence(state),
        detector=FAULT,
        detector_version=VERSION,
        reason=_reason(state),
        detail={
            "ratio": round(state.level, 4),
            "level": _THRESHOLDS.get(severity or 0, ADVISORY_LEVEL),
            "dp_kpa": _rounded(block.channel("filter_dp_kpa")[i]),
            "flow_lpm": _rounded(block.channel("flow_lpm")[i]),
            "limit_kpa": limits.filter_dp_kpa,
            "limit_flow_lpm": limits.filter_flow_lpm,
            "since": utc(since_ms or int(block.at_ms[i])).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "samples": state.samples,
            "window_s": SMOOTHING_MS / 1000,
            "noise": round(state.noise, 4),
            "coverage": round(state.coverage, 4),
            **_expected(state.forecast),
        },
    )


_THRESHOLDS = {ADVISORY: ADVISORY_LEVEL, SERVICE_DUE: NEAR_LEVEL, FAULTY: LIMIT, STOP: TWICE}


def _expected(found: Forecast | None) -> dict[str, Value]:
    """What the forecast says, for the evidence."""
    if found is None:
        return {}
    return {
        "share_left": round(found.share_left, 3),
        "hours_left_p10": round(found.remaining_hours.p10, 2),
        "hours_left_p50": round(found.remaining_hours.p50, 2),
        "hours_left_p90": round(found.remaining_hours.p90, 2),
        "basis": found.basis,
        "filters": found.filters,
    }


def _reason(state: State) -> str:
    at, severity = f"at {state.level:.0%} of the rated limit", state.standing.severity
    if not severity:
        return f"{at}; below {ADVISORY_LEVEL:.0%} for {SAMPLES.clear_s:.0f} s of pumping"
    if severity >= STOP:
        return f"{at}; from {TWICE:.0%} on no session may go on"
    if severity == FAULTY:
        return f"{at}; from 100% on it is a fault"
    if severity == ADVISORY:
        return f"{at}; from {ADVISORY_LEVEL:.0%} on a change is worth planning"
    if state.standing.is_due and state.forecast is not None:
        share, filters = state.forecast.share_left, state.forecast.filters
        return f"{at}; about {share:.0%} of its life left by the courses of {filters} earlier filters"
    return f"{at}; service is due from {NEAR_LEVEL:.0%} for {SAMPLES.raise_s:.0f} s of pumping"


def find_confidence(state: State) -> float:
    """How sure the present opinion is: coverage x margin / (margin + noise), x 0.8 without a flow sensor.

    Margin is the distance of the level from where the opposite opinion begins: half the highest level for a fault,
    the advisory level for none. Service due by a forecast alone is at most as sure as the forecast is that it is time.
    """
    standing = state.standing
    opposite = state.level - OTHER_FILTER * standing.peak if standing.severity else ADVISORY_LEVEL - state.level
    margin = max(opposite, 0.0)
    share = margin / (margin + state.noise) if margin else 0.0
    if standing.severity == SERVICE_DUE and state.level < NEAR_LEVEL and state.forecast is not None:
        share = min(share, state.forecast.due_probability)
    return round(state.coverage * share * (1.0 if state.has_flow else 0.8), 4)


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)
