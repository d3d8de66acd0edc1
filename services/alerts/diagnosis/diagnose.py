"""From a session's residuals to named faults: the slow, condition-like faults of one component.

Every fault's machine is compared with what was measured (`fit`), evidence is added up over sessions (`evidence`), and
an opinion changes only on strong evidence (`verdict`): in two sessions, or in a self-test. One name at a time; what
cannot be told from it stands beside it as the ambiguity set. Crystals and canister are weighed besides, and a filter
whose measured drop jumps is wet.

Not here: severity and forecast of a filter whose pressure drop is measured, momentary faults, mains, sensors.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.baselines import Normalised
from services.alerts.context import Context
from services.alerts.detectors import consumables, intake
from services.alerts.diagnosis import crystals, evidence, fit, signatures, verdict
from services.alerts.diagnosis.evidence import Evidence
from services.alerts.diagnosis.fit import Fit
from services.alerts.diagnosis.signatures import HEALTHY, LOADS, MILD, Floats, Signatures
from services.alerts.diagnosis.verdict import Standing, Verdict
from services.alerts.features.types import SessionFeatures
from services.alerts.limits import MAIN
from services.alerts.observation import Observation, Origin

DETECTOR = "diagnosis"
VERSION = 1

USUAL_INDEX_ERROR = 0.1
GROWTH, GROWTH_ERROR, GROWTH_PENALTY = 0.5, 0.25, 16.0
"""A filter's index grows from session to session by little more than half, in logarithms; a wetted one jumps."""
JUMP, WET_SESSIONS = 4.0, 2
"""An index this many times the last one is no growth; the last one stays the measure. In so many sessions it is wet."""

EMPTY_IS_SEEN = 2.3
"""Logarithm of how much less often a jar is empty for several treatments than anything else happens: it is seen."""
FEED_NOISE = "feed_noise"
"""Stands among the channels for the noise of the feed, wherever it was heard."""

UNLEARNED_WEIGHT = 0.3
"""Until a machine's habits are learned, treatments repeat the same deviation from the type and add little."""

CURES = frozenset(
    {
        "FILTER_EXHAUST_REPLACED",
        "HOSE_CLEARED",
        "HOSE_REPLACED",
        "HANDPIECE_SERVICED",
        "HANDPIECE_REPLACED",
        "FEED_CLEARED",
        "CRYSTALS_REPLACED",
        "CANISTER_REPLACED",
        "SEAL_REPLACED",
        "PUMP_KIT_REPLACED",
        "PUMP_REPLACED",
        "REGULATOR_SERVICED",
        "SENSOR_CALIBRATED",
        "SENSOR_REPLACED",
        "SITE_CHANGED",
    }
)
"""Maintenance records that change what was compared; everyday ones (new filter, emptied canister) do not."""


class State(msgspec.Struct):
    """What is remembered between sessions.

    Attributes:
        evidence: log likelihood ratios of all nodes.
        standing: the named fault.
        weighed: of crystals and canister, fault → severity told.
        index: filter index last found; None = none yet.
        jump, jumps: index that no growth has led to, and in how many sessions in a row; 0 = none.
        usual: crystals that this machine draws, and their noise.
    """

    evidence: Evidence = msgspec.field(default_factory=Evidence)
    standing: Standing = msgspec.field(default_factory=Standing)
    weighed: dict[str, int] = {}
    index: float | None = None
    jump: float = 0.0
    jumps: int = 0
    usual: crystals.Usual = msgspec.field(default_factory=crystals.Usual)


def take(
    state: State, features: SessionFeatures, normalised: Normalised, context: Context, origin: Origin
) -> list[Observation]:
    """Take in one session; changes ``state``, returns the opinions that changed, those that are gone first."""
    weighed = _weigh(state, features, context, origin)
    table = signatures.compute(context.limits.architecture)
    to_kpa = features.capped.pump_down_to_kpa if features.capped is not None else 60.0
    has_crystals = consumables.CRYSTALS in table.faults
    is_empty = state.weighed.get(consumables.CRYSTALS, 0) >= consumables.EMPTIED
    compared = fit.compare(
        table,
        normalised,
        feed=None if is_empty else crystals.feed(state.usual, features),
        noise=None if is_empty or not has_crystals else crystals.noise(state.usual, features),
        pump_down_to_kpa=to_kpa,
    )
    if compared is None:
        return weighed
    channels = channels_of(normalised, features)
    likelier = gain(table, compared, state, channels)
    if intake.WETTED in table.faults:
        weighed += _tell_wet(state, features, origin)
    if state.weighed.get(intake.WETTED, 0):
        return weighed  # so far from any usual load the air path says nothing of its other parts
    if not compared.is_test and not _is_learned(normalised):
        likelier *= UNLEARNED_WEIGHT
    evidence.add(state.evidence, likelier, is_test=compared.is_test)
    odds = evidence.total(state.evidence, table)
    odds[~possible(table, channels)] = -np.inf
    names = names_of(table)
    if "crystal_jar_g" in channels:
        _explain_by_jar(state, names, odds)
    else:
        odds[[name == consumables.CRYSTALS for name in names]] -= EMPTY_IS_SEEN
    shares = evidence.probabilities(odds, names)
    levels = _levels(table, odds, names)
    severities = {fault: signatures.hypothesis(fault).severity(level) for fault, level in levels.items()}
    changed = verdict.decide(state.standing, shares, severities, certain=context.tuning.diagnosis_certain)
    return [*weighed, *_observations(changed, state, levels, features, origin)]


def holds_back(state: State) -> bool:
    """Whether something is named that resists the air like a clogged filter: its index then says nothing of dust."""
    is_full = state.weighed.get(consumables.CANISTER, 0) >= consumables.FULL
    return is_full or state.weighed.get(intake.WETTED, 0) > 0


def maintained(state: State, record_type: str) -> None:
    """A maintenance record was entered: what it may have cured is judged anew from the next session on.

    The alarm stands until a session has shown that the fault is gone: a record alone closes nothing.
    """
    if record_type in CURES:
        state.evidence = Evidence()
    if record_type == "FILTER_INTAKE_REPLACED":
        state.index = None
    if record_type == "CRYSTALS_REPLACED":
        state.usual = crystals.Usual()


def _is_learned(normalised: Normalised) -> bool:
    """Whether this machine's habits are known; a filter's own resistance changes with every filter."""
    return all(each.is_learned for each in normalised.residuals if each.channel != "filter_dp_kpa")


def channels_of(normalised: Normalised, features: SessionFeatures) -> frozenset[str]:
    """What was measured in this session."""
    weighed = {name for name in ("crystal_jar_g", "canister_g") if f"{name[:-2]}_last_g" in features.values}
    mains = {"mains_v"} if features.mains_v is not None else set()
    heard = {FEED_NOISE} if any(name.startswith(FEED_NOISE) for name in features.values) else set()
    return frozenset({each.channel for each in normalised.residuals} | weighed | mains | heard)


def possible(table: Signatures, channels: frozenset[str]) -> NDArray[np.bool_]:
    """(H,) which nodes are explanations at all with these channels measured.

    A clogged or wet filter whose pressure drop is measured is no rival of other faults but stands beside them, like low
    mains that are measured; a full canister shows by weight alone, an empty jar by its silence too.
    """
    beside = {consumables.CANISTER}
    beside |= intake.BY_DROP if "filter_dp_kpa" in channels else set()
    beside |= {"mains_low"} if "mains_v" in channels else set()
    heard = {consumables.CRYSTALS} if FEED_NOISE in channels else set()
    return np.array(
        [
            each is None
            or each.fault in heard
            or (each.fault not in beside and (not each.needs or any(need <= channels for need in each.needs)))
            for each in table.hypotheses
        ]
    )


def _explain_by_jar(state: State, names: list[str], odds: Floats) -> None:
    """A jar that is weighed and low explains what it does and is told by its weight; one that is not low does not."""
    is_low = state.weighed.get(consumables.CRYSTALS, 0) >= verdict.CHECK
    for node in [i for i, name in enumerate(names) if name == consumables.CRYSTALS]:
        names[node] = MILD
        if not is_low:
            odds[node] = -np.inf


def names_of(table: Signatures) -> list[str]:
    """(H,) fault of each node, `MILD` where the level is too mild to tell anybody, `HEALTHY` for node 0."""
    return [
        HEALTHY if each is None else each.fault if each.severity(level) > 0 else MILD
        for each, level in zip(table.hypotheses, table.levels.tolist(), strict=True)
    ]


def gain(table: Signatures, compared: Fit, state: State, channels: frozenset[str]) -> Floats:
    """(H,) log likelihood ratio of each node to node 0, the filter's load at its best for each."""
    has_dp = "filter_dp_kpa" in channels
    flat = np.array([each is not None and each.replaces_filter for each in table.hypotheses])
    penalty = _load_penalty(state, has_dp=has_dp)
    chi2 = compared.chi2 + np.where(flat[:, None], 0.0, penalty)
    best = _parabola(chi2)
    if has_dp:
        found = float(LOADS[int(np.argmin(chi2[0]))])
        if state.index is None or found < JUMP * state.index:
            state.index, state.jump, state.jumps = max(found, 1.0), 0.0, 0
        else:
            state.jump, state.jumps = found, state.jumps + 1
    return np.asarray((best[0] - best) / 2)


def _load_penalty(state: State, *, has_dp: bool) -> Floats:
    """(K,) how unlikely each load of the filter is before anything was measured."""
    if not has_dp:
        return np.square(np.maximum(np.log(LOADS / intake.USUAL_INDEX) / USUAL_INDEX_ERROR, 0.0))
    if state.index is None:
        return np.zeros(len(LOADS))
    growth = np.log(LOADS / state.index) - GROWTH
    return np.minimum(np.square(np.maximum(growth / GROWTH_ERROR, 0.0)), GROWTH_PENALTY)


def _parabola(chi2: Floats) -> Floats:
    """(H, K) → (H,) least value along the loads, between them too."""
    middle = np.clip(np.argmin(chi2, axis=1), 1, chi2.shape[1] - 2)
    row = np.arange(len(chi2))
    left, centre, right = chi2[row, middle - 1], chi2[row, middle], chi2[row, middle + 1]
    bend = left - 2 * centre + right
    place = np.clip((left - right) / np.maximum(2 * bend, 1e-9), -1.0, 1.0)
    lowest = centre + place * (right - left) / 2 + np.square(place) * bend / 2
    return np.asarray(np.minimum(np.maximum(lowest, 0.0), chi2.min(axis=1)))


def _levels(table: Signatures, odds: Floats, names: list[str]) -> dict[str, float]:
    """Most likely level of each fault, between its nodes."""
    sums: dict[str, tuple[float, float]] = {}
    top = float(odds.max())
    for name, level, odd in zip(names, table.levels.tolist(), odds.tolist(), strict=True):
        if name not in (HEALTHY, MILD):
            weight = float(np.exp(max(odd - top, -600.0)))
            total, moment = sums.get(name, (0.0, 0.0))
            sums[name] = total + weight, moment + weight * level
    return {name: moment / total for name, (total, moment) in sums.items()}


def _weigh(state: State, features: SessionFeatures, context: Context, origin: Origin) -> list[Observation]:
    """Opinions on crystals and canister that changed by their weight."""
    changed = []
    for fault, severity, level, reason in consumables.weigh(features, context.limits):
        if severity != state.weighed.get(fault, 0):
            state.weighed[fault] = severity
            told = severity or None
            changed.append(_observation(fault, told, 0.95, reason, {"level": level}, {}, features, origin))
    return changed


def _tell_wet(state: State, features: SessionFeatures, origin: Origin) -> list[Observation]:
    """The opinion on a wet filter by its measured drop, if it changed: dust does not jump."""
    severity = signatures.hypothesis(intake.WETTED).severity(state.jump) if state.jumps >= WET_SESSIONS else 0
    if severity == state.weighed.get(intake.WETTED, 0) or state.jumps == 1:
        return []
    state.weighed[intake.WETTED] = severity
    if not severity:
        return [_observation(intake.WETTED, None, 1.0, "no longer seen", {}, {}, features, origin)]
    level, reason = float(f"{state.jump:.3g}"), f"filter index {state.jump:.3g} after {state.index:.3g}, without growth"
    return [_observation(intake.WETTED, severity, 0.95, reason, {"level": level}, {}, features, origin)]


def _observations(
    changed: Verdict, state: State, levels: Mapping[str, float], features: SessionFeatures, origin: Origin
) -> list[Observation]:
    observations = []
    if changed.gone:
        better = f"explained better by {changed.fault}" if changed.fault else "no longer seen"
        observations.append(_observation(changed.gone, None, 1.0, better, {}, {}, features, origin))
    if changed.fault:
        hypothesis = signatures.hypothesis(changed.fault)
        level = float(f"{levels[changed.fault]:.3g}")
        detail: dict[str, float | str] = {
            "level": level,
            "unit": hypothesis.unit,
            "sessions": state.evidence.sessions,
            "self_tests": state.evidence.tests,
        }
        reason = f"{level} {hypothesis.unit} explains the last sessions best"
        observations.append(
            _observation(
                changed.fault,
                changed.severity,
                changed.confidence,
                reason,
                detail,
                changed.candidates,
                features,
                origin,
            )
        )
    return observations


def _observation(
    fault: str,
    severity: int | None,
    confidence: float,
    reason: str,
    detail: Mapping[str, float | str],
    candidates: Mapping[str, float],
    features: SessionFeatures,
    origin: Origin,
) -> Observation:
    return Observation(
        component=MAIN,
        fault=fault,
        severity=severity,
        at=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=features.ended_ms),
        origin=origin,
        confidence=confidence,
        detector=DETECTOR,
        detector_version=VERSION,
        reason=reason,
        detail=dict(detail),
        candidates=candidates,
    )
