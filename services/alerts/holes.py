"""A hole in a device's log stops its evaluation: what to say about it, and when to give up waiting. Server time."""

from datetime import datetime

from services.alerts.observation import Detail, Observation, Origin

FAULT = "evaluation_blocked"
COMPONENT = "log"
VERSION = 1
SEVERITY = 1
"""Nothing is wrong with the machine; somebody should look why its log has a hole."""


def blocked(origin: Origin, *, since: datetime, at: datetime) -> Observation:
    """Newer entries have waited for the missing entry `origin` since then, and at `at` that was too long."""
    since_text = since.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    reason = f"entry {origin.seq} of epoch {origin.epoch} is missing, and newer ones wait for it"
    detail: Detail = {"epoch": origin.epoch, "seq": origin.seq, "since": since_text}
    return Observation(COMPONENT, FAULT, SEVERITY, at, origin, 1.0, FAULT, VERSION, reason, detail)


def unblocked(origin: Origin, *, now: datetime) -> Observation:
    """The evaluation has moved on to `origin`."""
    return Observation(COMPONENT, FAULT, None, now, origin, 1.0, FAULT, VERSION, "the log goes on without a hole")
