"""From probabilities to the one name that is told: when it is raised, when another explains better, when it is gone."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from services.alerts.diagnosis.signatures import HEALTHY, MILD
from services.alerts.tuning import FIRST

HARDLY_HEALTHY = 0.04
"""Something is seen where a fault worth telling is certain (`Tuning.diagnosis_certain`), and a machine without any no
more likely than this. One treatment alone cannot say so much (`evidence.MOST`), a self-test can."""
CLEARED = 0.3
"""Below this probability of any fault the told one is gone."""
SESSIONS_TO_CALM = 2
"""Sessions in a row that must agree on a lower severity."""
RIVAL = 0.05
"""A fault at least this likely relative to the best still fits: chi-square within 6."""
BETTER = 4.0
"""Another name replaces the told one when it is this many times as likely."""
SURE = 0.7
"""Confidence below which nothing is more than a reason to check."""
CHECK = 2


class Standing(msgspec.Struct):
    """The opinion that stands.

    Attributes:
        fault: named; "" = none.
        severity: as told.
        rivals: faults told beside it.
        milder: sessions in a row in which the named fault was milder than told.
        is_pending: something is there since the last session, but more than one name fits.
    """

    fault: str = ""
    severity: int = 0
    rivals: list[str] = []
    milder: int = 0
    is_pending: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What changed with a session.

    Attributes:
        gone: fault that no longer stands; "" = none.
        fault: fault that stands with a new severity or other rivals; "" = nothing to tell of it.
        severity, confidence: of it.
        candidates: probability of it and of each rival; empty if there is none.
    """

    gone: str = ""
    fault: str = ""
    severity: int = 0
    confidence: float = 0.0
    candidates: Mapping[str, float] = field(default_factory=dict)


def is_certain(shares: Mapping[str, float], *, certain: float = FIRST.diagnosis_certain) -> bool:
    """Whether a fault worth telling is there, whatever its name."""
    return _present(shares) >= certain and shares.get(HEALTHY, 0.0) <= HARDLY_HEALTHY


def likely(shares: Mapping[str, float]) -> dict[str, float]:
    """The most likely fault and all that fit hardly worse, the likeliest first."""
    faults = {fault: share for fault, share in shares.items() if fault not in (HEALTHY, MILD)}
    best = max(faults.values())
    fitting = [fault for fault, share in faults.items() if share >= RIVAL * best]
    return {fault: faults[fault] for fault in sorted(fitting, key=lambda fault: -faults[fault])}


def decide(
    standing: Standing,
    shares: Mapping[str, float],
    severities: Mapping[str, int],
    *,
    certain: float = FIRST.diagnosis_certain,
) -> Verdict:
    """Change the opinion where the evidence demands it.

    Args:
        standing: changed in place.
        shares: probability of each fault, of `HEALTHY` and of `MILD`.
        severities: of each fault at its most likely level, 0 to 4.
        certain: probability of any fault from which it is told.
    """
    is_told = is_certain(shares, certain=certain)
    best, now = next(iter(likely(shares))), standing.fault
    is_gone = _present(shares) < CLEARED
    if now and not is_gone and (not is_told or shares[best] <= BETTER * shares.get(now, 0.0)):
        return _name(standing, now, "", shares, severities)
    standing.fault = ""
    was_pending, standing.is_pending = standing.is_pending, is_told and not now and len(likely(shares)) > 1
    if is_gone or not is_told or (standing.is_pending and not was_pending):
        return Verdict(now)
    standing.is_pending = False
    return _name(standing, best, now, shares, severities)


def _present(shares: Mapping[str, float]) -> float:
    return 1 - shares.get(HEALTHY, 0.0) - shares.get(MILD, 0.0)


def _name(
    standing: Standing, fault: str, gone: str, shares: Mapping[str, float], severities: Mapping[str, int]
) -> Verdict:
    confidence = shares[fault]
    rivals = sorted(likely(shares).keys() - {fault})
    severity = max([severities[fault], *(severities[name] for name in rivals)])
    severity = severity if confidence >= SURE else min(severity, CHECK)
    is_new = standing.fault != fault
    standing.milder = 0 if is_new or severity >= standing.severity else standing.milder + 1
    if not is_new and 0 < standing.milder < SESSIONS_TO_CALM:
        severity = standing.severity
    if not is_new and severity == standing.severity and rivals == standing.rivals:
        return Verdict(gone)
    standing.fault, standing.severity, standing.rivals, standing.milder = fault, severity, rivals, 0
    candidates = {name: round(shares[name], 4) for name in (fault, *rivals)} if rivals else {}
    return Verdict(gone, fault, severity, round(confidence, 4), candidates)
