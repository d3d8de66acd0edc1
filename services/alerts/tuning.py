"""Versions of the built-in detectors: the thresholds that a version changes, and which version a device runs.

A version that was released is never changed: another one gets another number. Version 1 needs no release.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType

from dermafleet.contracts.releases import Mode, Release


@dataclass(frozen=True, slots=True)
class Tuning:
    """One version. A detector takes from here what may differ between versions; its other constants are for all.

    Attributes:
        summary: what it changes, for a person.
        filter_due_share: median share of a filter's life left from which service is due: time for one visit, and not a
            filter thrown away half used.
        over_vacuum_delay_ms: for how long the vacuum must be too high; shorter is a valve closing, longer is felt.
        diagnosis_certain: probability of any fault from which a diagnosis is told; one treatment alone never has it.
        sure: confidence below which no alarm becomes more severe than service due, hazards excepted.
    """

    version: int
    summary: str
    filter_due_share: float = 0.17
    over_vacuum_delay_ms: int = 1000
    diagnosis_certain: float = 0.8
    sure: float = 0.7


FIRST = Tuning(1, "the first version")

VERSIONS = MappingProxyType(
    {
        each.version: each
        for each in (
            FIRST,
            Tuning(
                2,
                "plans filter changes a little earlier, and tells a diagnosis when it is surer",
                filter_due_share=0.22,
                diagnosis_certain=0.9,
            ),
        )
    }
)
"""All that this program knows; a release of another one is passed over."""


def version_for(releases: Iterable[Release], mode: Mode, model: str | None, device_id: str) -> Tuning | None:
    """What the newest release that covers a device says; None if there is none.

    Args:
        releases: those that have not ended, newest first.
    """
    for release in releases:
        if release.mode == mode and release.version in VERSIONS and release.covers(model, device_id):
            return VERSIONS[release.version]
    return None
