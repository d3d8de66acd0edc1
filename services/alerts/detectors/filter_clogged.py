"""Intake filter clogged: its pressure drop against the limit of the device model.

*Ratio* of one sample = pressure drop at rated flow / rated limit. Dust on a filter resists in proportion to the flow,
so a drop measured at another flow is scaled by rated/actual flow, actual at the mean pressure in the filter, because a
litre at standard conditions takes more room under vacuum (Darcy; the quadratic part of a loaded filter is within sensor
error). Without a flow sensor the drop is taken as it is: in contact the flow is lower, so such a machine is judged
late, never early. The *level* is the ratio's median of five, smoothed over seconds of pumping; the state machine sees
only the level.

Not observable, hence silent: no limit in the model, no pressure drop measured, or flow fitted but missing or too low.
"""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.limits import Limits
from services.alerts.observation import Block, Floats, Observation, Origin, utc

FAULT = "filter_clogged"
COMPONENT = "main"
VERSION = 1
CHANNELS = ("filter_dp_kpa", "flow_lpm", "pump_on", "vacuum_inlet_kpa", "ambient_kpa")

SERVICE_DUE = 2
FAULTY = 3

RAISE = 0.8
"""Service due: a filter loads faster the fuller it is, so the last fifth of the limit leaves time for one visit."""
CLEAR = 0.6
"""Well below `RAISE`: only another filter (or a cleaned one) brings the level back here."""
RAISE_DELAY_MS = 10_000
CLEAR_DELAY_MS = 60_000
"""Of pumping, not of the calendar. A fault shorter than 10 s or 3 strokes is none."""
SMOOTHING_MS = 10_000
"""Several strokes (contact and lift) of a treatment."""

MIN_SAMPLES = 5
"""A pause between samples counts at most 1/4 of a delay, so it takes this many samples to agree, however sparse."""
MAX_GAIN = 0.25
"""Likewise for smoothing: after a pause the level still takes several samples to follow."""
MIN_FLOW = 0.3
"""Share of the rated flow below which noise, scaled up, would drown the ratio."""
MAX_RATIO = 3.0
TELL_STEP = 0.1
"""An alarm's numbers are renewed when the level has moved this far."""
COVERAGE_GAIN = 1 / 64
NOISE_GAIN = 1 / 32
STANDARD_KPA = 101.325
MIN_MEAN_KPA = 10.0


class State(msgspec.Struct):
    """What is remembered between entries; becomes JSON in `detector_state.state`.

    Attributes:
        severity: the opinion last told; None = none yet, 0 = no fault.
        boot, up_ms, at_ms: the last usable sample.
        recent: the last ratios, oldest first, for the median.
        level: smoothed ratio.
        noise: mean absolute deviation of the ratio from the level.
        coverage: share of usable samples among those with the pump on.
        has_flow: a flow was measured once, so a sample without it is unusable.
        above_ms, below_ms, clear_ms: how long the level has been at or above `RAISE`, below the limit, at or below
            `CLEAR`; None = it is not.
        above_at_ms, clear_at_ms: event time at which the first and the last of them began.
        told: the level last told.
        samples: usable samples so far.
    """

    version: int = VERSION
    severity: int | None = None
    boot: str | None = None
    up_ms: int = 0
    at_ms: int = 0
    recent: list[float] = msgspec.field(default_factory=list)
    level: float = 0.0
    noise: float = 0.0
    coverage: float = 1.0
    has_flow: bool = False
    above_ms: int | None = None
    above_at_ms: int = 0
    below_ms: int | None = None
    clear_ms: int | None = None
    clear_at_ms: int = 0
    told: float = 0.0
    samples: int = 0


def evaluate(state: State, block: Block, limits: Limits) -> list[Observation]:
    """Take in one entry's samples; changes `state`, returns the opinions that changed, oldest first.

    The result depends only on the entries and their order, not on how they are grouped into calls.
    """
    if limits.filter_dp_kpa is None:
        return []
    state.has_flow = state.has_flow or bool(np.isfinite(block.channel("flow_lpm")).any())
    is_on, ratios = find_ratios(block, limits, has_flow=state.has_flow)
    usable = np.isfinite(ratios)
    changes: list[Observation] = []
    for i in np.flatnonzero(is_on):
        state.coverage += COVERAGE_GAIN * (float(usable[i]) - state.coverage)
        if not usable[i]:
            continue
        _take(state, block, int(i), float(ratios[i]))
        if _decide(state):
            changes.append(_observation(state, block, int(i), limits))
    return changes


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


def _take(state: State, block: Block, i: int, ratio: float) -> None:
    """Move level, noise and timers on by one usable sample."""
    at_ms = int(block.at_ms[i])
    up_ms = block.up_ms + at_ms - int(block.at_ms[0])
    pause = up_ms - state.up_ms if block.boot == state.boot else at_ms - state.at_ms
    pause = max(pause, 0)
    state.boot, state.up_ms, state.at_ms = block.boot, up_ms, at_ms
    state.recent = [*state.recent[1 - MIN_SAMPLES :], ratio]
    median = sorted(state.recent)[len(state.recent) // 2]
    if state.samples == 0:
        state.level = median
    state.samples += 1
    state.level += min(1 - math.exp(-pause / SMOOTHING_MS), MAX_GAIN) * (median - state.level)
    state.noise += NOISE_GAIN * (abs(ratio - state.level) - state.noise)

    if state.above_ms is None and state.level >= RAISE:
        state.above_at_ms = at_ms
    state.above_ms = _timer(state.above_ms, pause, RAISE_DELAY_MS, runs=state.level >= RAISE)
    state.below_ms = _timer(state.below_ms, pause, CLEAR_DELAY_MS, runs=state.level < 1)
    if state.clear_ms is None and state.level <= CLEAR:
        state.clear_at_ms = at_ms
    state.clear_ms = _timer(state.clear_ms, pause, CLEAR_DELAY_MS, runs=state.level <= CLEAR)


def _timer(elapsed: int | None, pause: int, delay: int, *, runs: bool) -> int | None:
    if not runs:
        return None
    return 0 if elapsed is None else elapsed + min(pause, delay // (MIN_SAMPLES - 1))


def _decide(state: State) -> bool:
    """Change the opinion where a delay has run out; returns whether there is something to tell."""
    before = state.severity
    if not before:
        if _has_run_out(state.above_ms, RAISE_DELAY_MS):
            state.severity = FAULTY if state.level >= 1 else SERVICE_DUE
        elif _has_run_out(state.clear_ms, CLEAR_DELAY_MS):
            state.severity = 0
    elif _has_run_out(state.clear_ms, CLEAR_DELAY_MS):
        state.severity = 0
    elif state.level >= 1:
        state.severity = FAULTY
    elif state.clear_ms is None and _has_run_out(state.below_ms, CLEAR_DELAY_MS):
        state.severity = SERVICE_DUE
    has_moved = bool(state.severity) and abs(state.level - state.told) >= TELL_STEP
    if state.severity == before and not has_moved:
        return False
    state.told = state.level
    return True


def _has_run_out(elapsed: int | None, delay: int) -> bool:
    return elapsed is not None and elapsed >= delay


def _observation(state: State, block: Block, i: int, limits: Limits) -> Observation:
    is_there = bool(state.severity)
    since_ms = state.above_at_ms if is_there else state.clear_at_ms
    return Observation(
        component=COMPONENT,
        fault=FAULT,
        severity=state.severity if is_there else None,
        at=utc(int(block.at_ms[i])),
        origin=Origin(block.epoch, block.seq, i),
        confidence=find_confidence(state),
        detector=FAULT,
        detector_version=VERSION,
        reason=_reason(state),
        detail={
            "ratio": round(state.level, 4),
            "level": RAISE if state.severity == SERVICE_DUE else 1.0 if is_there else CLEAR,
            "dp_kpa": _rounded(block.channel("filter_dp_kpa")[i]),
            "flow_lpm": _rounded(block.channel("flow_lpm")[i]),
            "limit_kpa": limits.filter_dp_kpa,
            "limit_flow_lpm": limits.filter_flow_lpm,
            "since": utc(since_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "samples": state.samples,
            "window_s": SMOOTHING_MS / 1000,
            "noise": round(state.noise, 4),
            "coverage": round(state.coverage, 4),
        },
    )


def _reason(state: State) -> str:
    at = f"at {state.level:.0%} of the rated limit"
    if not state.severity:
        return f"{at}; at or below {CLEAR:.0%} for {CLEAR_DELAY_MS // 1000} s of pumping"
    if state.severity == FAULTY:
        return f"{at}; from 100% on it is a fault"
    return f"{at}; service is due from {RAISE:.0%} for {RAISE_DELAY_MS // 1000} s of pumping"


def find_confidence(state: State) -> float:
    """How sure the present opinion is: coverage x margin / (margin + noise), x 0.8 without a flow sensor.

    Margin is the distance of the level from where the opposite opinion begins: `CLEAR` for a fault, `RAISE` for none.
    A filter just above `RAISE` in steady air gets 0.97; one whose ratio swings by 0.1 around it gets 0.67.
    """
    margin = max(state.level - CLEAR if state.severity else RAISE - state.level, 0.0)
    share = margin / (margin + state.noise) if margin else 0.0
    return round(state.coverage * share * (1.0 if state.has_flow else 0.8), 4)


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)
