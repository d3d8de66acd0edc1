"""How well faults are found, named and forecast: recorded and simulated machines through the production code.

Detectors and forecasts see what a server would have at that time, and nothing else; the truth stays on this side.
"""

import argparse
import math
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from bench.detection import delays, faults, filters, healthy, recorded, replay, report, verdicts
from bench.detection.cases import GROWING, HEALTHY, ONSET, PAIRS, PUMP_S, SINGLE, others
from bench.detection.pool import run_all
from bench.result import Result, rounded
from dermafleet.contracts.channels import PROFILES
from device_agent.simulator.faults import MEDIUM
from services.alerts.forecast.library import Library

MACHINES, DAYS = 200, 40
"""Of a default evaluation: runs per fault, and opening days of each healthy machine."""
FEW = 10
"""Machines of each case that no figure counts: pairs, growing faults, other models."""
ALARMS = 100
"""False alarms that are listed; the most severe first."""

Figures = dict[str, float]
Detail = dict[str, object]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder of recorded rigs; without it their figures are left out")
    parser.add_argument("--machines", type=int, default=MACHINES, help="per fault, and healthy ones")
    parser.add_argument("--days", type=int, default=DAYS, help="opening days of each healthy machine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, help="processes; default: one per core")
    parser.add_argument("--only", choices=sorted(_PARTS), action="append", help="one part; may be repeated")
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="of the part `faults`: these, like leak_dirty_side")
    parser.add_argument(
        "--pump-s", type=float, default=PUMP_S, help="pump time of a treatment, of the parts `faults` and `healthy`"
    )
    parser.add_argument("--replay", metavar="DEVICE_ID", help="show one simulated machine instead; --case says which")
    parser.add_argument(
        "--case",
        default=HEALTHY,
        help=f"of --replay: as printed beside the id, or a delay's name, {replay.YEARS}, {replay.FILTERS}",
    )
    parser.add_argument("--profile", choices=PROFILES, default="full", help="of --replay")
    parser.add_argument("--uplink", choices=("full", "lean"), default="full", help="of --replay")
    parser.add_argument("--samples", type=Path, metavar="FILE", help="of --replay: what it sent, as CSV")
    parser.add_argument("--verdicts", type=Path, help="verdicts exported from a fleet, JSON lines: the part `verdicts`")


def run(options: argparse.Namespace) -> Result:
    """Raises DermafleetError if a file cannot be read."""
    if options.replay is not None:
        plan = replay.plan_of(options.case, options.days, options.pump_s)
        lines = replay.replay(options.replay, plan, options.profile, options.uplink, options.samples)
        return {"case": options.case, "told": {options.replay: list(lines)}}
    figures: Figures = {}
    detail: Detail = {}
    minutes: dict[str, float] = {}
    for name in options.only or _PARTS:
        started = time.monotonic()
        found, more = _PARTS[name](options)
        figures |= found
        detail[name] = more
        minutes[name] = round((time.monotonic() - started) / 60, 1)
    cores, python = os.cpu_count() or 1, platform.python_version()
    machine: Mapping[str, object] = {"cores": cores, "python": python, "minutes": minutes}
    return {
        "machine": machine,
        "figures": {key: rounded(value, 4) for key, value in figures.items() if not math.isnan(value)},
        "detail": detail,
    }


def _recorded(options: argparse.Namespace) -> tuple[Figures, Detail]:
    if options.data is None:
        return {}, {"left_out": "--data names no folder of recorded rigs"}
    figures, detail = recorded.run(options.data, options.seed)
    return figures, dict(detail)


def _faults(options: argparse.Namespace) -> tuple[Figures, Detail]:
    asked = options.cases or (*SINGLE, HEALTHY)
    looks = {"pairs": PAIRS, "growing": GROWING, "other_models": others()}
    if options.cases:
        looks = {"others": tuple(name for name in asked if name not in (*SINGLE, HEALTHY))}
    counted = [name for name in (*SINGLE, HEALTHY) if name in asked]
    pump_s, of_look = options.pump_s, dict[str, str]()
    tasks = faults.tasks(counted, options.machines, options.seed, pump_s=pump_s)
    for look, names in looks.items():
        few = min(options.machines, FEW)
        tasks += faults.tasks(names, few, options.seed, smaller=0, lean=0, pump_s=pump_s)
        of_look |= dict.fromkeys(names, look)
    runs = [each for found in run_all(faults.run, tasks, jobs=options.jobs) for each in found]
    main = [each for each in runs if each.case.name not in of_look]
    smaller = [each for each in main if each.profile != "full" and each.uplink == "full" and each.fault != HEALTHY]
    full = [each for each in main if (each.profile, each.uplink) == ("full", "full")]
    figures = {
        "fault_recall": report.mean(list(faults.recall(full).values())),
        "fault_precision": report.mean(list(faults.precision(full).values())),
        "ambiguity_hit": report.mean([each.is_hit for each in smaller]),
        "ambiguity_size": report.mean([len(each) for one in smaller for each in one.sets]),
    }
    levels: Detail = {"levels": dict(MEDIUM), "pump_s": pump_s, "onset": ONSET}
    groups = {f"{profile}/{uplink}": report.group(main, profile, uplink) for profile, uplink in report.groups(main)}
    more = {look: report.look([each for each in runs if of_look.get(each.case.name) == look]) for look in looks}
    return figures, levels | groups | more


def _healthy(options: argparse.Namespace) -> tuple[Figures, Detail]:
    tasks = healthy.tasks(options.machines, options.days, options.seed, pump_s=options.pump_s, jobs=options.jobs)
    found = list(run_all(healthy.run, tasks, jobs=options.jobs))
    false, false_bound = healthy.rate(found, range(3, 5))
    advisories, advisories_bound = healthy.rate(found, range(1, 3))
    alarms = [alarm for each in found for alarm in each.alarms]
    return {"false_faults_per_machine_year": false, "false_advisories_per_machine_year": advisories}, {
        "machine_years": sum(each.sessions for each in found) / healthy.YEAR_SESSIONS,
        "false_faults_upper_95": false_bound,
        "false_advisories_upper_95": advisories_bound,
        "pump_s": options.pump_s,
        "by_fault": report.counts(alarm.fault for alarm in alarms),
        "alarms": [asdict(alarm) for alarm in sorted(alarms, key=lambda alarm: -alarm.severity)[:ALARMS]],
    }


def _delays(options: argparse.Namespace) -> tuple[Figures, Detail]:
    tasks = delays.tasks(max(options.machines // 4, 2), options.seed)
    runs = [each for found in run_all(delays.run, tasks, jobs=options.jobs) for each in found]
    found = {name: delays.summary(each) for name, each in runs}
    figures = {
        "over_vacuum_delay_s": _worst(found, "worst", "over_vacuum_regulator", "over_vacuum_feed"),
        "stuck_sensor_delay_s": _worst(found, "worst", "stuck_sensor"),
        "leak_delay_selftests": _worst(found, "p90", "leak", "leak_clean"),
        "pump_wear_delay_days": _worst(found, "p90", "pump_wear"),
        "pump_wear_delay_days_30": _worst(found, "p90", "pump_wear_30"),
        "pump_wear_delay_days_0": _worst(found, "p90", "pump_wear_0"),
    }
    return figures, {name: report.shortened(each) for name, each in found.items()}


def _worst(found: Mapping[str, Mapping[str, float]], key: str, *names: str) -> float:
    return max(found[name][key] for name in names)


def _filters(options: argparse.Namespace) -> tuple[Figures, Detail]:
    machines = max(options.machines // 4, 4)
    training = filters.tasks(machines, options.seed + 1, Library(), days=filters.TRAINING_DAYS, jobs=options.jobs)
    library = filters.learn_from(list(run_all(filters.run, training, jobs=options.jobs)))
    tasks = filters.tasks(machines, options.seed, library, days=filters.DAYS, jobs=options.jobs)
    worn = list(run_all(filters.run, tasks, jobs=options.jobs))
    return filters.figures(worn), {"library_filters": library.complete, **filters.detail(worn)}


def _verdicts(options: argparse.Namespace) -> tuple[Figures, Detail]:
    return (
        ({}, {"left_out": "--verdicts names no file"}) if options.verdicts is None else verdicts.judge(options.verdicts)
    )


_PARTS = {
    "recorded": _recorded,
    "delays": _delays,
    "filters": _filters,
    "faults": _faults,
    "healthy": _healthy,
    "verdicts": _verdicts,
}
