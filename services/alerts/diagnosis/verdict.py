"""From probabilities to the one name that is told: when it is raised, when another explains better, when it is gone."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from services.alerts.diagnosis.signatures import HEALTHY

CERTAIN = 0.99
"""Probability of any fault from which it counts as seen."""
CLEARED = 0.3
"""Below this probability of any fault the told one is gone."""
SESSIONS_TO_RAISE = 2
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
        seen: sessions in a row in which some fault was certain.
        milder: sessions in a row in which the named fault was milder than told.
    """

    fault: str = ""
    severity: int = 0
    rivals: list[str] = []
    seen: int = 0
    milder: int = 0


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


def decide(standing: Standing, shares: Mapping[str, float], severities: Mapping[str, int], *, is_test: bool) -> Verdict:
    """Change the opinion where the evidence demands it.

    Args:
        standing: changed in place.
        shares: probability of each fault, and of `HEALTHY`.
        severities: of each fault at its most likely level, 0 to 4.
        is_test: the session was a self-test, after which one is enough.
    """
    present = 1 - shares.get(HEALTHY, 0.0)
    best = max((fault for fault in shares if fault != HEALTHY), key=lambda fault: shares[fault])
    is_certain = present >= CERTAIN
    standing.seen = standing.seen + 1 if is_certain else 0
    gone = ""
    if standing.fault:
        is_gone = present < CLEARED
        is_other = is_certain and shares[best] > BETTER * shares.get(standing.fault, 0.0)
        if is_gone or is_other:
            gone, standing.fault = standing.fault, ""
        if is_gone or not is_other:
            best = standing.fault
    elif not (is_certain and (is_test or standing.seen >= SESSIONS_TO_RAISE)):
        best = ""
    return _name(standing, best, gone, shares, severities) if best else Verdict(gone)


def _name(
    standing: Standing, fault: str, gone: str, shares: Mapping[str, float], severities: Mapping[str, int]
) -> Verdict:
    confidence = shares[fault]
    rivals = sorted(name for name in shares if name not in (fault, HEALTHY) and shares[name] >= RIVAL * confidence)
    severity = max([severities[fault], *(severities[name] for name in rivals)])
    severity = severity if confidence >= SURE else min(severity, CHECK)
    is_new = standing.fault != fault
    standing.milder = 0 if is_new or severity >= standing.severity else standing.milder + 1
    if not is_new and 0 < standing.milder < SESSIONS_TO_RAISE:
        severity = standing.severity
    if not is_new and severity == standing.severity and rivals == standing.rivals:
        return Verdict(gone)
    standing.fault, standing.severity, standing.rivals, standing.milder = fault, severity, rivals, 0
    candidates = {name: round(shares[name], 4) for name in (fault, *rivals)} if rivals else {}
    return Verdict(gone, fault, severity, round(confidence, 4), candidates)
