"""Over-vacuum: more suction on the skin than the machine may give, for more than a second. A hazard, judged per sample.

The limit is the lower of the model's absolute one and the set point plus a margin. The operator may lower the set
point at any time, and the vacuum takes seconds to follow: while it does, the set point before still counts. A capped
tip is no skin: a self-test is skipped, and so is a closure through whose filter no air flows.

Where only the inlet is measured, suction there may also come from a blocked hose or a hand on the tip; such a machine
is judged by its absolute limit, after three strokes or ten seconds, as "check" and with both candidates.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.context import Context
from services.alerts.detectors.frames import uptimes
from services.alerts.limits import MAIN, Limits
from services.alerts.observation import Block, Floats, Observation, Origin, Value, utc

FAULT = "over_vacuum"
FAULTS = (FAULT,)
VERSION = 1
NEEDS: Mapping[str, tuple[frozenset[str], ...]] = {
    FAULT: (frozenset({"vacuum_handpiece_kpa"}), frozenset({"vacuum_inlet_kpa"})),
}
"""Per fault: alternatives of channel sets, the best first."""
AMBIGUOUS: Mapping[str, float] = {FAULT: 0.6, "return_path_blocked": 0.4}
"""What suction at the inlet alone may mean."""

STOP = 4
CHECK = 2
CLEAR_MS = 15_000
HYSTERESIS_KPA = 0.25
"""Noise of the sensor must not start the second anew; the vacuum itself may: below the limit it is no hazard."""
MAX_GAP_MS = 12_000
"""Samples further apart say nothing about what was between them."""
HELD_S = 4
"""A set point counts this long after it was lowered: three time constants of the largest canister."""
FOLLOWING = 0.2
"""Share of the step that the vacuum has fallen after a second, if it follows."""
HANDPIECE_AWAY_MS = 10_000
"""Without a value for so long the handpiece is judged by the inlet."""
CAPPED_LPM = 0.8
"""Less air than skin lets in; what the canister still gives up while vacuum rises comes on top."""
CAPPED_LPM_PER_KPA_S = 0.6
"""Of a canister of 1 L."""
SMOOTHING_MS = 300
TEST_MS = 15_000
"""A machine that tells no sessions tests itself at once after the pump's start; a treatment begins by warming up."""
STROKES = 3
STROKES_MS = 10_000
STROKES_WITHIN_MS = 120_000
LATEST_MARGIN_KPA = 2.0
"""A single value may be the peak of the noise."""


class Run(msgspec.Struct):
    """An unbroken time above the limit.

    Attributes:
        since_ms, start_kpa: uptime and vacuum when it began.
        peak_kpa: highest vacuum.
        last_kpa: the last vacuum; rise_kpa_s: its smoothed rise.
        flow_lpm: smoothed flow; None = not measured.
    """

    since_ms: int
    start_kpa: float
    peak_kpa: float
    last_kpa: float
    rise_kpa_s: float = 0.0
    flow_lpm: float | None = None


class State(msgspec.Struct):
    """What is remembered between entries.

    Attributes:
        severity: what was told last; 0 = nothing is wrong.
        boot, up_ms: the last sample.
        run: the present time above the limit.
        below_ms: uptime since when vacuum has been below it, while raised.
        handpiece_ms: uptime of the last value of the handpiece.
        pump_ms: uptime at which the pump started; None = it is off.
        setpoints: highest set point of each of the last seconds of uptime.
        strokes: start and length of the last runs at the inlet, ms.
    """

    version: int = VERSION
    severity: int = 0
    boot: str = ""
    up_ms: int = 0
    run: Run | None = None
    below_ms: int | None = None
    handpiece_ms: int | None = None
    pump_ms: int | None = None
    setpoints: list[tuple[int, float]] = []
    strokes: list[tuple[int, int]] = []


class _Sample(NamedTuple):
    """One sample as it is judged; NaN = not measured.

    Attributes:
        up_ms: uptime.
        vacuum, limit: kPa; the limit by the set point of now.
        held: the limit by the highest set point of the last seconds.
        setpoint, flow: kPa, L/min.
        is_handpiece: vacuum is that at the handpiece, not at the inlet.
        pump_ms: uptime at which the pump started, -1 = not known.
    """

    up_ms: int
    vacuum: float
    limit: float
    held: float
    setpoint: float
    flow: float
    is_handpiece: bool
    pump_ms: int


def watch(
    state: State, block: Block, context: Context, *, component: str = MAIN, is_self_test: bool | None = None
) -> list[Observation]:
    """Take in one entry's samples; changes `state`, returns the opinions that changed, oldest first.

    Args:
        is_self_test: whether the machine is in a self-test; None = it tells no sessions.
    """
    if context.limits.over_vacuum_kpa is None and context.limits.over_vacuum_margin_kpa is None:
        return []
    if state.boot != block.boot:
        _forget_boot(state, block.boot)
    up = uptimes(block)
    vacuum, is_handpiece = _vacuum(state, block, up)
    setpoint = np.where(is_handpiece, block.channel("setpoint_kpa"), np.nan)
    limit = _limit(context.limits, setpoint)
    if is_self_test:
        limit = np.full_like(limit, math.inf)
    pump = block.channel("pump_on")
    changes: list[Observation] = []
    first = _first_to_judge(state, vacuum, limit)
    if first is not None:
        held = _limit(context.limits, _held(state.setpoints, up, setpoint))
        columns = (up, vacuum, limit, held, setpoint, block.channel("flow_lpm"), is_handpiece, _starts(state, up, pump))
        for i, values in enumerate(zip(*(column[first:].tolist() for column in columns), strict=True), start=first):
            sample = _Sample(*values)
            before = state.severity
            _take(state, sample, is_told=is_self_test is not None, delay_ms=context.tuning.over_vacuum_delay_ms)
            if state.severity != before:
                changes.append(_observation(state, block, i, sample, component))
    _remember(state, up, setpoint, pump)
    return changes


def judge_latest(
    latest: Mapping[str, float | None], context: Context, *, at: datetime, origin: Origin, component: str = MAIN
) -> list[Observation]:
    """What the newest values alone say, for a machine whose log is behind; not to be used in a self-test.

    Returns:
        empty = they cannot be judged; severity None = there is no over-vacuum now.
    """
    values = {name: math.nan if value is None else value for name, value in latest.items()}
    vacuum = values.get("vacuum_handpiece_kpa", math.nan)
    limit = float(_limit(context.limits, np.array([values.get("setpoint_kpa", math.nan)]))[0])
    if not math.isfinite(vacuum) or not math.isfinite(limit):
        return []
    is_over = vacuum > limit + LATEST_MARGIN_KPA and values.get("flow_lpm", math.inf) >= CAPPED_LPM
    side = "above" if is_over else "not clearly above"
    return [
        Observation(
            component=component,
            fault=FAULT,
            severity=STOP if is_over else None,
            at=at,
            origin=origin,
            confidence=0.7,
            detector=FAULT,
            detector_version=VERSION,
            reason=f"{vacuum:.0f} kPa at the handpiece in the machine's latest values, {side} its limit of {limit:.0f}",
            detail={"channel": "vacuum_handpiece_kpa", "vacuum_kpa": round(vacuum, 2), "limit_kpa": round(limit, 2)},
        )
    ]


def _forget_boot(state: State, boot: str) -> None:
    """Uptimes begin anew; what was told stands until samples say otherwise."""
    state.boot, state.run, state.below_ms = boot, None, None
    state.handpiece_ms, state.pump_ms, state.setpoints, state.strokes = None, None, [], []


def _vacuum(state: State, block: Block, up: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_]]:
    """The vacuum to judge, and whether it is the handpiece's; NaN where the handpiece is only away for a moment."""
    handpiece = block.channel("vacuum_handpiece_kpa")
    is_known = np.isfinite(handpiece)
    if is_known.all():
        state.handpiece_ms = int(up[-1])
        return handpiece, is_known
    before = -HANDPIECE_AWAY_MS - 1 if state.handpiece_ms is None else state.handpiece_ms
    last = np.maximum.accumulate(np.where(is_known, up, before))
    if is_known.any():
        state.handpiece_ms = int(last[-1])
    is_away = up - last > HANDPIECE_AWAY_MS
    return np.where(is_away, block.channel("vacuum_inlet_kpa"), handpiece), ~is_away


def _limit(limits: Limits, setpoint: Floats) -> Floats:
    """Shape (n,), kPa; infinite where there is none."""
    absolute = math.inf if limits.over_vacuum_kpa is None else limits.over_vacuum_kpa
    if limits.over_vacuum_margin_kpa is None:
        return np.full(len(setpoint), absolute)
    return np.fmin(setpoint + limits.over_vacuum_margin_kpa, absolute)


def _first_to_judge(state: State, vacuum: Floats, limit: Floats) -> int | None:
    """Index of the first sample that can change anything; nearly always there is none."""
    if state.severity or state.run is not None:
        return 0
    is_over = vacuum > limit
    first = int(is_over.argmax())
    return first if is_over[first] else None


def _held(before: list[tuple[int, float]], up: NDArray[np.int64], setpoint: Floats) -> Floats:
    """The highest set point of this second of uptime and the `HELD_S` before it; shape (n,)."""
    seconds = up // 1000
    highest = {second: value for second, value in before}
    starts = np.flatnonzero(np.diff(seconds, prepend=seconds[0] - 1))
    for second, value in zip(seconds[starts].tolist(), np.fmax.reduceat(setpoint, starts).tolist(), strict=True):
        highest[second] = float(np.fmax(highest.get(second, math.nan), value))
    window = range(HELD_S + 1)
    held = {
        second: float(np.fmax.reduce([highest.get(second - back, math.nan) for back in window]))
        for second in seconds[starts].tolist()
    }
    return np.repeat([held[second] for second in seconds[starts].tolist()], np.diff(starts, append=len(up)))


def _starts(state: State, up: NDArray[np.int64], pump: Floats) -> NDArray[np.int64]:
    """Uptime of the last start of the pump; shape (n,), -1 = off, or not seen."""
    is_on = ~(pump < 0.5)
    was_on = np.concatenate([[state.pump_ms is not None], is_on[:-1]])
    before = -1 if state.pump_ms is None else state.pump_ms
    started = np.maximum.accumulate(np.where(is_on & ~was_on, up, before))
    return np.where(is_on, started, -1)


def _remember(state: State, up: NDArray[np.int64], setpoint: Floats, pump: Floats) -> None:
    """Keep what the next entry needs of this one."""
    start = int(np.searchsorted(up, (int(up[-1]) // 1000 - HELD_S) * 1000))
    if np.isfinite(setpoint[-1]) or state.setpoints:
        seconds = up[start:] // 1000
        highest = {s: v for s, v in state.setpoints if s >= int(up[-1]) // 1000 - HELD_S}
        pieces = np.flatnonzero(np.diff(seconds, prepend=seconds[0] - 1))
        for second, value in zip(
            seconds[pieces].tolist(), np.fmax.reduceat(setpoint[start:], pieces).tolist(), strict=True
        ):
            if not math.isnan(value):
                highest[second] = max(highest.get(second, value), value)
        state.setpoints = list(highest.items())
    if state.pump_ms is None or not pump.min() >= 0.5:
        last = int(_starts(state, up, pump)[-1])
        state.pump_ms = None if last < 0 else last
    state.up_ms = int(up[-1])


def _take(state: State, sample: _Sample, *, is_told: bool, delay_ms: int) -> None:
    """Move on by one sample; `state.severity` is the opinion after it."""
    if math.isnan(sample.vacuum):
        return
    pause, state.up_ms = sample.up_ms - state.up_ms, sample.up_ms
    run = state.run if 0 <= pause <= MAX_GAP_MS else None
    floor = sample.limit if run is None else sample.limit - HYSTERESIS_KPA
    if sample.vacuum <= floor or sample.pump_ms < 0:
        state.run = None
        _clear(state, sample.up_ms)
        return
    state.below_ms = None
    if run is None:
        run = Run(sample.up_ms, sample.vacuum, sample.vacuum, sample.vacuum)
    state.run = run
    _extend(run, sample, max(pause, 0))
    if sample.up_ms - run.since_ms < delay_ms or _is_following(run, sample) or _is_capped(run, sample, is_told=is_told):
        return
    if sample.is_handpiece:
        state.severity = STOP
    elif _has_persisted(state, run, sample):
        state.severity = max(state.severity, CHECK)


def _extend(run: Run, sample: _Sample, pause: int) -> None:
    gain = -math.expm1(-pause / SMOOTHING_MS)
    if pause > 0:
        rise = (sample.vacuum - run.last_kpa) / pause * 1000
        run.rise_kpa_s += gain * (rise - run.rise_kpa_s)
    run.last_kpa, run.peak_kpa = sample.vacuum, max(run.peak_kpa, sample.vacuum)
    if not math.isnan(sample.flow):
        run.flow_lpm = sample.flow if run.flow_lpm is None else run.flow_lpm + gain * (sample.flow - run.flow_lpm)


def _clear(state: State, up_ms: int) -> None:
    if not state.severity:
        return
    if state.below_ms is None:
        state.below_ms = up_ms
    if up_ms - state.below_ms >= CLEAR_MS:
        state.severity, state.below_ms = 0, None


def _is_following(run: Run, sample: _Sample) -> bool:
    """Whether the operator has just lowered the set point, and the vacuum is on its way."""
    if not sample.held > sample.limit or sample.vacuum > sample.held:
        return False
    return sample.vacuum <= run.start_kpa - FOLLOWING * (run.start_kpa - sample.setpoint)


def _is_capped(run: Run, sample: _Sample, *, is_told: bool) -> bool:
    """Whether the tip is closed by a cap or a hand: no air comes in, but for what the canister gives up."""
    if not is_told and run.since_ms - sample.pump_ms < TEST_MS and sample.up_ms - sample.pump_ms < 2 * TEST_MS:
        return True
    if run.flow_lpm is None:
        return False
    return run.flow_lpm < CAPPED_LPM + CAPPED_LPM_PER_KPA_S * max(run.rise_kpa_s, 0.0)


def _has_persisted(state: State, run: Run, sample: _Sample) -> bool:
    """Whether the inlet was above the limit for as long as something that is no hazard for certain must be."""
    strokes = [s for s in state.strokes if s[0] > sample.up_ms - STROKES_WITHIN_MS and s[0] != run.since_ms]
    state.strokes = [*strokes, (run.since_ms, sample.up_ms - run.since_ms)]
    return len(state.strokes) >= STROKES or sum(length for _, length in state.strokes) >= STROKES_MS


def _observation(state: State, block: Block, i: int, sample: _Sample, component: str) -> Observation:
    channel = "vacuum_handpiece_kpa" if sample.is_handpiece else "vacuum_inlet_kpa"
    detail: dict[str, Value] = {
        "channel": channel,
        "vacuum_kpa": round(sample.vacuum, 2),
        "limit_kpa": round(sample.limit, 2) if math.isfinite(sample.limit) else None,
        "setpoint_kpa": None if math.isnan(sample.setpoint) else round(sample.setpoint, 2),
    }
    run = state.run
    if not state.severity or run is None:
        reason = f"below the limit for {CLEAR_MS // 1000} s"
    else:
        seconds = (sample.up_ms - run.since_ms) / 1000
        detail |= {"peak_kpa": round(run.peak_kpa, 2), "seconds": round(seconds, 1)}
        where = "at the handpiece" if sample.is_handpiece else "at the pump inlet"
        reason = f"{run.peak_kpa:.0f} kPa {where} for {seconds:.1f} s, above the limit of {sample.limit:.0f}"
    is_check = state.severity == CHECK
    return Observation(
        component=component,
        fault=FAULT,
        severity=state.severity or None,
        at=utc(int(block.at_ms[i])),
        origin=Origin(block.epoch, block.seq, i),
        confidence=AMBIGUOUS[FAULT] if is_check else 0.95,
        detector=FAULT,
        detector_version=VERSION,
        reason=reason,
        detail=detail,
        candidates=AMBIGUOUS if is_check else {},
    )
