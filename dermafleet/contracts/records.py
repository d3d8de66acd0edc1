"""Session and event entries: something that happened, with the machine's two clocks."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from dermafleet.contracts.envelope import DEFAULT_LIMITS, Boot, Epoch, Limits, Sequence, UnixMs, Uptime, expand
from dermafleet.contracts.ranges import Ranges, check_ranges
from dermafleet.contracts.telemetry import ClockState
from dermafleet.contracts.text import convert, decode, find_bad_value
from dermafleet.contracts.vocabulary import is_code
from dermafleet.errors import InvalidEntry

SessionId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
EventType = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]
Component = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z")]
Lot = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._/-]{1,20}\Z")]
"""A lot as GS1 has it: at most 20 characters, no space."""
Code = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{0,47}\Z")]
Codes = Annotated[list[Code], msgspec.Meta(max_length=32)]
Outcome = Literal["completed", "aborted", "power_loss", "timeout"]
Purpose = Literal["treatment", "self_test", "cleaning", "demo", "service"]
Privacy = Literal["machine-only", "coded"]
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Grams = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Vacuum = Annotated[float, msgspec.Meta(ge=-200, le=200)]
Millimetres = Annotated[float, msgspec.Meta(gt=0, le=100)]
SetPoints = Annotated[list[tuple[Seconds, Vacuum]], msgspec.Meta(max_length=200)]
VocabularyVersion = Annotated[int, msgspec.Meta(ge=1, lt=10_000)]
Generation = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
Day = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\d\Z")]


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine did since these counters began. They only grow, whatever crashes.

    Attributes:
        generation: random; another one where the storage was lost or replaced, or hours were imported. A machine's
            lifetime is the sum over its generations.
        pump_s, contact_s: time the pump ran, and with the tip on skin (or closed), sessions or not.
        sessions: ended ones of any purpose.
        crystals_g: taken from the jar.
    """

    generation: Generation
    pump_s: Seconds = 0.0
    contact_s: Seconds = 0.0
    sessions: Count = 0
    strokes: Count = 0
    crystals_g: Grams = 0.0
    pump_starts: Count = 0


class Session(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step in the life of a session. No person and no free text can be expressed: numbers and codes only.

    Attributes:
        op: start, checkpoint (every 60 s) or end.
        session: id made on the device, unique per device.
        boot, at, up, clock: when, by both clocks; ``at`` in Unix ms, ``up`` in ms since boot.
        pump_s, contact_s, strokes, longest_dwell_s: totals since the start of the session.
        outcome: how it ended; only with op ``end``.
        purpose: only treatments count clinically; all count for wear.
        setpoints: (seconds since the start, set point) at the start and at each change, kPa.
        vacuum_p50_kpa, vacuum_p95_kpa, vacuum_max_kpa: while in contact.
        over_vacuum_s: time above the machine's limit.
        modality, tip_type, abrasive, screening_outcome, abort_reason: codes of the vocabulary.
        indications, body_sites: codes; only with privacy ``coded``.
        passes: over the skin, as the operator counted them.
        privacy: mode that the clinic has chosen.
        vocabulary: version of the codes; present when there are any.
        counters: of the machine at this moment.
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
    purpose: Purpose = "treatment"
    setpoints: SetPoints | None = None
    crystals_used_g: Grams | None = None
    vacuum_p50_kpa: Vacuum | None = None
    vacuum_p95_kpa: Vacuum | None = None
    vacuum_max_kpa: Vacuum | None = None
    over_vacuum_s: Seconds | None = None
    modality: Code | None = None
    tip_type: Code | None = None
    tip_size_mm: Millimetres | None = None
    abrasive: Code | None = None
    screening_outcome: Code | None = None
    abort_reason: Code | None = None
    indications: Codes | None = None
    body_sites: Codes | None = None
    passes: Count | None = None
    privacy: Privacy = "machine-only"
    vocabulary: VocabularyVersion | None = None
    counters: Counters | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened: outbox opened, maintenance done, clients refused, clock step, entries dropped."""

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


class Maintenance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``data`` of the event ``maintenance``: what was done at the machine.

    Attributes:
        type: code of the vocabulary's list ``maintenance``.
        part_lot: of the part fitted.
    """

    type: Code
    component: Component = "main"
    part_lot: Lot | None = None
    vocabulary: VocabularyVersion = 1


class Screening(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``data`` of the event ``screening``: counts of one UTC day. A refused client leaves no other trace.

    Attributes:
        refused, deferred: clients that were not treated.
        contraindications: how often each code was a reason; only with privacy ``coded``.
    """

    day: Day
    refused: Count = 0
    deferred: Count = 0
    contraindications: dict[Code, Count] = {}
    privacy: Privacy = "machine-only"
    vocabulary: VocabularyVersion = 1


OPENED = "opened"
DROPPED = "dropped"
MAINTENANCE = "maintenance"
SCREENING = "screening"

CODED_FIELDS = {
    "modality": "modality",
    "tip_type": "tip_type",
    "abrasive": "abrasive",
    "screening_outcome": "screening_outcome",
    "abort_reason": "abort_reason",
    "indications": "indication",
    "body_sites": "body_site",
}
"""Field of a session → list of the vocabulary."""
CLINICAL_FIELDS = frozenset({"indications", "body_sites"})
"""Fields that need privacy ``coded``."""

_FIELD = re.compile(r"[a-z][a-z0-9_]{0,63}")
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,47}")

T = TypeVar("T", Session, Event)

_encoder = msgspec.json.Encoder()
_session_decoder = msgspec.json.Decoder(Session)
_event_decoder = msgspec.json.Decoder(Event)
_document_decoder = msgspec.json.Decoder(dict[str, Any])


def encode_record(record: Session | Event) -> bytes:
    """The entry's bytes as they are appended to the outbox."""
    return _encoder.encode(record)


def decode_session(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[Session, bytes]:
    """Decode a session entry; returns it and the JSON document to keep, unknown numbers included.

    What could name a person is taken out before anything is kept: unknown texts, codes that the vocabulary does not
    have, and clinical codes without privacy ``coded``. ``removed_fields`` in the document counts them.

    Raises:
        InvalidEntry: it breaks a rule of the protocol; the error names the field.
    """
    document = _document(_session_decoder, expand(raw, limits), "session")
    kept = {name: value for name, value in document.items() if _may_be_kept(name, value, document)}
    if isinstance(counters := kept.get("counters"), dict):
        kept["counters"] = {name: value for name, value in counters.items() if name in Counters.__struct_fields__}
    if len(kept) < len(document):
        kept["removed_fields"] = len(document) - len(kept)
    session = convert(kept, Session, InvalidEntry, "session")
    if (session.outcome is not None) != (session.op == "end"):
        raise InvalidEntry("session.outcome", f"must be present with op end, and only then; op is {session.op}")
    return session, _encoder.encode(kept)


def decode_event(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[Event, bytes]:
    """Decode an event entry; returns it and its whole JSON document, unknown fields included.

    Raises:
        InvalidEntry: it breaks a rule of the protocol; the error names the field.
    """
    document = _document(_event_decoder, expand(raw, limits), "event")
    event = convert(document, Event, InvalidEntry, "event")
    if data_of := _DATA.get(event.type):
        data_of(event)
    return event, _encoder.encode(document)


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


def maintenance_of(event: Event) -> Maintenance:
    """The data of a ``maintenance`` event.

    Raises:
        InvalidEntry: it has another shape, a field that is none of it, or a type that is no code.
    """
    _check_fields(event, Maintenance)
    done = convert(event.data, Maintenance, InvalidEntry, "event.data")
    if not is_code("maintenance", done.type, done.vocabulary):
        raise InvalidEntry("event.data.type", f"is no code of vocabulary {done.vocabulary}")
    return done


def screening_of(event: Event) -> Screening:
    """The data of a ``screening`` event.

    Raises:
        InvalidEntry: it has another shape, a field that is none of it, or reasons without privacy ``coded``.
    """
    _check_fields(event, Screening)
    counts = convert(event.data, Screening, InvalidEntry, "event.data")
    if counts.contraindications and counts.privacy != "coded":
        raise InvalidEntry("event.data.contraindications", "needs privacy coded")
    for code in counts.contraindications:
        if not is_code("contraindication", code, counts.vocabulary):
            raise InvalidEntry("event.data.contraindications", f"has no code of vocabulary {counts.vocabulary}")
    return counts


_DATA: dict[str, Callable[[Event], object]] = {
    OPENED: opened_of,
    DROPPED: dropped_of,
    MAINTENANCE: maintenance_of,
    SCREENING: screening_of,
}
"""What the protocol says about an event's data, by type."""


def _check_fields(event: Event, shape: type[msgspec.Struct]) -> None:
    """Refuse a field that is none of the shape: it might be a text about a person. The error does not repeat it."""
    if not event.data.keys() <= set(shape.__struct_fields__):
        raise InvalidEntry("event.data", f"has a field that {event.type} does not know")


def _may_be_kept(name: str, value: object, document: dict[str, Any]) -> bool:
    """Whether a field of a session says nothing but what the protocol lets it say."""
    if (terms := CODED_FIELDS.get(name)) is not None:
        if name in CLINICAL_FIELDS and document.get("privacy") != "coded":
            return False
        version = document.get("vocabulary", 1)
        codes = value if isinstance(value, list) else [value]
        return value is None or all(_is_listed(terms, code, version) for code in codes)
    if name in Session.__struct_fields__:
        return True
    return _FIELD.fullmatch(name) is not None and (value is None or isinstance(value, bool | int | float))


def _is_listed(terms: str, code: object, version: object) -> bool:
    if not isinstance(code, str) or not _CODE.fullmatch(code) or not isinstance(version, int):
        return False
    return is_code(terms, code, version)


def _document(decoder: msgspec.json.Decoder[T], body: bytes, name: str) -> dict[str, Any]:
    """The entry's JSON, of values that jsonb is sure to take: one spelling per number, one value per key."""
    try:
        document = decode(_document_decoder, body, InvalidEntry, name)
    except InvalidEntry:
        decode(decoder, body, InvalidEntry, name)  # it knows the fields, so its error names the one at fault
        raise
    if bad := find_bad_value(document, name):
        raise InvalidEntry(*bad)
    return document
