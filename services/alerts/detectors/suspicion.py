"""When a sensor becomes suspect, and when it is believed again: the counting behind `channels`, frame by frame."""

import math
from dataclasses import dataclass

import msgspec
import numpy as np

from dermafleet.contracts.channels import fitted
from dermafleet.physics.gas import STANDARD_PRESSURE_PA
from services.alerts.context import Context
from services.alerts.detectors import sensors
from services.alerts.detectors.frames import NAMES, ROW, Flags, Frames
from services.alerts.detectors.rests import Rest

DRIFT, STUCK, RAIL = "sensor_drift", "sensor_stuck", "sensor_rail"
VERSION = 1

TOGETHER = 3
"""So many channels failing in one frame have something else in common: a connector, the supply."""
MIN_COUNT = 5
"""Values of a channel that a frame needs before its deviation means anything."""
STILL_FRAMES = 3
SLOW_STILL_FRAMES = 30
MOVING_FRAMES = 3
QUIET_SHARE = 0.45
"""Below 20 % of the usual variance."""
NOISE_SHARE = 0.6
STEADY_NOISE = 4.0
"""Only a channel seen this close to its electronic noise is known to ripple also while nothing happens."""
LEARNED_FRAMES = 6
SLOW_LEARNED_FRAMES = 60
BAD_FRAMES = 2
GOOD_FRAMES = 2
MISSING_SAMPLES = 5
BAD_RESTS = 2
GOOD_RESTS = 2
ZEROS = 3
MAX_ZEROS = 20
AMBIENT_STEP_KPA = 0.5
AMBIENT_STEP_KPA_H = 0.35
"""Fronts do not pass faster."""
WEATHER_KPA = 5.0
"""Weather, and what the height of a site is known to."""

NIGHT_MS = 3 * 3_600_000
"""A pump is cold after it, even one with a blocked fan."""
DAWN_MS = 60_000
"""The pump has not warmed up yet."""
COLD_K = 5.0
ROOM_C = 22.0

_C = len(NAMES)
_AMBIENT = ROW["ambient_kpa"]
_CURRENT = ROW["motor_current_a"]
_TEMPERATURES = ("pump_temp_c", "ambient_temp_c")
_PUMP_TEMP, _ROOM_TEMP = (ROW[name] for name in _TEMPERATURES)
_ENOUGH = 1000


def _numbers() -> list[float]:
    return [0.0] * _C


def _counts() -> list[int]:
    return [0] * _C


class State(msgspec.Struct):
    """What is remembered between entries; lists are per channel, in registry order.

    Attributes:
        boot: of the last frame.
        seen: frames with a value, at most 1000.
        quietest, learned: smallest deviation while pumping, and of how many frames.
        still, moving: consecutive pumping frames that were still or not; calm: quietest of the still ones.
        witnessed: whether other channels contradicted the still one.
        missing, missing_samples: consecutive frames without values, and the samples in them.
        together, absent: consecutive frames in which several were missing at once, and which are so now.
        wrong, good: consecutive frames with impossible values, or well again.
        zero, zeros: mean with the pump off, and of how many rests.
        off, settled: consecutive rests away from zero, or at it; away: what the last of them read.
        last_ms, dawn_ms: event times of the last frame, and of the first one after the last night.
        apart, cold: frames of that morning in which pump and room differ; their temperatures on the last good morning.
        ambient_kpa, ambient_ms: last frame's mean and its event time; before_kpa: ambient before a jump.
        suspects: channel → fault.
        blanks: channel, since and until which event time it is not trusted; until 0 = still.
        told: fault → severity and channels of what was told last.
    """

    version: int = VERSION
    boot: str = ""
    seen: list[int] = msgspec.field(default_factory=_counts)
    quietest: list[float] = msgspec.field(default_factory=_numbers)
    learned: list[int] = msgspec.field(default_factory=_counts)
    still: list[int] = msgspec.field(default_factory=_counts)
    calm: list[float] = msgspec.field(default_factory=_numbers)
    moving: list[int] = msgspec.field(default_factory=_counts)
    witnessed: list[bool] = msgspec.field(default_factory=lambda: [False] * _C)
    missing: list[int] = msgspec.field(default_factory=_counts)
    missing_samples: list[int] = msgspec.field(default_factory=_counts)
    together: int = 0
    absent: list[str] = []
    wrong: list[int] = msgspec.field(default_factory=_counts)
    good: list[int] = msgspec.field(default_factory=_counts)
    zero: list[float] = msgspec.field(default_factory=_numbers)
    zeros: list[int] = msgspec.field(default_factory=_counts)
    off: list[int] = msgspec.field(default_factory=_counts)
    settled: list[int] = msgspec.field(default_factory=_counts)
    away: list[float] = msgspec.field(default_factory=_numbers)
    last_ms: int = 0
    dawn_ms: int = 0
    apart: int = 0
    cold: list[float] = []
    ambient_kpa: float | None = None
    ambient_ms: int = 0
    before_kpa: float | None = None
    suspects: dict[str, str] = {}
    blanks: list[tuple[str, int, int]] = []
    told: dict[str, tuple[int, list[str]]] = {}


def forget(state: State) -> None:
    """Learn zeros, noise and ambient pressure anew; a suspect is one until frames say otherwise."""
    state.zero, state.zeros = _numbers(), _counts()
    state.quietest, state.learned = _numbers(), _counts()
    state.ambient_kpa = state.before_kpa = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a batch of frames says of each channel before it is compared with what is remembered; shapes (c, k).

    Attributes:
        judged: the motor runs and there are enough values for a deviation.
        sparse: fitted, seen at some time, and without a value in most samples.
    """

    frames: Frames
    judged: Flags
    sparse: Flags
    impossible: Flags
    contradicted: Flags


def gather(state: State, frames: Frames, context: Context) -> Evidence:
    running = frames.is_pumping & ~(frames.mean[_CURRENT] < sensors.RUNNING_A)
    is_fitted = _fitted(context)
    is_seen = is_fitted & (np.array(state.seen) + frames.count.sum(axis=1) > 0)
    sparse = is_seen[:, None] & (frames.count * 2 < frames.samples)
    sparse[_CURRENT] &= frames.is_pumping  # without current the noise falls below the end of the range, to be marked
    return Evidence(
        frames=frames,
        judged=running & (frames.count >= MIN_COUNT) & sensors.HAS_NOISE[:, None],
        sparse=sparse,
        impossible=sensors.impossible(frames) & is_fitted[:, None],
        contradicted=sensors.contradicts(frames) & running & is_fitted[:, None] & (frames.count >= MIN_COUNT),
    )


def _fitted(context: Context) -> Flags:
    names = {channel.name for channel in fitted(context.profile)}
    return np.array([name in names for name in NAMES])


def is_quiet(state: State, evidence: Evidence, context: Context) -> bool:
    """Whether nothing in these frames, and nothing remembered, can be the beginning or the end of a suspicion."""
    calm = evidence.judged & (evidence.frames.deviation < (NOISE_SHARE * sensors.NOISE_FLOOR)[:, None])
    is_busy = state.suspects or state.together or any(state.still) or any(state.missing) or any(state.wrong)
    if is_busy or state.boot != evidence.frames.boots[0]:
        return False
    if calm.any() or evidence.sparse.any():
        return False
    if evidence.impossible.any() or evidence.contradicted.any() or len(set(evidence.frames.boots)) > 1:
        return False
    if evidence.frames.at_ms[-1] - state.last_ms > NIGHT_MS or evidence.frames.at_ms[0] - state.dawn_ms <= DAWN_MS:
        return False
    ambient = evidence.frames.mean[_AMBIENT]
    if state.ambient_kpa is None or not np.abs(ambient - state.ambient_kpa).max() < AMBIENT_STEP_KPA / 2:
        return not np.isfinite(ambient).any() and state.ambient_kpa is None
    return not _is_elsewhere(float(ambient[0]), context, AMBIENT_STEP_KPA)


def learn_all(state: State, evidence: Evidence) -> None:
    """As `judge` does frame by frame where nothing is suspicious."""
    frames = evidence.frames
    state.seen = np.minimum(np.array(state.seen) + (frames.count > 0).sum(axis=1), _ENOUGH).tolist()
    deviation = np.where(evidence.judged, frames.deviation, np.inf).min(axis=1)
    usual = np.where(np.array(state.learned) > 0, state.quietest, np.inf)
    quietest = np.minimum(deviation, usual)
    state.quietest = np.where(np.isfinite(quietest), quietest, 0.0).tolist()
    judged = evidence.judged.sum(axis=1)
    state.learned = np.minimum(np.array(state.learned) + judged, _ENOUGH).tolist()
    state.moving = np.minimum(np.array(state.moving) + judged, _ENOUGH).tolist()
    state.ambient_kpa = _known(frames.mean[_AMBIENT, -1], state.ambient_kpa)
    state.ambient_ms = state.last_ms = int(frames.at_ms[-1])


def judge(state: State, evidence: Evidence, k: int, context: Context) -> None:
    """Take in one frame: count what is suspicious, and decide which channels are."""
    frames = evidence.frames
    if frames.boots[k] != state.boot:
        state.boot = frames.boots[k]
    seen = (np.array(state.seen) + (frames.count[:, k] > 0)).clip(max=_ENOUGH)
    state.seen = seen.tolist()
    sparse = evidence.sparse[:, k] & (seen > 0)
    if sparse.sum() >= TOGETHER:
        state.together += 1
        state.absent = [NAMES[row] for row in np.flatnonzero(sparse)] if state.together >= BAD_FRAMES else []
        sparse = np.zeros(_C, dtype=np.bool_)
    else:
        state.together, state.absent = 0, []
    samples = int(frames.samples[k])
    wrong = evidence.impossible[:, k]
    for row in np.flatnonzero(sparse | wrong | _listed(state.missing) | _listed(state.wrong)).tolist():
        _judge_value(state, row, samples, is_missing=bool(sparse[row]), is_wrong=bool(wrong[row]))
    for name in [name for name, fault in state.suspects.items() if fault == RAIL]:
        row = ROW[name]
        is_good = bool(not sparse[row] and frames.count[row, k] > 0 and not wrong[row] and not state.still[row])
        state.good[row] = state.good[row] + 1 if is_good else 0
        if state.good[row] >= GOOD_FRAMES:
            del state.suspects[name]
    _judge_motion(state, evidence, k)
    _judge_ambient(state, frames, k, context)
    _judge_cold(state, frames, k)


def _listed(counts: list[int]) -> Flags:
    return np.array(counts) > 0


def _judge_value(state: State, row: int, samples: int, *, is_missing: bool, is_wrong: bool) -> None:
    """A value that is away or impossible in two frames running is at the rail."""
    state.missing[row] = state.missing[row] + 1 if is_missing else 0
    state.missing_samples[row] = state.missing_samples[row] + samples if is_missing else 0
    state.wrong[row] = state.wrong[row] + 1 if is_wrong else 0
    is_gone = state.missing[row] >= BAD_FRAMES and state.missing_samples[row] >= MISSING_SAMPLES
    if is_gone or state.wrong[row] >= BAD_FRAMES:
        state.suspects[NAMES[row]] = RAIL
        state.good[row] = 0


def _judge_motion(state: State, evidence: Evidence, k: int) -> None:
    """A sensor without its usual noise for three frames of pumping is stuck, or one that its neighbours contradict."""
    judged, contradicted = evidence.judged[:, k], evidence.contradicted[:, k]
    deviation = evidence.frames.deviation[:, k]
    quietest, learned = np.array(state.quietest), np.array(state.learned)
    enough = np.where(sensors.IS_SLOW, SLOW_LEARNED_FRAMES, LEARNED_FRAMES)
    is_usual_known = (learned >= enough) & (quietest <= STEADY_NOISE * sensors.NOISE_FLOOR)
    noise = NOISE_SHARE * sensors.NOISE_FLOOR
    usual = np.where(learned > 0, np.minimum(QUIET_SHARE * quietest, noise), QUIET_SHARE * sensors.NOISE_FLOOR)
    calm = judged & (deviation < usual)
    if ((deviation == 0) & judged & ~sensors.IS_SLOW).sum() > TOGETHER:
        return
    for row in np.flatnonzero(judged | contradicted).tolist():
        if calm[row] or contradicted[row]:
            state.calm[row] = float(min(deviation[row], state.calm[row])) if state.still[row] else float(deviation[row])
            state.still[row] += 1
            state.moving[row] = 0
            state.witnessed[row] |= bool(contradicted[row])
            is_sure = is_usual_known[row] or state.witnessed[row]
            frames = SLOW_STILL_FRAMES if sensors.IS_SLOW[row] else STILL_FRAMES
            if state.still[row] >= frames and is_sure and NAMES[row] not in state.suspects:
                state.suspects[NAMES[row]] = STUCK
            continue
        state.moving[row] = min(state.moving[row] + 1, _ENOUGH)
        if state.suspects.get(NAMES[row]) == STUCK:
            if state.moving[row] < MOVING_FRAMES:
                continue
            del state.suspects[NAMES[row]]
        elif judged[row]:
            _learn_noise(state, row, float(deviation[row]))
        state.still[row], state.witnessed[row] = 0, False


def _learn_noise(state: State, row: int, deviation: float) -> None:
    """The channel moves; if it was still for a moment before, that is its usual way as well."""
    known = [deviation]
    if state.learned[row]:
        known.append(state.quietest[row])
    if state.still[row] and not state.witnessed[row]:
        known.append(state.calm[row])
    state.quietest[row] = min(known)
    state.learned[row] = min(state.learned[row] + 1, _ENOUGH)


def judge_rest(state: State, rest: Rest) -> None:
    """A gauge that is away from its zero in two rests, and by as much, has drifted; changes `state`."""
    mean, is_own = rest.mean, rest.is_own
    for row in np.flatnonzero(np.isfinite(mean) & np.isfinite(sensors.ZERO_LIMIT)).tolist():
        name, value = NAMES[row], float(mean[row])
        if rest.is_early and value > sensors.HELD_KPA and name in sensors.VACUUM:
            continue
        is_learned = state.zeros[row] >= ZEROS
        drift = sensors.ZERO_DRIFT[row]
        if abs(value) > sensors.ZERO_LIMIT[row] or (is_learned and abs(value - state.zero[row]) > drift):
            is_same = state.off[row] == 0 or abs(value - state.away[row]) <= drift / 2
            state.off[row] = state.off[row] + is_own if is_same else 1
            state.away[row], state.settled[row] = value, 0
            if state.off[row] >= BAD_RESTS:
                state.suspects.setdefault(name, DRIFT)
            continue
        state.off[row], state.settled[row] = 0, state.settled[row] + is_own
        if state.suspects.get(name) == DRIFT:
            if state.settled[row] >= GOOD_RESTS:
                del state.suspects[name]
        elif state.zeros[row] < MAX_ZEROS and is_own:
            state.zeros[row] += 1
            state.zero[row] += (value - state.zero[row]) / state.zeros[row]


def _judge_ambient(state: State, frames: Frames, k: int, context: Context) -> None:
    """Ambient pressure that jumps as no weather does, or that the site's height cannot have, has drifted."""
    mean, at_ms = _known(frames.mean[_AMBIENT, k], None), int(frames.at_ms[k])
    if mean is None:
        return
    hours = max(at_ms - state.ambient_ms, 0) / 3_600_000
    is_suspect = state.suspects.get("ambient_kpa") == DRIFT
    allowed = AMBIENT_STEP_KPA + AMBIENT_STEP_KPA_H * hours
    if state.ambient_kpa is not None and abs(mean - state.ambient_kpa) > allowed:
        if state.before_kpa is None:
            state.before_kpa = state.ambient_kpa
        elif abs(mean - state.before_kpa) <= allowed:
            state.before_kpa = None
    state.ambient_kpa, state.ambient_ms = mean, at_ms
    is_drifted = state.before_kpa is not None or _is_elsewhere(mean, context, 0.0)
    if is_drifted and not is_suspect:
        state.suspects.setdefault("ambient_kpa", DRIFT)
    elif is_suspect and not is_drifted:
        del state.suspects["ambient_kpa"]


def _judge_cold(state: State, frames: Frames, k: int) -> None:
    """After a night pump and room are equally warm; if they are not, the one that has moved further has drifted."""
    at_ms, before = int(frames.at_ms[k]), state.last_ms
    state.last_ms = at_ms
    if at_ms - before > NIGHT_MS:
        state.dawn_ms, state.apart = at_ms if before else 0, 0
    pump, room = float(frames.mean[_PUMP_TEMP, k]), float(frames.mean[_ROOM_TEMP, k])
    is_stuck = any(state.suspects.get(name, DRIFT) != DRIFT for name in _TEMPERATURES)
    if at_ms - state.dawn_ms > DAWN_MS or is_stuck or math.isnan(pump) or math.isnan(room):
        return
    drifted = [name for name in _TEMPERATURES if state.suspects.get(name) == DRIFT]
    if abs(pump - room) <= COLD_K:
        state.apart, state.cold = 0, [pump, room]
        for name in drifted:
            del state.suspects[name]
        return
    state.apart += 1
    if state.apart == BAD_FRAMES and not drifted:
        usual = state.cold or [ROOM_C, ROOM_C]
        name = _TEMPERATURES[abs(room - usual[1]) > abs(pump - usual[0])]
        state.suspects.setdefault(name, DRIFT)


def _is_elsewhere(ambient: float, context: Context, margin: float) -> bool:
    """Whether the pressure is not that of the site's height; a height of exactly 0 counts as not known."""
    if context.altitude_m == 0:
        return False
    expected = STANDARD_PRESSURE_PA / 1000 * (1 - 2.25577e-5 * context.altitude_m) ** 5.25588
    return abs(ambient - float(expected)) > WEATHER_KPA - margin


def _known(value: float, otherwise: float | None) -> float | None:
    return otherwise if math.isnan(value) else float(value)
