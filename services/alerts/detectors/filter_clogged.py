"""Intake filter clogged: its pressure drop against the limit of the device model, and what is left of its life.

*Ratio* of one sample = pressure drop at rated flow / rated limit. Dust on a filter resists in proportion to the flow,
so a drop measured at another flow is scaled by rated/actual flow, actual at the mean pressure in the filter, because a
litre at standard conditions takes more room under vacuum (Darcy; the quadratic part of a loaded filter is within sensor
error). Without a flow sensor the drop is taken as it is: in contact the flow is lower, so such a machine is judged
late, never early. The *level* is the ratio's median over two seconds (`filter_ticks`), smoothed over more of pumping.
The level and the forecast from the filter's course so far decide (`forecast.judge`).

Not observable, hence silent: no limit in the model, no pressure drop measured, or flow fitted but missing or too low.
"""

import math

import msgspec

from services.alerts.detectors import filter_ticks
from services.alerts.detectors.filter_ticks import Tick
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
    Patience,
    Standing,
    is_other_filter,
    judge,
    note_level,
    note_share,
)
from services.alerts.forecast.library import Library
from services.alerts.forecast.remaining import Forecast, Usage, forecast
from services.alerts.limits import Limits
from services.alerts.observation import Block, Observation, Origin, Value, utc
from services.alerts.tuning import FIRST

FAULT = "filter_clogged"
COMPONENT = "main"
VERSION = 3
CHANNELS = ("filter_dp_kpa", "flow_lpm", "pump_on", "vacuum_inlet_kpa", "ambient_kpa")

SMOOTHING_S = 10.0
"""Several strokes (contact and lift) of a treatment."""
MIN_SAMPLES = 5
"""Median of at least so many: fewer are spikes."""
MAX_GAIN = 0.25
"""Of a tick: after sparse samples the level still takes several to follow."""
LOOK_AGAIN = 1.02
MIN_LOOK_S = 1.0
"""A filter is forecast again when its exposure has grown by 2 %, and by 1 s."""
TELL_STEP = 0.1
"""An alarm's numbers are renewed when the level has moved this far."""
COVERAGE_GAIN = 1 / 64
NOISE_GAIN = 1 / 32
"""Per sample."""


class State(msgspec.Struct):
    """What is remembered between entries; becomes JSON in `detector_state.state`.

    Attributes:
        standing: the opinion and its timers.
        ticks: samples on their way into ticks.
        curve: the course of this filter; empty where nothing is forecast.
        recent: the last ratios, oldest first, for the median of sparse samples.
        level: smoothed ratio.
        noise: mean absolute deviation of the ratio from the level.
        coverage: share of usable samples among those with the pump on.
        pumped_ms: pumping time since the last usable tick.
        forecast: the last one; None = none yet.
        looked_s: exposure at it.
        risen_at_ms, fallen_at_ms: event time from which the level has been at or above, below the advisory level.
        told: the level last told; told_sure: whether with a confidence that lets an alarm be a fault.
        samples: usable samples so far.
    """

    version: int = VERSION
    standing: Standing = msgspec.field(default_factory=Standing)
    ticks: filter_ticks.State = msgspec.field(default_factory=filter_ticks.State)
    curve: Curve = msgspec.field(default_factory=Curve)
    recent: list[float] = msgspec.field(default_factory=list)
    level: float = 0.0
    noise: float = 0.0
    coverage: float = 1.0
    pumped_ms: int = 0
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
    patience: Patience = SAMPLES,
) -> list[Observation]:
    """Take in one entry's samples; changes `state`, returns the opinions that changed, oldest first.

    Without a library nothing is forecast: the level alone decides, with ``patience``. The result depends only on the
    entries and their order, not on how they are grouped into calls.
    """
    if limits.filter_dp_kpa is None or not len(block.at_ms):
        return []
    changes: list[Observation] = []
    course = _Course(state)
    for after, tick in filter_ticks.take(state.ticks, block, limits):
        pumped_s = _take(state, tick)
        if pumped_s is None:
            continue
        if library is not None:
            course.note(pumped_s, tick.ratios)
            if course.is_due:
                course.close()
                _look(state, library, usage, due_share)
        is_other = is_other_filter(state.standing)
        if is_other:
            course.close()
        if _decide(state, patience):
            changes.append(_observation(state, tick, block, after, limits))
        if is_other:
            course = _Course(state)
    course.close()
    return changes


class _Course:
    """Values on their way into the curve, which takes many at once far faster than one by one."""

    def __init__(self, state: State) -> None:
        self._state, self._exposure_s = state, state.curve.exposure_s
        self._pumped_s: list[float] = []
        self._ratios: list[float] = []

    def note(self, pumped_s: float, ratios: list[float]) -> None:
        self._pumped_s.append(pumped_s)
        self._ratios.append(_median(ratios))
        self._exposure_s += pumped_s

    @property
    def is_due(self) -> bool:
        """Whether the filter is notably older than at its last forecast."""
        looked_s = self._state.looked_s
        return self._exposure_s >= max(looked_s * LOOK_AGAIN, looked_s + MIN_LOOK_S)

    def close(self) -> None:
        if self._ratios:
            advance(self._state.curve, self._pumped_s, self._ratios)
        self._pumped_s, self._ratios = [], []


def replaced(state: State) -> None:
    """Begin with a new filter: its course, and what was said of the old one, are forgotten; the level is not."""
    severity = state.standing.severity
    state.standing, state.curve = Standing(severity=None if severity is None else 0), Curve()
    state.forecast, state.looked_s = None, 0.0


def distrust(state: State) -> None:
    """A channel that it rests on has become suspect: the last values no longer count towards a worse opinion."""
    state.ticks.tick, state.recent, state.samples = None, [], 0
    state.standing.near_s = state.standing.advisory_s = None


def _take(state: State, tick: Tick) -> float | None:
    """Move level, noise and timers on; returns the pumping seconds since the last usable tick, None if it has no value.

    The level follows the median of the tick's samples, and of at least `MIN_SAMPLES`: sparse samples reach back.
    """
    ratios = tick.ratios
    state.pumped_ms += tick.pumped_ms
    if tick.running:
        gain = 1 - (1 - COVERAGE_GAIN) ** tick.running
        state.coverage += gain * (len(ratios) / tick.running - state.coverage)
    if not ratios:
        return None
    pumped_s, state.pumped_ms = state.pumped_ms / 1000, 0
    median = _median(ratios if len(ratios) >= MIN_SAMPLES else [*state.recent, *ratios][-MIN_SAMPLES:])
    state.recent = [*state.recent, *ratios][1 - MIN_SAMPLES :]
    if state.samples == 0:
        state.level = median
    state.samples += len(ratios)
    level = state.level = state.level + min(1 - math.exp(-pumped_s / SMOOTHING_S), MAX_GAIN) * (median - state.level)
    deviation = sum([abs(ratio - level) for ratio in ratios]) / len(ratios)
    state.noise += (1 - (1 - NOISE_GAIN) ** len(ratios)) * (deviation - state.noise)
    note_level(state.standing, level, pumped_s)
    if level >= ADVISORY_LEVEL:
        state.risen_at_ms, state.fallen_at_ms = state.risen_at_ms or tick.at_ms, None
    else:
        state.risen_at_ms, state.fallen_at_ms = None, state.fallen_at_ms or tick.at_ms
    return pumped_s


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _look(state: State, library: Library, usage: Usage, due_share: float) -> None:
    exposure_s = state.looked_s = state.curve.exposure_s
    state.forecast = forecast(state.curve, library, usage)
    if state.forecast is not None and state.forecast.basis == "library":
        note_share(state.standing, state.forecast.share_left, exposure_s, state.level, due_share=due_share)


def _decide(state: State, patience: Patience) -> bool:
    """Change the opinion where a delay has run out; returns whether there is something to tell."""
    if is_other_filter(state.standing):
        has_changed = bool(state.standing.severity)
        replaced(state)
    else:
        has_changed = judge(state.standing, state.level, patience)
    has_moved = bool(state.standing.severity) and abs(state.level - state.told) >= TELL_STEP
    is_surer = bool(state.standing.severity) and not state.told_sure and find_confidence(state) >= FIRST.sure
    if not has_changed and not has_moved and not is_surer:
        return False
    state.told, state.told_sure = state.level, find_confidence(state) >= FIRST.sure
    return True


def _observation(state: State, tick: Tick, block: Block, after: int, limits: Limits) -> Observation:
    """Told at the sample with which the tick was known to be over."""
    severity = state.standing.severity
    since_ms = state.risen_at_ms if severity else state.fallen_at_ms
    return Observation(
        component=COMPONENT,
        fault=FAULT,
        severity=severity or None,
        at=utc(int(block.at_ms[after])),
        origin=Origin(block.epoch, block.seq, after),
        confidence=find_confidence(state),
        detector=FAULT,
        detector_version=VERSION,
        reason=_reason(state),
        detail={
            "ratio": round(state.level, 4),
            "level": _THRESHOLDS.get(severity or 0, ADVISORY_LEVEL),
            "dp_kpa": tick.dp_kpa,
            "flow_lpm": tick.flow_lpm,
            "limit_kpa": limits.filter_dp_kpa,
            "limit_flow_lpm": limits.filter_flow_lpm,
            "since": utc(since_ms or tick.at_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "samples": state.samples,
            "window_s": SMOOTHING_S,
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
    return round(state.coverage * share * (1.0 if state.ticks.has_flow else 0.8), 4)
