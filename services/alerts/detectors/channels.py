"""Health of the sensors: a value at the rail or missing, one that stands still, one that has drifted from its zero.

Judged per frame of ten seconds, by rules per channel (`sensors`): room temperature, ambient pressure, masses and the
set point may stand still for hours. Several channels that fail at once are no sensors: `supply` tells of those. A
suspect channel is blanked for the detectors after this one (`trusted`), which then cannot see; what they told
stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from dermafleet.contracts.channels import fitted
from services.alerts.context import Context
from services.alerts.detectors.drifts import judge_rest, note_pressure
from services.alerts.detectors.frames import NAMES, ROW, Frames
from services.alerts.detectors.health import DRIFT, RAIL, STUCK, VERSION, State, forget
from services.alerts.detectors.rests import Rest
from services.alerts.detectors.suspicion import gather, is_quiet, judge, learn_all
from services.alerts.limits import MAIN
from services.alerts.observation import Block, Observation, Origin, Value, utc

FAULTS = (DRIFT, STUCK, RAIL)
NEEDS: Mapping[str, tuple[frozenset[str], ...]] = {fault: (frozenset({"pump_on"}),) for fault in FAULTS}

_CONFIDENCE = {DRIFT: 0.8, STUCK: 0.9, RAIL: 0.95}
_SAYS = {
    DRIFT: "away from its zero, or from what the site can have",
    STUCK: "does not move while the machine does",
    RAIL: "missing, at the end of its range, or impossible beside the others",
}
_HANDPIECE = ROW["vacuum_handpiece_kpa"]


def watch(
    state: State,
    frames: Frames | None,
    rests: Sequence[Rest],
    block: Block,
    context: Context,
    *,
    component: str = MAIN,
) -> list[Observation]:
    """Judge the frames and rests that a block completed; changes `state`, returns what changed, oldest first."""
    start = int(block.at_ms[0])
    state.blanks = [each for each in state.blanks if not each[2] or each[2] > start]
    if context.limits.architecture == "bench" or (frames is None and not rests):
        return []
    evidence = None if frames is None else gather(state, frames, context)
    if evidence is not None and not rests and is_quiet(state, evidence, context):
        learn_all(state, evidence)
        note_pressure(state, evidence.frames, slice(None))
        return []
    changes: list[Observation] = []
    for at, k in _in_order(frames, rests):
        before = dict(state.suspects)
        if k < 0:
            judge_rest(state, rests[k])
        elif evidence is not None:
            judge(state, evidence, k, context)
            note_pressure(state, evidence.frames, slice(k, k + 1))
        if state.suspects != before:
            _blank(state, before, int(block.at_ms[at]))
            changes += _tell(state, component, int(block.at_ms[at]), Origin(block.epoch, block.seq, at))
    return changes


def _in_order(frames: Frames | None, rests: Sequence[Rest]) -> list[tuple[int, int]]:
    """Sample that completed it, and which one: frames from 0 on, rests from the last backwards as -1, -2 ..."""
    of_frames = [] if frames is None else [(at, k) for k, at in enumerate(frames.closed_by.tolist())]
    of_rests = [(rest.closed_by, k - len(rests)) for k, rest in enumerate(rests)]
    return sorted(of_frames + of_rests)


def trusted(state: State, block: Block) -> Block:
    """The block without the values of suspect channels; call it after `watch` with the same block."""
    if not state.blanks:
        return block
    channels = dict(block.channels)
    for name, since, until in state.blanks:
        if name in channels:
            is_suspect = block.at_ms >= since
            if until:
                is_suspect &= block.at_ms < until
            channels[name] = np.where(is_suspect, np.nan, channels[name])
    return replace(block, channels=channels)


def trusted_frames(state: State, frames: Frames | None, block: Block) -> Frames | None:
    """Likewise the means of frames, by the sample that completed them."""
    if frames is None or not state.blanks:
        return frames
    mean, closed_ms = frames.mean.copy(), block.at_ms[frames.closed_by]
    for name, since, until in state.blanks:
        is_suspect = closed_ms >= since
        if until:
            is_suspect &= closed_ms < until
        mean[ROW[name], is_suspect] = np.nan
    return replace(frames, mean=mean)


def judge_latest(
    latest: Mapping[str, float | None], context: Context, *, at: datetime, origin: Origin, component: str = MAIN
) -> list[Observation]:
    """Which channels of a status message are outside their plausible range; one that is absent may not be sent.

    Returns:
        one opinion on the rail fault, severity None = all are plausible; nothing if there are no values.
    """
    fit = {channel.name: channel for channel in fitted(context.profile)}
    values = {name: value for name, value in latest.items() if name in fit and value is not None}
    if not values:
        return []
    names = [name for name in NAMES if name in values and not fit[name].low - 0.1 <= values[name] <= fit[name].high]
    judged_by = "vacuum_handpiece_kpa" if "vacuum_handpiece_kpa" in latest else "vacuum_inlet_kpa"
    severity = (3 if judged_by in names else 2) if names else 0
    return [_observation(component, RAIL, severity, names, (at, origin, 0.7))]


def reset(state: State, record_type: str) -> None:
    """Forget what service of the sensors has made invalid; what was told stands until frames say otherwise."""
    if record_type in {"SENSOR_CALIBRATED", "SENSOR_REPLACED"}:
        forget(state)


def _blank(state: State, before: Mapping[str, str], at_ms: int) -> None:
    """Note from and until when channels are not trusted."""
    for name in state.suspects.keys() - before.keys():
        state.blanks.append((name, at_ms, 0))
        state.doubted[name] = at_ms
    for name in before.keys() - state.suspects.keys():
        state.blanks = [
            (each, since, at_ms if each == name and not until else until) for each, since, until in state.blanks
        ]


def _tell(state: State, component: str, at_ms: int, origin: Origin) -> list[Observation]:
    """One opinion per kind of sensor fault whose channels or severity have changed."""
    found = []
    for fault in FAULTS:
        names = [name for name in NAMES if state.suspects.get(name) == fault]
        severity = max((_severity(state, fault, name) for name in names), default=0)
        if state.told.get(fault, (0, [])) == (severity, names):
            continue
        state.told[fault] = (severity, names)
        found.append(_observation(component, fault, severity, names, (utc(at_ms), origin, _CONFIDENCE[fault])))
    return found


def _observation(
    component: str, fault: str, severity: int, names: list[str], when: tuple[datetime, Origin, float]
) -> Observation:
    at, origin, confidence = when
    detail: dict[str, Value] = {"channel": names[0], "channels": names} if names else {}
    return Observation(
        component=component,
        fault=fault,
        severity=severity or None,
        at=at,
        origin=origin,
        confidence=confidence,
        detector="channels",
        detector_version=VERSION,
        reason=f"{', '.join(names)} {_SAYS[fault]}" if names else "all channels are plausible again",
        detail=detail,
    )


def _severity(state: State, fault: str, name: str) -> int:
    """2, or 3 if over-vacuum cannot be judged without the channel; 1 for drift."""
    if fault == DRIFT:
        return 1
    judged_by = "vacuum_handpiece_kpa" if state.seen[_HANDPIECE] else "vacuum_inlet_kpa"
    return 3 if name == judged_by else 2
