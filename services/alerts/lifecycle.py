"""The life of an alarm: raised, changed in severity, cleared, raised again; one not closed per fault of a device.

Pure: `(alarm or nothing, observation) -> decision`. The caller stores alarm and transition in one transaction, together
with the follower's position, so that a replay makes the same alarms.
"""

import uuid
from dataclasses import dataclass, replace

from dermafleet.storage.alarms import Alarm, Transition
from services.alerts.observation import Observation
from services.alerts.tuning import FIRST

_NAMESPACE = uuid.UUID("7b1e0a52-2f0c-5e0e-9b2a-0d5c9a4f6b11")
"""Fixed for ever: alarm ids are derived from it."""

UNSURE_SEVERITY = 2
"""No alarm that is not sure becomes more severe than *service due*: check first."""
NEVER_CAPPED = frozenset({"over_vacuum"})
"""Hazards: waiting until it is certain would be worse than a look for nothing."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of an alarm.

    Attributes:
        alarm: as it now is; None = there is none and none is needed.
        transition: what goes into its history; None = nothing worth telling.
        reason: one line for a person.
    """

    alarm: Alarm | None
    transition: Transition | None
    reason: str


def alarm_id(device_id: str, observation: Observation) -> uuid.UUID:
    """The same for every replay: made of the device, the fault and the place in the log that raised it."""
    name = f"{device_id}/{observation.component}/{observation.fault}/{observation.origin}"
    return uuid.uuid5(_NAMESPACE, name)


def decide(device_id: str, alarm: Alarm | None, observation: Observation, *, sure: float = FIRST.sure) -> Decision:
    """What an observation does to the alarm of its fault that is not closed (None: there is none).

    Args:
        sure: confidence from which it is.
    """
    severity = _severity(observation, alarm, sure)
    if severity is None:
        return _clear(alarm, observation)
    if alarm is None:
        return Decision(_raise(device_id, observation, severity), "raised", observation.reason)
    if alarm.standing == "cleared":
        again = replace(_seen(alarm, observation, severity), standing="raised", count=alarm.count + 1, cleared_at=None)
        return Decision(replace(again, raised_at=observation.at), "reraised", f"is back: {observation.reason}")
    seen = _seen(alarm, observation, severity)
    if severity > alarm.severity:
        # Who acknowledged the milder fault has not seen this one.
        worse = replace(seen, standing="raised" if alarm.standing == "acknowledged" else alarm.standing)
        return Decision(worse, "severity_up", observation.reason)
    if severity < alarm.severity:
        return Decision(seen, "severity_down", observation.reason)
    return Decision(seen, None, observation.reason)


def _severity(observation: Observation, alarm: Alarm | None, sure: float) -> int | None:
    """What the observation claims, as far as its confidence carries it; what was sure before stays."""
    severity = observation.severity
    if severity is None or observation.confidence >= sure or observation.fault in NEVER_CAPPED:
        return severity
    is_open = alarm is not None and alarm.standing != "cleared"
    return min(severity, max(UNSURE_SEVERITY, alarm.severity if is_open and alarm else 0))


def _detail(observation: Observation) -> dict[str, object]:
    """The numbers behind it, with the ambiguity set under ``candidates``; where there is none, without that name."""
    candidates = {"candidates": dict(observation.candidates)} if observation.candidates else {}
    return {**observation.detail, **candidates}


def _clear(alarm: Alarm | None, observation: Observation) -> Decision:
    if alarm is None:
        return Decision(None, None, "there is no fault")
    if alarm.standing == "cleared":
        return Decision(alarm, None, "the fault is gone already")
    gone = replace(alarm, standing="cleared", cleared_at=observation.at, last_at=observation.at)
    return Decision(gone, "cleared", observation.reason)


def _raise(device_id: str, observation: Observation, severity: int) -> Alarm:
    return Alarm(
        id=alarm_id(device_id, observation),
        component=observation.component,
        fault=observation.fault,
        severity=severity,
        standing="raised",
        confidence=observation.confidence,
        raised_at=observation.at,
        last_at=observation.at,
        cleared_at=None,
        count=1,
        detector=observation.detector,
        detector_version=observation.detector_version,
        detail=_detail(observation),
    )


def _seen(alarm: Alarm, observation: Observation, severity: int) -> Alarm:
    return replace(
        alarm,
        severity=severity,
        confidence=observation.confidence,
        last_at=max(alarm.last_at, observation.at),
        detector=observation.detector,
        detector_version=observation.detector_version,
        detail=_detail(observation),
    )
