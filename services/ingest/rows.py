"""From a dated entry to the rows that are stored. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dermafleet.contracts.channels import CHANNEL_BY_NAME, CHANNELS
from dermafleet.contracts.telemetry import Telemetry
from dermafleet.storage.samples import EntryRow, Samples
from services.ingest.decode import Entry
from services.ingest.times import EventTime, stamp_of

Column = Sequence[float | None]

_LOW = np.array([[channel.low] for channel in CHANNELS])
_HIGH = np.array([[channel.high] for channel in CHANNELS])
_BITS = np.array([1 << i for i in range(len(CHANNELS))], dtype=np.int32)


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


def table(channels: Mapping[str, Column], count: int) -> NDArray[np.float64]:
    """The values of the registry's channels, shape (channels, count); NaN = not measured."""
    absent: Column = [None] * count
    return np.array([channels.get(channel.name, absent) for channel in CHANNELS], dtype=np.float64)


def marks(values: NDArray[np.float64]) -> NDArray[np.int32]:
    """Per sample of a `table`, bit i set = ``CHANNELS[i]`` is outside its plausible range."""
    outside = (values < _LOW) | (values > _HIGH)
    found: NDArray[np.int32] = _BITS @ outside
    return found


def _samples(block: Telemetry, time: EventTime) -> Samples:
    unknown = block.ch.keys() - CHANNEL_BY_NAME.keys()
    values = table(block.ch, len(block.dt))
    return Samples(
        at_ms=np.array(block.dt, dtype=np.int64) + time.at_ms,
        values=values,
        marks=marks(values),
        extra=_extra({name: block.ch[name] for name in sorted(unknown)}, len(block.dt)) if unknown else None,
    )


def _extra(channels: Mapping[str, Column], count: int) -> list[dict[str, float | None]]:
    return [{name: values[i] for name, values in channels.items()} for i in range(count)]
