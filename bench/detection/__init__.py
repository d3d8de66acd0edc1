"""How well faults are found, named and forecast: recorded and simulated machines through the production code.

Detectors and forecasts see what a server would have at that time, and nothing else; the truth stays on this side.
"""

import argparse
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from bench.detection import delays, faults, filters, healthy, recorded, verdicts
from bench.detection.faults import Run
from bench.detection.pool import run_all
from bench.result import Result, rounded
from dermafleet.contracts.channels import PROFILES
from device_agent.simulator.faults import MEDIUM
from services.alerts.forecast.library import Library

MACHINES, DAYS = 200, 40
"""Of a default evaluation: runs per fault, and opening days of each healthy machine."""
LEAN_MACHINES = 40
WORST = 10

Figures = dict[str, float]
Detail = dict[str, object]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder of recorded rigs; without it their figures are left out")
    parser.add_argument("--machines", type=int, default=MACHINES, help="per fault, and healthy ones")
    parser.add_argument("--days", type=int, default=DAYS, help="opening days of each healthy machine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, help="processes; default: one per core")
    parser.add_argument("--only", choices=sorted(_PARTS), action="append", help="one part; may be repeated")
    parser.add_argument("--verdicts", type=Path, help="verdicts exported from a fleet, JSON lines: the part `verdicts`")


def run(options: argparse.Namespace) -> Result:
    """Raises DermafleetError if a file cannot be read."""
    figures: Figures = {}
    detail: Detail = {}
    for name in options.only or _PARTS:
        found, more = _PARTS[name](options)
        figures |= found
        detail[name] = more
    machine: Mapping[str, object] = {"cores": os.cpu_count() or 1, "python": platform.python_version()}
    return {"machine": machine, "figures": {key: rounded(value, 4) for key, value in figures.items()}, "detail": detail}


def _recorded(options: argparse.Namespace) -> tuple[Figures, Detail]:
    if options.data is None:
        return {}, {"left_out": "--data names no folder of recorded rigs"}
    figures, detail = recorded.run(options.data, options.seed)
    return figures, dict(detail)


def _faults(options: argparse.Namespace) -> tuple[Figures, Detail]:
    tasks = faults.tasks(options.machines, options.seed)
    lean = faults.tasks(min(options.machines, LEAN_MACHINES), options.seed + 1, uplink="lean")
    runs = [each for found in run_all(faults.run, [*tasks, *lean], jobs=options.jobs) for each in found]
    full = [each for each in runs if each.profile == "full" and each.uplink == "full"]
    smaller = [
        each for each in runs if each.profile != "full" and each.uplink == "full" and each.fault != faults.HEALTHY
    ]
    sizes = [len(each) for one in smaller for each in one.sets]
    figures = {
        "fault_recall": fmean(faults.recall(full).values()),
        "fault_precision": fmean(faults.precision(full).values()),
        "ambiguity_hit": fmean(each.is_hit for each in smaller),
        "ambiguity_size": fmean(sizes) if sizes else 0.0,
    }
    levels: Detail = {"levels": dict(MEDIUM), "pump_s": faults.PUMP_S, "onset": faults.ONSET}
    return figures, levels | {f"{profile}/{uplink}": _group(runs, profile, uplink) for profile, uplink in _groups(runs)}


def _groups(runs: Sequence[Run]) -> list[tuple[str, str]]:
    return [(p, u) for u in ("full", "lean") for p in PROFILES if any((r.profile, r.uplink) == (p, u) for r in runs)]


def _group(runs: Sequence[Run], profile: str, uplink: str) -> Detail:
    mine = [each for each in runs if (each.profile, each.uplink) == (profile, uplink)]
    ill = [each for each in mine if each.fault != faults.HEALTHY]
    worst = [each for each in mine if each.wrong or (each in ill and not each.is_hit)]
    return {
        "runs": len(mine),
        "recall": _rounded(faults.recall(mine)),
        "precision": _rounded(faults.precision(mine)),
        "hit": _rounded({f: fmean(r.is_hit for r in ill if r.fault == f) for f in sorted({r.fault for r in ill})}),
        "confusion": faults.confusion(mine),
        "worst": [f"{each.fault} {each.device_id}: {', '.join(each.named) or 'nothing'}" for each in worst[:WORST]],
    }


def _healthy(options: argparse.Namespace) -> tuple[Figures, Detail]:
    found = list(run_all(healthy.run, healthy.tasks(options.machines, options.days, options.seed), jobs=options.jobs))
    false, false_bound = healthy.rate(found, range(3, 5))
    advisories, advisories_bound = healthy.rate(found, range(1, 3))
    alarms = [alarm for each in found for alarm in each.alarms]
    return {"false_faults_per_machine_year": false, "false_advisories_per_machine_year": advisories}, {
        "machine_years": sum(each.sessions for each in found) / healthy.YEAR_SESSIONS,
        "false_faults_upper_95": false_bound,
        "false_advisories_upper_95": advisories_bound,
        "alarms": [asdict(alarm) for alarm in alarms[: 10 * WORST]],
    }


def _delays(options: argparse.Namespace) -> tuple[Figures, Detail]:
    tasks = delays.tasks(max(options.machines // 4, 2), options.seed)
    found = {name: delays.summary(each) for name, each in run_all(delays.run, tasks, jobs=options.jobs)}
    figures = {
        "over_vacuum_delay_s": _worst(found, "worst", "over_vacuum_regulator", "over_vacuum_feed"),
        "stuck_sensor_delay_s": _worst(found, "worst", "stuck_sensor"),
        "leak_delay_selftests": _worst(found, "p90", "leak", "leak_clean"),
        "pump_wear_delay_days": _worst(found, "p90", "pump_wear"),
        "pump_wear_delay_days_30": _worst(found, "p90", "pump_wear_30"),
        "pump_wear_delay_days_0": _worst(found, "p90", "pump_wear_0"),
    }
    return figures, {name: _rounded(each) for name, each in found.items()}


def _worst(found: Mapping[str, Mapping[str, float]], key: str, *names: str) -> float:
    return max(found[name][key] for name in names)


def _filters(options: argparse.Namespace) -> tuple[Figures, Detail]:
    machines = max(options.machines // 4, 4)
    training = filters.tasks(machines, options.seed + 1, Library(), days=filters.TRAINING_DAYS)
    library = filters.learn_from(list(run_all(filters.run, training, jobs=options.jobs)))
    tasks = filters.tasks(machines, options.seed, library, days=filters.DAYS)
    worn = list(run_all(filters.run, tasks, jobs=options.jobs))
    return filters.figures(worn), {"library_filters": library.complete, **filters.detail(worn)}


def _verdicts(options: argparse.Namespace) -> tuple[Figures, Detail]:
    return (
        ({}, {"left_out": "--verdicts names no file"}) if options.verdicts is None else verdicts.judge(options.verdicts)
    )


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: rounded(value, 4) for name, value in values.items()}


_PARTS = {
    "recorded": _recorded,
    "delays": _delays,
    "filters": _filters,
    "faults": _faults,
    "healthy": _healthy,
    "verdicts": _verdicts,
}
