"""Session and event entries: something that happened, with the machine's two clocks."""

from typing import Annotated, Any, Literal, TypeVar

import msgspec

from dermafleet.contracts.envelope import DEFAULT_LIMITS, Boot, Epoch, Limits, Sequence, UnixMs, Uptime, expand
from dermafleet.contracts.ranges import Ranges, check_ranges
from dermafleet.contracts.telemetry import ClockState
from dermafleet.contracts.text import convert, decode, find_bad_value
from dermafleet.errors import InvalidEntry

SessionId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
EventType = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]
Outcome = Literal["completed", "aborted", "power_loss", "timeout"]
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Session(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step in the life of a treatment. No person and no free text can be expressed.

    Attributes:
        op: start, checkpoint (every 60 s) or end.
        session: id made on the device, unique per device.
        boot, at, up, clock: when, by both clocks; ``at`` in Unix ms, ``up`` in ms since boot.
        pump_s, contact_s, strokes, longest_dwell_s: totals since the start of the session.
        outcome: how it ended; only with op ``end``.
    """

    op: Literal["start", "checkpoint", "end"]
    session: SessionId
    boot: Boot
    at: UnixMs
    up: Uptime
    clock: ClockState
    pump_s: Seconds | None = None
    contact_s: Seconds | None = None
    strokes: Count | None = None
    longest_dwell_s: Seconds | None = None
    outcome: Outcome | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened: outbox opened, self-test, maintenance done, clock step, entries dropped."""

    type: EventType
    boot: Boot
    at: UnixMs
    up: Uptime
    clock: ClockState
    data: dict[str, Any]  # its shape depends on the type; unknown types are kept as they came


class Opened(msgspec.Struct, frozen=True):
    """``data`` of the event ``opened``, entry 1 of every epoch.

    Attributes:
        previous: the epoch before this one on the same disk, and its newest entry; None on an empty disk.
    """

    previous: tuple[Epoch, Sequence] | None = None


class Dropped(msgspec.Struct, frozen=True):
    """``data`` of the event ``dropped``: what has left the device's disk without an ack.

    Attributes:
        ranges: per epoch; what is stored already stays stored, the rest is lost.
    """

    ranges: dict[Epoch, Ranges]


OPENED = "opened"
DROPPED = "dropped"

T = TypeVar("T", Session, Event)

_encoder = msgspec.json.Encoder()
_session_decoder = msgspec.json.Decoder(Session)
_event_decoder = msgspec.json.Decoder(Event)
_document_decoder = msgspec.json.Decoder(dict[str, Any])


def encode_record(record: Session | Event) -> bytes:
    """The entry's bytes as they are appended to the outbox."""
    return _encoder.encode(record)


def decode_session(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[Session, bytes]:
    """Decode a session entry; returns it and its whole JSON document, unknown fields included.

    Raises:
        InvalidEntry: it breaks a rule of the protocol; the error names the field.
    """
    session, document = _decode(_session_decoder, raw, limits, "session")
    if (session.outcome is not None) != (session.op == "end"):
        raise InvalidEntry("session.outcome", f"must be present with op end, and only then; op is {session.op}")
    return session, document


def decode_event(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[Event, bytes]:
    """Decode an event entry; returns it and its whole JSON document, unknown fields included.

    Raises:
        InvalidEntry: it breaks a rule of the protocol; the error names the field.
    """
    event, document = _decode(_event_decoder, raw, limits, "event")
    if event.type == OPENED:
        opened_of(event)
    elif event.type == DROPPED:
        dropped_of(event)
    return event, document


def opened_of(event: Event) -> Opened:
    """The data of an ``opened`` event.

    Raises:
        InvalidEntry: ``data.previous`` is not ``[epoch, sequence]`` or null.
    """
    return convert(event.data, Opened, InvalidEntry, "event.data")


def dropped_of(event: Event) -> Dropped:
    """The data of a ``dropped`` event.

    Raises:
        InvalidEntry: ``data.ranges`` does not map epochs to ranges.
    """
    dropped = convert(event.data, Dropped, InvalidEntry, "event.data")
    for epoch, ranges in dropped.ranges.items():
        check_ranges(ranges, InvalidEntry, f"event.data.ranges.{epoch}")
    return dropped


def _decode(decoder: msgspec.json.Decoder[T], raw: bytes, limits: Limits, name: str) -> tuple[T, bytes]:
    body = expand(raw, limits)
    record = decode(decoder, body, InvalidEntry, name)
    document = decode(_document_decoder, body, InvalidEntry, name)
    if bad := find_bad_value(document, name):
        raise InvalidEntry(*bad)
    # Encoded anew: one spelling per number and one value per key, which jsonb is sure to take.
    return record, _encoder.encode(document)
