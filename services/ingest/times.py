"""Event time: when something happened, from a device's two clocks. Pure.

A device's wall clock is believed if it was ever set and tells a possible time. Otherwise event time is the boot's
*anchor* (wall clock minus uptime) plus the entry's uptime; without an anchor it is the receive time, marked as unknown.
"""

from dataclasses import dataclass
from typing import Literal

from dermafleet.contracts.envelope import Header
from dermafleet.contracts.records import Event, Session
from dermafleet.contracts.telemetry import ClockState, Telemetry

TimeSource = Literal["device", "anchor", "received"]

EARLIEST_MS = 1_577_836_800_000
"""2020-01-01: before the first device; a clock that tells less was never set."""

MAX_AHEAD_MS = 86_400_000
"""A day: wrong time zones and drift pass; what is further ahead would sit in the future of every chart."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When an entry happened, as its device tells it; ``span_ms`` = last offset in it."""

    boot: str
    at_ms: int
    up_ms: int
    clock: ClockState
    span_ms: int = 0


@dataclass(frozen=True, slots=True)
class EventTime:
    """Event time of offset 0, and where it is from."""

    at_ms: int
    source: TimeSource


def stamp_of(content: Telemetry | Session | Event) -> Stamp:
    """The stamp of an entry."""
    if isinstance(content, Telemetry):
        return Stamp(content.boot, content.t0, content.up, content.clock, content.dt[-1])
    return Stamp(content.boot, content.at, content.up, content.clock)


def event_time(stamp: Stamp, header: Header, received_ms: int, anchor_ms: int | None) -> tuple[EventTime, int | None]:
    """When an entry happened, and the anchor of its boot.

    Args:
        anchor_ms: the boot's stored anchor; None = there is none yet.

    Returns:
        the event time, and the anchor to store if there was none: what the header tells, else, if it is needed to
        date this entry, what the running uptime tells; None = nothing to store.
    """
    is_believed = stamp.clock != "unset" and _is_possible(stamp.at_ms, stamp.span_ms, received_ms)
    told = None
    if anchor_ms is None:
        told = _told_anchor(stamp, header, received_ms, is_needed=not is_believed)
    if is_believed:
        return EventTime(stamp.at_ms, "device"), told
    anchor = anchor_ms if anchor_ms is not None else told
    if anchor is not None and _is_possible(anchor + stamp.up_ms, stamp.span_ms, received_ms):
        return EventTime(anchor + stamp.up_ms, "anchor"), told
    return EventTime(received_ms - stamp.span_ms, "received"), told


def _told_anchor(stamp: Stamp, header: Header, received_ms: int, *, is_needed: bool) -> int | None:
    """The anchor of the stamp's boot that this header tells; None if it tells none, or an impossible one."""
    if header.anchor is not None and _is_possible(header.anchor + stamp.up_ms, stamp.span_ms, received_ms):
        return header.anchor
    if is_needed and stamp.boot == header.now_boot:
        derived = received_ms - header.now_up
        return derived if _is_possible(derived + stamp.up_ms, stamp.span_ms, received_ms) else None
    return None


def _is_possible(at_ms: int, span_ms: int, received_ms: int) -> bool:
    return at_ms >= EARLIEST_MS and at_ms + span_ms <= received_ms + MAX_AHEAD_MS
