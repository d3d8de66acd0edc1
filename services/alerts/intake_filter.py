"""One opinion on a component's intake filter, from its samples and from its sessions, with the forecast of its life.

Samples tell within seconds that a filter has reached its limit; sessions tell what comes before, and how long it will
last. A treatment machine is judged by both, and the worse holds; a rig without sessions by its samples. A filter that a
record calls new is believed when the next session shows it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

import msgspec

from services.alerts.baselines import Normalised
from services.alerts.context import Context
from services.alerts.detectors import filter_clogged
from services.alerts.detectors.filter_clogged import FAULT, VERSION
from services.alerts.detectors.filter_clogged import State as SampleState
from services.alerts.features.nominal import type_machine
from services.alerts.features.types import SessionFeatures
from services.alerts.findings import FilterForecast, FilterLife, Findings
from services.alerts.forecast import sessions
from services.alerts.forecast.curve import Curve
from services.alerts.forecast.judge import NEAR_LEVEL, OTHER_FILTER, SAMPLES, SERVICE_DUE, WITHIN_SESSION
from services.alerts.forecast.life import Life, Load
from services.alerts.forecast.remaining import Forecast, Range, Usage
from services.alerts.forecast.sessions import State as SessionsState
from services.alerts.limits import MAIN
from services.alerts.observation import Block, Observation, Origin, Value, utc

RECORDS = frozenset({"FILTER_INTAKE_REPLACED"})
"""After which another filter is fitted."""
OBSERVED = "observed"
"""Why a filter ended whose change nobody recorded."""
TELL_STEP = 0.05
"""An alarm's numbers are renewed when the ratio has moved so far from session to session."""
KNOWN, ASSUMED = 1.05, 0.95
"""Index for an advisory over the measured one. Known: a filter's first session, by which it is learned, has loaded it,
and a session's mean lies below what the filter has come to. Assumed: filters differ from the type's by 15 %."""
SUDDEN = 3.0
"""A hydra machine's filter sees hardly any dust: this many times its last index in one session, it is wet."""
LONGER_THAN_HEALTH_S = 30.0
"""A gauge at its rail is told within two frames, and those before them may be cut."""
WITHIN = replace(WITHIN_SESSION, raise_s=LONGER_THAN_HEALTH_S)
HELD_SESSIONS = 3
"""For so long a sudden rise is left to the diagnosis; what it has not named by then is the filter's own."""
_DAY_ZERO = date(1970, 1, 1).toordinal()


class State(msgspec.Struct, omit_defaults=True):
    """What is remembered between entries.

    Attributes:
        samples, sessions: of the two ways to judge.
        told, told_ratio: severity and ratio last told; None = none yet, 0 = no fault.
        since_ms, last_ms: event time at which this filter was seen first (None = not yet) and last.
        clean: index, by the clean value of the type, that this machine's filters have as new; None = not learned yet.
        ratio: of the last session that was judged. held: sessions since that were not.
    """

    samples: SampleState = msgspec.field(default_factory=SampleState)
    sessions: SessionsState = msgspec.field(default_factory=SessionsState)
    told: int | None = None
    told_ratio: float = 0.0
    since_ms: int | None = None
    last_ms: int = 0
    clean: float | None = None
    ratio: float | None = None
    held: int = 0


def take_samples(state: State, block: Block, context: Context, *, is_explained: bool = False) -> Findings:
    """Take in one entry's samples; changes ``state``.

    Args:
        is_explained: something else holds the air back: what that has left is told after the first session without it.
    """
    found, is_rig = Findings(), _is_rig(context)
    library = context.library if is_rig else None  # a treatment machine's filter is forecast by its sessions
    usage = Usage(pace=state.sessions.pace)
    curve = state.samples.curve
    patience = SAMPLES if is_rig else WITHIN
    due_share = context.tuning.filter_due_share
    changes = filter_clogged.evaluate(
        state.samples, block, context.limits, library, usage, due_share=due_share, patience=patience
    )
    if is_rig and state.samples.curve is not curve:
        found.lives += _ended(state, curve, OBSERVED)
    if is_rig:
        _note_time(state, int(block.at_ms[0]), int(block.at_ms[-1]))
    if not (_is_wettable(context) or is_explained):
        for each in changes:
            found.observations += _tell_samples(state, each, is_rig=is_rig)
    return found


def distrust(state: State, names: Iterable[str]) -> None:
    """These channels have become suspect; changes ``state``. What their last samples showed no longer counts."""
    if not set(filter_clogged.CHANNELS).isdisjoint(names):
        filter_clogged.distrust(state.samples)


def take_session(
    state: State,
    features: SessionFeatures,
    normalised: Normalised,
    context: Context,
    origin: Origin,
    *,
    is_explained: bool = False,
) -> Findings:
    """Take in one finished session; changes ``state``.

    A self-test pumps for seconds and wears nothing: it only shows a filter that no treatment has shown yet.

    Args:
        is_explained: something else holds the air back (a full canister, a wet filter): it says nothing of the dust.
    """
    if features.purpose == "self_test" and state.sessions.curve.seconds:
        return Findings()
    day = datetime.fromtimestamp(features.ended_ms / 1000, ZoneInfo(context.time_zone)).date().toordinal() - _DAY_ZERO
    if features.purpose != "self_test":
        sessions.note_day(state.sessions, day, features.pump_s)
    if _is_rig(context):
        return _take_rig_session(state, features, origin)
    found, rated = Findings(), rated_index(context)
    if features.filter_index is None or rated is None or features.pump_s <= 0:
        return found
    ratio = features.filter_index / rated
    if is_explained or _is_sudden(state, ratio, context):
        state.held += 1
        return found
    state.ratio, state.held = ratio, 0
    due_share = context.tuning.filter_due_share
    grown = _grown_index(state, features.filter_index, normalised) / rated
    judged = sessions.take_session(
        state.sessions, features.pump_s, ratio, context.library, Load(), due_share=due_share, grown=grown
    )
    if judged.ended is not None:
        found.lives += _ended(state, judged.ended, OBSERVED)
    _note_time(state, features.started_ms, features.ended_ms)
    confidence = _confidence(state.sessions, ratio, normalised.filter_index_error or 0.0, judged.forecast)
    evidence = _evidence(features.filter_index, rated, judged.forecast)
    found.observations += _tell_session(state, features.ended_ms, origin, ratio, confidence, evidence, is_rig=False)
    if judged.forecast is not None:
        found.forecasts.append(_forecast(features.ended_ms, ratio, judged.forecast, judged.evening_probability))
    return found


def replaced(state: State, record_type: str, context: Context) -> list[FilterLife]:
    """A maintenance record was entered; changes ``state``, returns the filter that ended, if one did."""
    if record_type not in RECORDS:
        return []
    ended = _ended(state, state.samples.curve if _is_rig(context) else state.sessions.curve, record_type)
    filter_clogged.replaced(state.samples)
    sessions.replaced(state.sessions)
    state.ratio, state.held = None, 0
    return ended


def see(channels: frozenset[str]) -> tuple[bool, str, tuple[str, ...]]:
    """Whether a rig's filter could be judged by these channels, why not, and what it would be confused with."""
    is_measured = "filter_dp_kpa" in channels
    return is_measured, "" if is_measured else "filter_dp_kpa is not measured", ()


def rated_index(context: Context) -> float | None:
    """Filter index at the rated limit, by the clean filter of the type; None = the model states no limit."""
    limits, machine = context.limits, type_machine(context)
    if limits.filter_dp_kpa is None or limits.filter_flow_lpm is None:
        return None
    flow_m3s = limits.filter_flow_lpm * 1e-3 / 60
    viscous_pa, inertial_pa = float(machine.filter_r1) * flow_m3s, float(machine.filter_r2) * flow_m3s**2
    return max((limits.filter_dp_kpa * 1000 - inertial_pa) / viscous_pa, 1.0)


def _take_rig_session(state: State, features: SessionFeatures, origin: Origin) -> Findings:
    """A rig's sessions are stretches of its running: what its samples say is told again, with the forecast."""
    found, samples = Findings(), state.samples
    confidence = filter_clogged.find_confidence(samples)
    found.observations += _tell_session(state, features.ended_ms, origin, samples.level, confidence, {}, is_rig=True)
    if samples.forecast is not None:
        found.forecasts.append(_forecast(features.ended_ms, samples.level, samples.forecast, None))
    return found


def _grown_index(state: State, index: float, normalised: Normalised) -> float:
    """Index over this machine's own clean filter, as an advisory is judged by it; changes ``state``.

    A filter whose own value is not known is compared with those before it: their machine's parts are the same.
    """
    if normalised.is_filter_learned and normalised.filter_index:
        state.clean = index / normalised.filter_index
    return index * ASSUMED if state.clean is None else index / state.clean * KNOWN


def _is_wettable(context: Context) -> bool:
    """Whether a rise within a session is rather water than dust, so that samples cannot name it."""
    return context.limits.architecture == "hydra"


def _is_sudden(state: State, ratio: float, context: Context) -> bool:
    is_jump = state.ratio is not None and ratio >= SUDDEN * state.ratio
    return _is_wettable(context) and is_jump and state.held < HELD_SESSIONS


def _is_rig(context: Context) -> bool:
    return context.limits.architecture == "bench"


def _severity(state: State, *, is_rig: bool) -> int | None:
    """The worse of both ways; None while neither has an opinion."""
    known = [each for each in (_by_samples(state, is_rig=is_rig), state.sessions.standing.severity) if each is not None]
    return max(known) if known else None


def _by_samples(state: State, *, is_rig: bool) -> int | None:
    """What the samples say; of a treatment machine's filter only whether it reached its limit, or is clean."""
    standing = state.samples.standing
    return standing.severity if is_rig or standing.has_failed or standing.severity == 0 else None


def _tell_samples(state: State, opinion: Observation, *, is_rig: bool) -> list[Observation]:
    """What the samples say, unless the sessions say worse or it is known."""
    severity = _severity(state, is_rig=is_rig)
    is_own = bool(severity) and severity == _by_samples(state, is_rig=is_rig)
    if severity is None or (severity == state.told and not is_own):
        return []
    state.told, state.told_ratio = severity, state.samples.told
    return [replace(opinion, severity=severity or None)]


def _tell_session(
    state: State,
    at_ms: int,
    origin: Origin,
    ratio: float,
    confidence: float,
    evidence: Mapping[str, Value],
    *,
    is_rig: bool,
) -> list[Observation]:
    """What holds after a session, where it differs from what was told."""
    severity = _severity(state, is_rig=is_rig)
    has_moved = bool(severity) and abs(ratio - state.told_ratio) >= TELL_STEP
    if severity is None or (severity == state.told and not has_moved):
        return []
    state.told, state.told_ratio = severity, ratio
    reason = f"at {ratio:.0%} of the rated limit in this session"
    shown: dict[str, Value] = {"ratio": round(ratio, 4), **evidence}
    at = utc(at_ms)
    return [Observation(MAIN, FAULT, severity or None, at, origin, confidence, FAULT, VERSION, reason, shown)]


def _evidence(index: float, rated: float, found: Forecast | None) -> dict[str, Value]:
    known: dict[str, Value] = {"filter_index": round(index, 2), "rated_index": round(rated, 2)}
    if found is None:
        return known
    if found.remaining_sessions is not None:
        known["sessions_left_p50"] = round(found.remaining_sessions.p50, 1)
    return {**known, "share_left": round(found.share_left, 3), "basis": found.basis, "filters": found.filters}


def _confidence(state: SessionsState, ratio: float, error: float, found: Forecast | None) -> float:
    """How far the ratio is from that of another filter, against its error; at most the forecast's, where that decides.

    Args:
        error: relative standard deviation of the ratio.
    """
    margin = max(ratio - OTHER_FILTER * state.standing.peak, 0.0) if state.standing.severity else max(1 - ratio, 0.0)
    share = margin / (margin + error * ratio) if margin else 0.0
    if state.standing.severity == SERVICE_DUE and ratio < NEAR_LEVEL and found is not None:
        share = min(share, found.due_probability)
    return round(share, 4)


def _forecast(at_ms: int, ratio: float, found: Forecast, evening: float | None) -> FilterForecast:
    return FilterForecast(
        component=MAIN,
        at_ms=at_ms,
        ratio=round(ratio, 4),
        share_left=found.share_left,
        sessions=None if found.remaining_sessions is None else _three(found.remaining_sessions),
        hours=_three(found.remaining_hours),
        days=None if found.remaining_days is None else _three(found.remaining_days),
        basis=found.basis,
        filters=found.filters,
        evening_probability=evening,
    )


def _three(found: Range) -> tuple[float, float, float]:
    return found.p10, found.p50, found.p90


def _note_time(state: State, from_ms: int, to_ms: int) -> None:
    state.since_ms = from_ms if state.since_ms is None else state.since_ms
    state.last_ms = max(state.last_ms, to_ms)


def _ended(state: State, curve: Curve, reason: str) -> list[FilterLife]:
    """The life of the filter that was there until now; nothing if none was seen."""
    since_ms, state.since_ms = state.since_ms, None
    if since_ms is None or not curve.seconds:
        return []
    return [FilterLife(MAIN, since_ms, state.last_ms, Life(curve, Load(), curve.reached_s), reason)]
