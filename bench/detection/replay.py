"""One simulated machine again, for a person to look at: what was wrong, what was told when, and its samples as CSV."""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import numpy as np

from bench.detection import delays, filters, healthy
from bench.detection.cases import case_of
from bench.detection.faults import watch_of
from bench.detection.watch import Told, Uplink, Watch
from dermafleet.contracts.channels import Profile
from dermafleet.errors import SettingError
from device_agent.simulator.plan import Plan, seed_of
from device_agent.simulator.scenario import simulate
from device_agent.simulator.stretches import Stretch

YEARS, FILTERS = "years", "filters"
"""Names of the healthy machines of the part `healthy`, and of those whose filters are worn out."""


def plan_of(name: str, days: int, pump_s: float) -> Plan:
    """The plan behind a case, a delay's name, `YEARS` or `FILTERS`; raises SettingError for another name."""
    return _PLANS[name](days, pump_s) if name in _PLANS else case_of(name).plan(1, 1, pump_s)


_PLANS: Mapping[str, Callable[[int, float], Plan]] = {
    YEARS: lambda days, pump_s: healthy.plan_of(healthy.Task(1, 1, days, pump_s)),
    FILTERS: lambda days, _: filters.plan_of(1, 1, days),
    **{case.name: lambda _, __, case=case: delays.plan_of(case, 1, 1) for case in delays.CASES},  # type: ignore[misc]
}


def replay(device_id: str, plan: Plan, profile: Profile, uplink: Uplink, samples: Path | None) -> Iterator[str]:
    """Lines of text, as it happens: what is really wrong, and every transition of its alarms.

    Args:
        samples: file for what the machine sent, one line per sample; None = none.

    Raises:
        SettingError: there is no such machine.
    """
    try:
        alone = replace(plan, machine_seeds=(seed_of(device_id),))
    except ValueError:
        raise SettingError(f"{device_id!r} is no simulated machine: they are called SIM-…") from None
    watch, wrong = watch_of(device_id, plan.model, profile, uplink), ""
    file = None if samples is None else samples.open("w", newline="")
    try:
        for stretch in simulate(alone):
            truth = ", ".join(f"{each.fault}={each.level:.3g} {each.channel}".strip() for each in stretch.truth)
            if _names(stretch) != wrong:
                wrong = _names(stretch)
                yield f"{_time(int(stretch.at_ms[0]))}  really: {truth or 'nothing'}"
            yield from _shown(watch, stretch)
            if file is not None:
                _write(file, stretch)
    finally:
        if file is not None:
            file.close()
    for (component, fault), seen in sorted(watch.observability.items()):
        if not seen.is_observable:
            yield f"cannot be seen: {fault} of {component}: {seen.reason}"


def _names(stretch: Stretch) -> str:
    return " ".join(sorted(f"{each.fault}/{each.component}/{each.channel}" for each in stretch.truth))


def _shown(watch: Watch, stretch: Stretch) -> Iterator[str]:
    known = len(watch.history)
    watch.show(stretch)
    for told in watch.history[known:]:
        yield f"{_time(told.at_ms)}  after {told.session} treatments: {_told(told)}"


def _told(told: Told) -> str:
    alarm = told.alarm
    return (
        f"{told.transition} {alarm.fault} of {alarm.component}, severity {alarm.severity}, "
        f"confidence {alarm.confidence:.2f}: {told.reason} {dict(alarm.detail)}"
    )


def _write(file: TextIO, stretch: Stretch) -> None:
    rows = csv.writer(file)
    if file.tell() == 0:
        rows.writerow(["at_ms", *stretch.channels])
    columns = [np.round(values.astype(float), 4).tolist() for values in stretch.channels.values()]
    rows.writerows(zip(stretch.at_ms.tolist(), *columns, strict=True))


def _time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
