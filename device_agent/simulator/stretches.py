"""From measured channels to what the agent of a machine would have logged: samples and session records, in order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermafleet.contracts.records import MAINTENANCE, Event, Session
from device_agent.simulator.inputs import Activity
from device_agent.simulator.life import Life
from device_agent.simulator.treatment import RATE_HZ, Script, count_strokes
from device_agent.simulator.truth import TrueFault

PERIOD_MS = 1000 // RATE_HZ
_PREPARED_BEFORE_MS = 60_000
_CHECKPOINT_STEPS = 60 * RATE_HZ
MODALITY = {"crystal": "CRYSTAL", "diamond": "DIAMOND", "hydra": "HYDRA"}
TIPS = {"crystal": "CRYSTAL_STEEL", "diamond": "DIAMOND_MEDIUM", "hydra": "HYDRA_SPIRAL"}

Record = Session | Event


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of one machine's time in one boot: a treatment, a self-test, or the idle time between them.

    Attributes:
        device_id, boot: whose.
        up_ms: uptime at the first sample.
        at_ms: (n,) event time of the samples, Unix ms.
        channels: name as sent → (n,) values; only what the machine's profile measures; NaN = not measured.
        records: session steps and events, each with the index of the sample before which it stands; n = after the last.
        truth: what is really wrong during it; never shown to a detector.
        filter_index: true one of the first circuit at the end.
        altitude_m: of the machine's clinic, as its owner would enter it.
    """

    device_id: str
    boot: str
    up_ms: int
    at_ms: NDArray[np.int64]
    channels: Mapping[str, NDArray[np.float32]]
    records: tuple[tuple[int, Record], ...]
    truth: tuple[TrueFault, ...]
    filter_index: float
    altitude_m: float = 0.0


def session_records(activity: Activity, session_id: str, setpoints: NDArray[np.float64]) -> list[tuple[int, Record]]:
    """Start, checkpoints and end of one session, each with its place among the samples.

    A treatment starts with the first contact, anything else with the button; without contact there is no treatment.

    Args:
        setpoints: (n,) kPa, as the first circuit was set.
    """
    life, script = activity.life, _whole(activity)
    contact = np.flatnonzero(script.contact[: activity.length])
    if activity.purpose == "treatment" and not len(contact):
        return []
    first = int(contact[0]) if activity.purpose == "treatment" else 0
    facts = _facts(activity) if activity.purpose == "treatment" else {}

    def step(op: str, at: int, **more: Any) -> Session:  # fields of Session
        done = count_strokes(script, since=first, upto=at + 1)
        return Session(
            op=op,  # type: ignore[arg-type]
            session=session_id,
            **_moment(life, activity.at_ms + at * PERIOD_MS),
            pump_s=done.pump_s,
            contact_s=done.contact_s,
            strokes=done.strokes,
            longest_dwell_s=done.longest_dwell_s,
            purpose=activity.purpose,  # type: ignore[arg-type]
            **facts,
            **more,
        )

    end = min(activity.end, activity.length)
    records: list[tuple[int, Record]] = [(first, step("start", first))]
    records += [(at, step("checkpoint", at)) for at in range(first + _CHECKPOINT_STEPS, end, _CHECKPOINT_STEPS)]
    if activity.end > activity.length:  # the power was cut: the agent ends it at its next start
        life.unfinished = step("end", activity.length - 1, outcome="power_loss")
        return records
    place = activity.length if activity.purpose == "treatment" else end
    last = activity.pump_end - 1 if activity.purpose == "treatment" else end - 1
    changed = _setpoint_changes(setpoints[first:last], life)
    records.append((place, step("end", last, outcome="completed", setpoints=changed)))
    return records


def maintenance_records(activity: Activity) -> list[tuple[int, Record]]:
    """What somebody did to the machine before an activity and recorded at the machine."""
    moment = _moment(activity.life, activity.at_ms - _PREPARED_BEFORE_MS)
    done = ({"type": kind, "component": "main", "vocabulary": 1} for kind in activity.maintenance)
    return [(0, Event(type=MAINTENANCE, **moment, data=data)) for data in done]


def _moment(life: Life, at_ms: int) -> dict[str, Any]:
    return {"boot": life.boot.id, "at": at_ms, "up": at_ms - life.boot.at_ms, "clock": "synced"}


def _facts(activity: Activity) -> dict[str, Any]:
    """Codes of a treatment: what the operator's screen would add."""
    architecture = activity.life.model.circuits[0].architecture
    return {
        "modality": MODALITY[architecture],
        "tip_type": TIPS[architecture],
        "tip_size_mm": activity.tip_mm,
        "abrasive": "AL2O3" if architecture == "crystal" else "NONE",
        "screening_outcome": "PASSED",
        "vocabulary": 1,
    }


def _setpoint_changes(setpoints: NDArray[np.float64], life: Life) -> list[tuple[float, float]] | None:
    if "setpoint_kpa" not in life.channels["main"]:
        return None
    changed = np.concatenate(([0], 1 + np.flatnonzero(np.diff(setpoints))))
    return [(float(at) / RATE_HZ, float(setpoints[at])) for at in changed]


def _whole(activity: Activity) -> Script:
    """All that was done with the machine: contact with any of its handpieces."""
    first, *others = activity.scripts
    if not others:
        return first
    seal = np.maximum.reduce([script.seal for script in activity.scripts])
    return Script(first.pump_on, seal, first.pinched, first.setpoint_kpa)
