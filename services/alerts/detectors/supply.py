"""Electrical supply and wiring: low mains voltage, and connections that drop out for a moment.

A *drop-out* is a moment in which all signals of the pump's side read exactly zero, stand still together or are away,
between samples that say that it runs. How improbable it is that they repeat by chance is learned from the device: a
coarse sensor repeats often. A machine that starts anew within a minute, three times a day, is one as well; once is a
power cut. Mains is *low* when it stays below 87 % of nominal: sags, and what utilities may deliver, are none.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.detectors.frames import ROW, Flags, Frames
from services.alerts.limits import MAIN
from services.alerts.observation import Block, Floats, Observation, Origin, Value, utc

MAINS_LOW, DROPOUT = "mains_low", "electrical_dropout"
FAULTS = (MAINS_LOW, DROPOUT)
NEEDS: Mapping[str, tuple[frozenset[str], ...]] = {
    MAINS_LOW: (frozenset({"mains_v", "pump_on"}),),
    DROPOUT: (frozenset({"vacuum_inlet_kpa", "pump_on"}),),
}
VERSION = 1

SIGNALS = (
    "vacuum_inlet_kpa",
    "motor_current_a",
    "filter_dp_kpa",
    "flow_lpm",
    "vacuum_handpiece_kpa",
    "exhaust_dp_kpa",
)
RUNNING = np.array([1.0, 0.1, 0.2, 3.0, 0.3, 0.15])[:, None]
"""Per signal: a value that it has only while the pump runs."""
ZERO_SAMPLES = (3, 3, 2, 1)
"""For how many samples nothing, one, two or more signals must read zero: one alone may do so by chance."""
CHANCE = 1e-12
"""Of a drop-out that is none, per sample: a thousand machines sample 1e12 times in their lives."""
LEARNED_SAMPLES = 1200
MIN_REPEATS, MAX_REPEATS = 0.1, 0.5
"""Share of repeats that a signal is taken to have at least, since those of a quiet minute come in rows; and at most."""
MIN_SIGNALS = 3
"""Fewer than these stand still together by chance."""
STUCK_SAMPLES = 50
"""A signal that has stood for longer did not stop together with the others: it is stuck by itself."""

DAY_MS = 86_400_000
SESSION_MS = 1_800_000
MANY = 3
RESTARTS = 3
RESTARTED_MS = 60_000

NOMINAL_V = (100.0, 115.0, 230.0)
LOW_SHARE, CLEAR_SHARE, DEEP_SHARE = 0.87, 0.9, 0.75
LOW_FRAMES = 2
CLEAR_FRAMES = 6
REPEATED = 3
REPEATED_MS = 7 * DAY_MS

_KEPT = 50
_ROWS = [ROW[name] for name in SIGNALS]
_COUNT = len(SIGNALS)
_MAINS = ROW["mains_v"]
_PUMP = ROW["pump_on"]


class State(msgspec.Struct):
    """What is remembered between entries; lists are per signal.

    Attributes:
        boot, at_ms: of the last sample.
        last: its signals; None = away. is_pumping: whether the pump ran in it, was_running: whether signals said so.
        stood: for how many samples each has repeated itself, at most a few more than matter.
        repeats, compared: how often each signal repeated itself in the first samples of pumping, and their number.
        frozen, zero: samples for which all have stood still, or read zero, up to now.
        had_run, is_counted: whether the pump ran before that, and whether it was told.
        dropouts: event times of drop-outs, at most a day back; restarts: of restarts under way.
        severity: of the drop-outs, as told last.
        highest_v: highest mains of a frame: shows which nominal voltage it is.
        low, normal: consecutive frames; mains_severity: as told last; lows: event times at which mains became low.
    """

    version: int = VERSION
    boot: str = ""
    at_ms: int = 0
    last: list[float | None] = []
    is_pumping: bool = False
    was_running: bool = False
    stood: list[int] = msgspec.field(default_factory=lambda: [0] * _COUNT)
    repeats: list[int] = msgspec.field(default_factory=lambda: [0] * _COUNT)
    compared: int = 0
    frozen: int = 0
    zero: int = 0
    had_run: bool = False
    is_counted: bool = False
    dropouts: list[int] = []
    restarts: list[int] = []
    severity: int = 0
    highest_v: float = 0.0
    low: int = 0
    normal: int = 0
    mains_severity: int = 0
    lows: list[int] = []


def watch(
    state: State, frames: Frames | None, values: Floats, block: Block, *, component: str = MAIN
) -> tuple[list[Observation], Flags]:
    """Take in one entry; changes `state`.

    Args:
        frames: those that the block completed.
        values: `frames.matrix` of the block, as measured.

    Returns:
        the opinions that changed, oldest first; and shape (n,), which samples are drop-outs and say nothing.
    """
    found = _restart(state, block)
    signals, pumping = values[_ROWS], values[_PUMP] >= 0.5
    is_zero = _is_zero(signals) & pumping
    found += _search(state, signals, pumping, is_zero)
    changes = _tell_dropouts(state, block, found, component)
    if frames is not None:
        changes += _watch_mains(state, frames, block, component)
    state.at_ms = int(block.at_ms[-1])
    return changes, is_zero


def reset(state: State, record_type: str) -> None:
    """Forget what service has made invalid."""
    if record_type == "WIRING_SERVICED":
        state.dropouts, state.restarts = [], []
    elif record_type == "SITE_POWER_CHECKED":
        state.lows = []
    elif record_type in {"SENSOR_CALIBRATED", "SENSOR_REPLACED"}:
        state.repeats, state.compared = [0] * _COUNT, 0


def blank(block: Block, is_dropout: Flags) -> Block:
    """The block without the signals of those samples."""
    if not is_dropout.any():
        return block
    gone = {name: np.where(is_dropout, np.nan, block.channels[name]) for name in SIGNALS if name in block.channels}
    return replace(block, channels={**block.channels, **gone})


def _is_zero(signals: Floats) -> Flags:
    """All signals that are measured are exactly zero, or all are away; shape (n,)."""
    is_known = np.isfinite(signals)
    return np.asarray((~is_known | (signals == 0)).all(axis=0))


def _restart(state: State, block: Block) -> list[tuple[int, str]]:
    """A boot that ended with the pump running and was followed by another at once; (sample, what happened)."""
    is_new = bool(state.boot) and block.boot != state.boot
    was_pumping, before = state.is_pumping, state.at_ms
    if block.boot != state.boot:
        state.boot, state.last, state.frozen, state.zero, state.is_counted = block.boot, [], 0, 0, False
        state.was_running = state.is_pumping = False
    at_ms = int(block.at_ms[0])
    if not is_new or not was_pumping or not 0 <= at_ms - before <= RESTARTED_MS:
        return []
    state.restarts = [*(each for each in state.restarts if each > at_ms - DAY_MS), at_ms][-RESTARTS:]
    return [(0, "the machine started anew while it pumped")] if len(state.restarts) >= RESTARTS else []


def _search(state: State, signals: Floats, pumping: Flags, is_zero: Flags) -> list[tuple[int, str]]:
    """Drop-outs among the samples, and what they look like."""
    before = np.array(state.last or [math.nan] * _COUNT, dtype=np.float64)[:, None]
    same = signals == np.concatenate([before, signals[:, :-1]], axis=1)
    on = pumping & np.concatenate([[state.is_pumping], pumping[:-1]])
    is_known = np.isfinite(signals)
    running = (signals >= RUNNING).sum(axis=0) * 2 > is_known.sum(axis=0)
    learned_at = _learn(state, same, on)
    usable, needed = _needed(state)
    still = np.zeros(len(on), dtype=np.bool_)
    if needed:
        still = on & running & (same | ~is_known)[usable].all(axis=0) & (is_known[usable].sum(axis=0) >= MIN_SIGNALS)
        still[:learned_at] = False
        if still.any():
            is_fresh = _stood(state, same) <= STUCK_SAMPLES
            still &= (is_known & is_fresh)[usable].sum(axis=0) >= MIN_SIGNALS
    found = []
    if state.frozen or state.zero or is_zero.any() or still.any():
        found = _runs(state, still, is_zero, running, is_known.sum(axis=0), needed)
    state.stood = _stood(state, same)[:, -1].tolist() if same[:, -1].any() else [0] * _COUNT
    state.last = [None if math.isnan(value) else value for value in signals[:, -1].tolist()]
    state.is_pumping, state.was_running = bool(pumping[-1]), bool(running[-1])
    return found


def _stood(state: State, same: Flags) -> NDArray[np.int64]:
    """For how many samples each signal has repeated itself up to each sample, at most a few more than matter."""
    places = np.arange(same.shape[1])
    before = -1 - np.array(state.stood, dtype=np.int64)[:, None]
    changed = np.maximum.accumulate(np.maximum(np.where(same, np.iinfo(np.int64).min, places), before), axis=1)
    return np.minimum(places - changed, STUCK_SAMPLES + 1)


def _learn(state: State, same: Flags, on: Flags) -> int:
    """Count repeats until enough are known; returns the sample from which on they may be used."""
    missing = LEARNED_SAMPLES - state.compared
    if missing <= 0:
        return 0
    compared = np.flatnonzero(on)[:missing]
    state.repeats = (np.array(state.repeats) + same[:, compared].sum(axis=1)).tolist()
    state.compared += len(compared)
    return int(compared[-1]) + 1 if state.compared == LEARNED_SAMPLES else len(on)


def _needed(state: State) -> tuple[list[int], int]:
    """The signals that seldom repeat, and how many repeats of all of them are no chance; 0 = not to be known."""
    if state.compared < LEARNED_SAMPLES:
        return [], 0
    shares = [max(count / state.compared, MIN_REPEATS) for count in state.repeats]
    usable = [i for i, share in enumerate(shares) if share < MAX_REPEATS]
    if len(usable) < MIN_SIGNALS:
        return [], 0
    joint = math.prod(shares[i] for i in usable)
    return usable, max(math.ceil(math.log(CHANCE) / math.log(joint)), 2)


def _runs(
    state: State, still: Flags, is_zero: Flags, running: Flags, known: NDArray[np.int64], needed: int
) -> list[tuple[int, str]]:
    """Count through the samples in which all stands still or is zero."""
    found = []
    for i, (stands, zero, runs, count) in enumerate(
        zip(still.tolist(), is_zero.tolist(), running.tolist(), known.tolist(), strict=True)
    ):
        if zero and not state.zero:
            state.had_run = bool(running[i - 1]) if i else state.was_running
        state.zero = state.zero + 1 if zero else 0
        state.frozen = state.frozen + 1 if stands else 0
        if not zero and not stands:
            state.is_counted = False
        elif state.is_counted:
            continue
        elif zero and state.had_run and state.zero >= ZERO_SAMPLES[min(count, 3)]:
            state.is_counted = True
            found.append((i, "all signals were zero or away at once" if count != 1 else "the signal was zero"))
        elif runs and needed and state.frozen >= needed:
            state.is_counted = True
            found.append((i, "all signals stood still at once"))
    return found


def _tell_dropouts(state: State, block: Block, found: list[tuple[int, str]], component: str) -> list[Observation]:
    """Severity by how many there were today and in the last half hour; none for a day clears it."""
    changes = []
    for i, what in found:
        at_ms = int(block.at_ms[i])
        changes += _forget(state, block, i, component)
        state.dropouts = [*[each for each in state.dropouts if each > at_ms - DAY_MS][-_KEPT:], at_ms]
        lately = sum(each > at_ms - SESSION_MS for each in state.dropouts)
        severity = 3 if lately > MANY else 2 if len(state.dropouts) > MANY else 1
        if severity > state.severity:
            state.severity = severity
            detail: dict[str, Value] = {"today": len(state.dropouts), "last_half_hour": lately, "what": what}
            reason = f"{what}; {len(state.dropouts)} in 24 h"
            changes.append(_observation(component, DROPOUT, severity, block, i, (reason, 0.85, detail)))
    return changes + _forget(state, block, len(block.at_ms) - 1, component)


def _forget(state: State, block: Block, upto: int, component: str) -> list[Observation]:
    """Clear after a day without a drop-out, at the first sample that is so late."""
    if not state.severity or not state.dropouts:
        return []
    late = int(np.searchsorted(block.at_ms, state.dropouts[-1] + DAY_MS))
    if late > upto:
        return []
    state.severity = 0
    detail: dict[str, Value] = {"today": 0}
    return [_observation(component, DROPOUT, None, block, late, ("none for a day", 0.85, detail))]


def _watch_mains(state: State, frames: Frames, block: Block, component: str) -> list[Observation]:
    changes = []
    pumping = frames.is_pumping
    for k, mean in enumerate(frames.mean[_MAINS].tolist()):
        if math.isnan(mean) or not pumping[k]:
            continue
        state.highest_v = max(state.highest_v, mean)
        nominal = min(NOMINAL_V, key=lambda each: abs(math.log(max(state.highest_v, 1.0) / each)))
        share = mean / nominal
        before = state.mains_severity
        _judge_mains(state, share, int(frames.at_ms[k]))
        if state.mains_severity == before:
            continue
        detail: dict[str, Value] = {"mains_v": round(mean, 1), "nominal_v": nominal, "in_7_days": len(state.lows)}
        says = f"{mean:.0f} V, {share:.0%} of nominal"
        i = int(frames.closed_by[k])
        changes.append(_observation(component, MAINS_LOW, state.mains_severity, block, i, (says, 0.9, detail)))
    return changes


def _judge_mains(state: State, share: float, at_ms: int) -> None:
    state.low = state.low + 1 if share < LOW_SHARE else 0
    state.normal = state.normal + 1 if share > CLEAR_SHARE else 0
    if state.mains_severity:
        if state.normal >= CLEAR_FRAMES:
            state.mains_severity = 0
        elif state.low >= LOW_FRAMES and share < DEEP_SHARE:
            state.mains_severity = 2
    elif state.low >= LOW_FRAMES:
        state.lows = [*(each for each in state.lows if each > at_ms - REPEATED_MS), at_ms][-REPEATED:]
        state.mains_severity = 2 if len(state.lows) >= REPEATED or share < DEEP_SHARE else 1


def _observation(
    component: str, fault: str, severity: int | None, block: Block, i: int, says: tuple[str, float, dict[str, Value]]
) -> Observation:
    reason, confidence, detail = says
    return Observation(
        component=component,
        fault=fault,
        severity=severity or None,
        at=utc(int(block.at_ms[i])),
        origin=Origin(block.epoch, block.seq, i),
        confidence=confidence,
        detector="supply",
        detector_version=VERSION,
        reason=reason,
        detail=detail,
    )
