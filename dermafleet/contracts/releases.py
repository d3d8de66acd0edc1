"""Where a version of the built-in detectors runs, and how what it says in shadow differs from what is said."""

import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Annotated, Literal

import msgspec

Mode = Literal["shadow", "active"]
Side = Literal["active", "shadow"]

TOGETHER = timedelta(hours=1)
"""Two alarms of one fault that stand with no more than this between them are about the same thing."""
EXAMPLES = 50
"""What a person looks through."""


class Release(msgspec.Struct, frozen=True):
    """A version put to work: in shadow, or for real. Of those that cover a device the newest holds, per mode.

    Attributes:
        models: ids; empty = all. percent: of the devices of these models.
    """

    version: int
    mode: Mode
    models: list[str] = []
    percent: Annotated[int, msgspec.Meta(ge=1, le=100)] = 100

    def covers(self, model: str | None, device_id: str) -> bool:
        return (not self.models or model in self.models) and share_of(device_id) < self.percent


def share_of(device_id: str) -> int:
    """A device's fixed place among a hundred: more percent only ever add devices."""
    return zlib.crc32(device_id.encode()) % 100


class Spell(msgspec.Struct, frozen=True):
    """One time an alarm stood, or would have; ``until_at`` None = it still does."""

    device_id: str
    component: str
    fault: str
    from_at: datetime
    until_at: datetime | None
    severity: int
    reason: str

    @property
    def place(self) -> tuple[str, str, str]:
        return self.device_id, self.component, self.fault

    def meets(self, other: "Spell") -> bool:
        starts_before = other.until_at is None or self.from_at <= other.until_at + TOGETHER
        return starts_before and (self.until_at is None or other.from_at <= self.until_at + TOGETHER)


class FaultReport(msgspec.Struct, frozen=True):
    """How the alarms of one fault differ.

    Attributes:
        both: raised by either; of these ``earlier`` and ``later`` in shadow, ``worse`` and ``milder`` at first.
        lead_s: median time by which the shadow was earlier, of those raised by both; negative = later.
    """

    fault: str
    only_active: int
    only_shadow: int
    both: int
    earlier: int
    later: int
    worse: int
    milder: int
    lead_s: float | None


class Difference(msgspec.Struct, frozen=True):
    """An alarm that only one side raised."""

    side: Side
    spell: Spell


class Judged(msgspec.Struct, frozen=True):
    """What a version in shadow has judged: devices, how many of them it fails on now, and days of event time in all."""

    devices: int
    failing: int
    device_days: float


class ReleaseReport(msgspec.Struct, frozen=True):
    """What a version in shadow would change.

    Attributes:
        examples: the first of what only one side raised; ``not_shown`` more are left out.
    """

    version: int
    judged: Judged
    faults: list[FaultReport]
    examples: list[Difference]
    not_shown: int


def compare(version: int, active: Sequence[Spell], shadow: Sequence[Spell], *, judged: Judged) -> ReleaseReport:
    """Pair what both sides raised, and count the rest."""
    pairs, only_active, only_shadow = _pair(active, shadow)
    faults = sorted({spell.fault for spell in (*active, *shadow)})
    rows = [_row(fault, pairs, only_active, only_shadow) for fault in faults]
    alone = [Difference("active", spell) for spell in only_active] + [Difference("shadow", s) for s in only_shadow]
    alone.sort(key=lambda each: (each.spell.from_at, each.spell.place))
    return ReleaseReport(version, judged, rows, alone[:EXAMPLES], max(len(alone) - EXAMPLES, 0))


def _pair(
    active: Iterable[Spell], shadow: Iterable[Spell]
) -> tuple[list[tuple[Spell, Spell]], list[Spell], list[Spell]]:
    """Each spell with the first of the other side that it meets; what remains of either side."""
    waiting: dict[tuple[str, str, str], list[Spell]] = defaultdict(list)
    for spell in sorted(shadow, key=lambda each: each.from_at):
        waiting[spell.place].append(spell)
    pairs, alone = [], []
    for spell in sorted(active, key=lambda each: each.from_at):
        others = waiting[spell.place]
        met = next((other for other in others if spell.meets(other)), None)
        if met is None:
            alone.append(spell)
        else:
            others.remove(met)
            pairs.append((spell, met))
    return pairs, alone, [spell for others in waiting.values() for spell in others]


def _row(
    fault: str, pairs: Iterable[tuple[Spell, Spell]], only_active: Iterable[Spell], only_shadow: Iterable[Spell]
) -> FaultReport:
    both = [(said, shadowed) for said, shadowed in pairs if said.fault == fault]
    leads = [(said.from_at - shadowed.from_at).total_seconds() for said, shadowed in both]
    return FaultReport(
        fault=fault,
        only_active=sum(spell.fault == fault for spell in only_active),
        only_shadow=sum(spell.fault == fault for spell in only_shadow),
        both=len(both),
        earlier=sum(lead > 0 for lead in leads),
        later=sum(lead < 0 for lead in leads),
        worse=sum(shadowed.severity > said.severity for said, shadowed in both),
        milder=sum(shadowed.severity < said.severity for said, shadowed in both),
        lead_s=median(leads) if leads else None,
    )
