"""What stored entries say: telemetry as blocks of arrays, sessions and events as values. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np

from dermafleet.contracts.channels import CHANNEL_BY_NAME, CHANNELS
from dermafleet.contracts.records import MAINTENANCE, Maintenance, Session
from dermafleet.storage.blocks import Samples
from dermafleet.storage.follow import Entry
from services.alerts.context import Context
from services.alerts.observation import Block

_MARK_BIT = {channel.name: 1 << i for i, channel in enumerate(CHANNELS)}

MAX_ENTRIES = 500
MAX_SAMPLES = 20_000
"""About 0.4 s of work: other devices wait no longer than that, and a killed worker loses no more."""
MAX_JOINED = 1_000
"""Samples that are shown to the detectors at once: a call costs as much as 50 samples."""
MAX_PAUSE = timedelta(days=1)
"""Samples are read by a range of event time; entries further apart are read in another step."""


class EventBody(msgspec.Struct):
    """What the projection needs of an event entry."""

    type: str
    data: dict[str, object] = {}


def cut_step(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The first entries, at least one, that make one bounded step."""
    samples = 0
    for i, entry in enumerate(entries):
        samples += entry.samples
        is_apart = i > 0 and abs(entry.first_at - entries[i - 1].last_at) > MAX_PAUSE
        if i > 0 and (samples > MAX_SAMPLES or is_apart):
            return entries[:i]
    return entries


def channels_needed(context: Context) -> tuple[str, ...]:
    """All channels of the registry, and the maker's own that stand for one of them, or that a rule looks at."""
    own = {name for names in context.limits.components.values() for name in names.values()}
    own |= {rule.quantity for rule in context.rules if rule.feature is None}
    return (*CHANNEL_BY_NAME, *sorted(own - CHANNEL_BY_NAME.keys()))


def to_block(epoch: str, entry: Entry, samples: Samples) -> Block:
    """Samples as detectors take them; values marked as implausible become NaN."""
    marks, channels = samples.marks, samples.channels
    if marks.any():
        channels = {name: np.where(marks & _MARK_BIT.get(name, 0), np.nan, values) for name, values in channels.items()}
    return Block(epoch, entry.seq, entry.boot, entry.up_ms, samples.at_ms, channels)


def is_seamless(before: Block, after: Block) -> bool:
    """Whether the samples of two entries are one block: of one boot, by the same clock, in order."""
    offset = int(before.at_ms[0]) - before.up_ms
    return (
        after.epoch == before.epoch
        and after.boot == before.boot
        and int(after.at_ms[0]) - after.up_ms == offset
        and after.at_ms[0] >= before.at_ms[-1]
        and after.channels.keys() == before.channels.keys()
    )


def may_follow(waiting: Sequence[Block], block: Block) -> bool:
    """Whether a block may be shown together with those that wait."""
    if not waiting:
        return True
    samples = sum(len(each.at_ms) for each in waiting)
    return samples + len(block.at_ms) <= MAX_JOINED and is_seamless(waiting[-1], block)


def join(blocks: Sequence[Block]) -> Block:
    """Seamless blocks as one, under the name of the first."""
    first = blocks[0]
    channels = {name: np.concatenate([block.channels[name] for block in blocks]) for name in first.channels}
    return replace(first, at_ms=np.concatenate([block.at_ms for block in blocks]), channels=channels)


def component_view(block: Block, names: Mapping[str, str]) -> Block:
    """The block of one component: the standard channels, some of them under the maker's own name in ``block``.

    The plausible range is that of the standard channel.
    """
    channels = {name: values for name, values in block.channels.items() if name in CHANNEL_BY_NAME}
    for standard, own in names.items():
        if (values := block.channels.get(own)) is None:
            channels.pop(standard, None)
            continue
        known = CHANNEL_BY_NAME[standard]
        channels[standard] = np.where((values >= known.low) & (values <= known.high), values, np.nan)
    return replace(block, channels=channels)


def read_session(entry: Entry) -> Session:
    """A session entry.

    Raises:
        msgspec.ValidationError: the body is none; ingest lets no such entry in.
    """
    return msgspec.convert(entry.body, Session)


def read_event(entry: Entry) -> EventBody:
    """An event entry. Raises as `read_session`."""
    return msgspec.convert(entry.body, EventBody)


def maintenance_in(event: EventBody) -> Maintenance | None:
    """The service that an event tells of; None if it tells of something else. Raises as `read_session`."""
    return msgspec.convert(event.data, Maintenance) if event.type == MAINTENANCE else None
