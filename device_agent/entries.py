"""What stands in the outbox: entries before and after they have a number, and what the agent remembers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dermafleet.contracts.records import Event, encode_record
from dermafleet.contracts.topics import Kind
from device_agent.clock import Instant

Facts = Mapping[str, str | None]
"""What the agent remembers about itself: name → value, None = forget it."""

NO_FACTS: Facts = {}
CLOCK_FLOOR = "clock_floor"
"""The fact that holds the newest wall-clock time that was surely past, Unix ms."""


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry before it has a number; ``raw`` is never encoded again."""

    kind: Kind
    raw: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as it is sent.

    Attributes:
        id: its place in the outbox, over all epochs; never used twice.
        head: newest sequence of its epoch.
        anchor: wall clock minus uptime of the boot it was written in, if known.
    """

    id: int
    epoch: str
    seq: int
    kind: Kind
    raw: bytes
    head: int
    boot: str
    anchor: int | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What the server does not have yet."""

    entries: int
    payload_bytes: int
    oldest_at: int | None
    refused: int


def event_entry(event_type: str, now: Instant, data: dict[str, Any]) -> NewEntry:  # shape by event type
    """An event, encoded."""
    event = Event(type=event_type, boot=now.boot, at=now.at, up=now.up, clock=now.clock, data=data)
    return NewEntry("event", encode_record(event))
