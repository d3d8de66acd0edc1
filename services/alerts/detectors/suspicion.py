"""When a sensor becomes suspect, and when it is believed again: the counting behind `channels`, frame by frame."""

from dataclasses import dataclass

import numpy as np

from dermafleet.contracts.channels import fitted
from services.alerts.context import Context
from services.alerts.detectors import drifts, mains, sensors
from services.alerts.detectors.frames import NAMES, ROW, Flags, Frames
from services.alerts.detectors.health import RAIL, STUCK, State

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

_C = len(NAMES)
_AMBIENT = ROW["ambient_kpa"]
_CURRENT = ROW["motor_current_a"]
_ENOUGH = 1000


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a batch of frames says of each channel before it is compared with what is remembered; shapes (c, k).

    Attributes:
        judged: the motor runs and there are enough values for a deviation.
        load: what the motor took.
        sparse: fitted, seen at some time, and without a value in most samples.
    """

    frames: Frames
    judged: Flags
    sparse: Flags
    impossible: Flags
    contradicted: Flags
    load: mains.Load


def gather(state: State, frames: Frames, context: Context) -> Evidence:
    is_fitted = _fitted(context)
    impossible, at_rest = sensors.impossible(frames) & is_fitted[:, None], sensors.at_rest(frames)
    stands = (frames.mean[_CURRENT] < sensors.RUNNING_A) & ~impossible[_CURRENT]
    running = frames.is_pumping & ~stands
    is_seen = is_fitted & (np.array(state.seen) + frames.count.sum(axis=1) > 0)
    sparse = is_seen[:, None] & (frames.count * 2 < frames.samples)
    sparse[_CURRENT] &= frames.is_pumping  # without current the noise falls below the end of the range, to be marked
    return Evidence(
        frames=frames,
        judged=running & (frames.count >= MIN_COUNT) & sensors.HAS_NOISE[:, None],
        sparse=sparse,
        impossible=impossible & ~at_rest,
        contradicted=(sensors.contradicts(frames) | (impossible & at_rest))
        & running
        & is_fitted[:, None]
        & (frames.count >= MIN_COUNT),
        load=mains.load(frames),
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
    if (
        evidence.frames.at_ms[-1] - state.last_ms > drifts.NIGHT_MS
        or evidence.frames.at_ms[0] - state.dawn_ms <= drifts.DAWN_MS
    ):
        return False
    if not mains.is_usual(state.mains, evidence.load):
        return False
    ambient = evidence.frames.mean[_AMBIENT]
    if state.ambient_kpa is None or not np.abs(ambient - state.ambient_kpa).max() < drifts.AMBIENT_STEP_KPA / 2:
        return not np.isfinite(ambient).any() and state.ambient_kpa is None
    return not drifts.is_elsewhere(float(ambient[0]), context, drifts.AMBIENT_STEP_KPA)


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
    for volts, amps, share in zip(*(column.tolist() for column in evidence.load), strict=True):
        mains.judge(state.mains, volts, amps, share, is_suspect=False)
    state.last_ms = int(frames.at_ms[-1])
    if np.isfinite(frames.mean[_AMBIENT, -1]):
        state.ambient_kpa, state.ambient_ms = float(frames.mean[_AMBIENT, -1]), state.last_ms


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
    drifts.judge_ambient(state, frames, k, context)
    drifts.judge_cold(state, frames, k)
    drifts.judge_mains(state, evidence.load, k)


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
            is_moved = learned[row] >= LEARNED_FRAMES and quietest[row] > 0  # a coarse sensor has been still before
            frames = STILL_FRAMES if is_sure and not sensors.IS_SLOW[row] else SLOW_STILL_FRAMES
            is_sure |= bool(is_moved and not sensors.IS_SLOW[row])
            if state.still[row] >= frames and is_sure and state.suspects.get(NAMES[row]) != RAIL:
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
