"""Tables of fault runs for a person: per profile and uplink, per case, and the worst of them by machine."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from bench.detection import faults
from bench.detection.cases import HEALTHY
from bench.detection.faults import Run
from bench.result import rounded
from dermafleet.contracts.channels import PROFILES

WORST = 3
"""Runs named per case and kind of mistake."""

Detail = dict[str, object]


def groups(runs: Sequence[Run]) -> list[tuple[str, str]]:
    return [(p, u) for u in ("full", "lean") for p in PROFILES if any((r.profile, r.uplink) == (p, u) for r in runs)]


def group(runs: Sequence[Run], profile: str, uplink: str) -> Detail:
    mine = [each for each in runs if (each.profile, each.uplink) == (profile, uplink)]
    ill = [each for each in mine if each.fault != HEALTHY]
    recall, precision = faults.recall(mine), faults.precision(mine)
    return {
        "runs": len(mine),
        "recall_mean": short(mean(list(recall.values()))),
        "precision_mean": short(mean(list(precision.values()))),
        "hit_mean": short(mean([each.is_hit for each in ill])),
        "size_mean": short(mean([len(each) for one in ill for each in one.sets])),
        "recall": shortened(recall),
        "precision": shortened(precision),
        "hit": shortened({f: mean([r.is_hit for r in ill if r.fault == f]) for f in sorted({r.fault for r in ill})}),
        "excused": counts(each.fault for each in ill if each.is_excused),
        "confusion": faults.confusion(mine),
        "worst": _worst(mine),
    }


def look(runs: Sequence[Run]) -> Detail:
    """Cases that no figure counts, all at profile full: shares of their faults found, and of runs with a wrong name."""
    cases = sorted({each.case.name for each in runs})
    of_case = {name: [each for each in runs if each.case.name == name] for name in cases}
    return {
        "runs_each": len(runs) // max(len(cases), 1),
        "cases": {
            name: {
                "found": short(mean([len(r.found) / max(len(r.case.faults), 1) for r in mine])),
                "hit": short(mean([r.is_hit for r in mine])),
                "wrong": short(mean([bool(r.wrong) for r in mine])),
            }
            for name, mine in of_case.items()
        },
        "confusion": faults.confusion(runs),
        "worst": _worst(runs),
    }


def _worst(runs: Sequence[Run]) -> list[str]:
    """The most severe wrong names first, then what was not found: a case, a machine's id and what it was told."""
    wrong = sorted((r for r in runs if r.wrong), key=lambda r: -max(r.named.get(name, 0) for name in r.wrong))
    missed = [each for each in runs if not each.wrong and not (each.is_hit and _is_named(each))]
    return [_told(each) for each in [*_few(wrong), *_few(missed)]]


def _is_named(run: Run) -> bool:
    """Where every sensor is fitted, a place in an ambiguity set is not enough."""
    return run.profile != "full" or len(run.found) == len(run.case.faults)


def _told(run: Run) -> str:
    names = [*run.named, *(f"early:{name}" for name in run.early)]
    return f"{' '.join((run.case.name, run.device_id, run.channel)).strip()}: {', '.join(names) or 'nothing'}"


def _few(runs: Sequence[Run]) -> list[Run]:
    """At most `WORST` per case."""
    kept: dict[str, list[Run]] = {}
    for each in runs:
        kept.setdefault(each.case.name, []).append(each)
    return [each for mine in kept.values() for each in mine[:WORST]]


def mean(values: Sequence[float]) -> float:
    """Not a number where there is none."""
    return fmean(values) if values else math.nan


def counts(names: Iterable[str]) -> dict[str, int]:
    """Most frequent first."""
    return dict(Counter(names).most_common())


def short(value: float) -> float | None:
    """With four significant digits; None where there was nothing to measure."""
    return None if math.isnan(value) else rounded(value, 4)


def shortened(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: short(value) for name, value in values.items()}
