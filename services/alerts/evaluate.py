"""What the entries of one step mean: from stored entries and what the detectors remember to what is written. Pure.

The result of a whole log does not depend on how it is cut into steps.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np

from dermafleet.contracts.channels import CHANNEL_BY_NAME, CHANNELS
from dermafleet.contracts.records import Session
from dermafleet.storage.follow import Document, Entry, Samples
from services.alerts.detectors import filter_clogged
from services.alerts.detectors.filter_clogged import State as FilterState
from services.alerts.limits import Limits
from services.alerts.observation import Block, Observation

VERSION = 1
"""Of `Memory`'s layout; what an older version remembered is forgotten, alarms stay."""

NEEDED_CHANNELS = filter_clogged.CHANNELS
_MARK_BIT = {channel.name: 1 << i for i, channel in enumerate(CHANNELS)}

MAX_ENTRIES = 500
MAX_SAMPLES = 20_000
"""About 0.2 s of work: other devices wait no longer than that, and a killed worker loses no more."""
MAX_PAUSE = timedelta(days=1)
"""Samples are read by a range of event time; entries further apart are read in another step."""


class Memory(msgspec.Struct):
    """What the detectors remember of one device; JSON in `detector_state.state`."""

    filter_clogged: FilterState = msgspec.field(default_factory=FilterState)


class EventBody(msgspec.Struct):
    """What the projection needs of an event entry."""

    type: str
    data: dict[str, object] = {}


def recall(document: Document, version: int) -> Memory:
    """What was remembered; nothing if another version wrote it."""
    if version != VERSION:
        return Memory()
    try:
        memory = msgspec.convert(document, Memory)
    except msgspec.ValidationError:
        return Memory()
    if memory.filter_clogged.version != filter_clogged.VERSION:
        memory.filter_clogged = FilterState()
    return memory


def to_document(memory: Memory) -> Document:
    """As JSON-able values; `recall` gives the same memory back."""
    document: dict[str, object] = msgspec.to_builtins(memory)
    return document


def cut_step(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The first entries, at least one, that make one bounded step."""
    samples = 0
    for i, entry in enumerate(entries):
        samples += entry.samples
        is_apart = i > 0 and abs(entry.first_at - entries[i - 1].last_at) > MAX_PAUSE
        if i > 0 and (samples > MAX_SAMPLES or is_apart):
            return entries[:i]
    return entries


def detect(memory: Memory, epoch: str, entry: Entry, samples: Samples, limits: Limits) -> list[Observation]:
    """Show one telemetry entry to the detectors; changes ``memory``."""
    block = to_block(epoch, entry, samples)
    return filter_clogged.evaluate(memory.filter_clogged, block, limits)


def to_block(epoch: str, entry: Entry, samples: Samples) -> Block:
    """Samples as arrays; values marked as implausible become NaN."""
    marks = np.array([mark or 0 for mark in samples.marks], dtype=np.int64)
    channels = {}
    for name, values in samples.channels.items():
        array = np.array(values, dtype=np.float64)
        channels[name] = np.where(marks & _MARK_BIT[CHANNEL_BY_NAME[name].name], np.nan, array)
    return Block(epoch, entry.seq, entry.boot, entry.up_ms, np.array(samples.at_ms, dtype=np.int64), channels)


def last_seen(memory: Memory) -> dict[tuple[str, str], datetime]:
    """Per (component, fault) that a detector holds to be there: the event time of the last sample that it saw."""
    state = memory.filter_clogged
    if not state.severity:
        return {}
    return {(filter_clogged.COMPONENT, filter_clogged.FAULT): filter_clogged.utc(state.at_ms)}


def read_session(entry: Entry) -> Session:
    """A session entry.

    Raises:
        msgspec.ValidationError: the body is none; ingest lets no such entry in.
    """
    return msgspec.convert(entry.body, Session)


def read_event(entry: Entry) -> EventBody:
    """An event entry. Raises as `read_session`."""
    return msgspec.convert(entry.body, EventBody)
