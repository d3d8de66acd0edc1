"""From a message to what it says: an entry, an entry to refuse, a status, or nothing usable. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

import msgspec

from dermafleet.contracts.envelope import DEFAULT_LIMITS, Header, Limits, entry_hash, split
from dermafleet.contracts.records import Event, Session, decode_event, decode_session
from dermafleet.contracts.status import Status, decode_status
from dermafleet.contracts.telemetry import Telemetry, decode_telemetry
from dermafleet.contracts.topics import Kind, Topics
from dermafleet.errors import InvalidEntry, InvalidHeader


@dataclass(frozen=True, slots=True)
class Message:
    """One message as a broker delivered it; ``broker`` is its place in the settings: the ack goes back there."""

    topic: str
    payload: bytes
    received_at: datetime
    broker: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of a device's log that can be stored.

    Attributes:
        hash: of kind and bytes, the same at every sending.
        content: what it says.
        body: JSON to keep in `log_entry`: the whole document of a session or event, unknown fields of telemetry.
    """

    message: Message
    device_id: str
    kind: Kind
    header: Header
    hash: bytes
    content: Telemetry | Session | Event
    body: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadEntry:
    """An entry that cannot be read but has a number: it is refused by it."""

    message: Message
    device_id: str
    kind: Kind
    header: Header
    hash: bytes
    field: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A device's status."""

    message: Message
    device_id: str
    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A message without a number, or from nowhere: kept under a quota, never answered."""

    message: Message
    device_id: str | None
    hash: bytes
    field: str
    reason: str


Decoded = Entry | BadEntry | Report | Unusable


def decode(message: Message, topics: Topics, limits: Limits = DEFAULT_LIMITS) -> Decoded:
    """What a message says. Never raises, whatever the bytes."""
    device_id = None
    try:
        incoming = topics.parse(message.topic)
        device_id = incoming.device_id
        if incoming.kind is None:
            return Report(message=message, device_id=device_id, status=decode_status(message.payload))
        header, raw = split(message.payload)
    except InvalidHeader as error:
        digest = hashlib.blake2b(message.payload, digest_size=16).digest()
        return Unusable(message=message, device_id=device_id, hash=digest, field=error.field, reason=error.reason)
    kind, digest = incoming.kind, entry_hash(incoming.kind, raw)
    try:
        content, body = _content(kind, raw, limits)
    except InvalidEntry as error:
        return BadEntry(
            message=message,
            device_id=device_id,
            kind=kind,
            header=header,
            hash=digest,
            field=error.field,
            reason=error.reason,
        )
    return Entry(
        message=message,
        device_id=device_id,
        kind=kind,
        header=header,
        hash=digest,
        content=content,
        body=body,
    )


def _content(kind: Kind, raw: bytes, limits: Limits) -> tuple[Telemetry | Session | Event, bytes | None]:
    match kind:
        case "telemetry":
            decoded = decode_telemetry(raw, limits)
            return decoded.block, msgspec.json.encode(decoded.unknown) if decoded.unknown else None
        case "session":
            return decode_session(raw, limits)
        case "event":
            return decode_event(raw, limits)
