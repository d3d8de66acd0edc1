"""From a dated entry to the rows that are stored. Pure."""

from collections.abc import Mapping, Sequence

from dermafleet.contracts.channels import CHANNEL_BY_NAME, CHANNELS
from dermafleet.contracts.telemetry import Telemetry
from dermafleet.storage.samples import EntryRow, Samples
from services.ingest.decode import Entry
from services.ingest.times import EventTime, stamp_of

Column = Sequence[float | None]


def entry_row(entry: Entry, device: int, number: int, time: EventTime, *, late: bool) -> EntryRow:
    """The row of an entry, with its samples."""
    stamp = stamp_of(entry.content)
    return EntryRow(
        device_id=device,
        epoch=entry.header.epoch,
        seq=entry.header.seq,
        entry=number,
        kind=entry.kind,
        hash=entry.hash,
        body=entry.body,
        boot=stamp.boot,
        up=stamp.up_ms,
        time_source=time.source,
        first_ms=time.at_ms + (entry.content.dt[0] if isinstance(entry.content, Telemetry) else 0),
        last_ms=time.at_ms + stamp.span_ms,
        received_at=entry.message.received_at,
        late=late,
        samples=_samples(entry.content, time) if isinstance(entry.content, Telemetry) else None,
    )


def marks(channels: Mapping[str, Column], count: int) -> list[int | None] | None:
    """Per sample, bit i set = ``CHANNELS[i]`` is outside its plausible range; None = no sample has a mark."""
    found: list[int] | None = None
    for bit, channel in enumerate(CHANNELS):
        measured = [value for value in channels.get(channel.name, ()) if value is not None]
        if not measured or (channel.low <= min(measured) and max(measured) <= channel.high):
            continue
        found = found or [0] * count
        for i, value in enumerate(channels[channel.name]):
            if value is not None and not channel.low <= value <= channel.high:
                found[i] |= 1 << bit
    return None if found is None else [mark or None for mark in found]


def _samples(block: Telemetry, time: EventTime) -> Samples:
    known = {name: values for name, values in block.ch.items() if name in CHANNEL_BY_NAME}
    unknown = {name: values for name, values in block.ch.items() if name not in CHANNEL_BY_NAME}
    return Samples(
        at_ms=[time.at_ms + offset for offset in block.dt],
        channels=known,
        extra=_extra(unknown, len(block.dt)) if unknown else None,
        marks=marks(known, len(block.dt)),
    )


def _extra(channels: Mapping[str, Column], count: int) -> list[dict[str, float | None]]:
    return [{name: values[i] for name, values in channels.items()} for i in range(count)]
