"""The envelope of a log entry: one header line, a newline, then the entry (JSON, or zlib of JSON).

The header is decoded first, so that an entry that cannot be read can still be refused by its number.
The payload never names the device: that is the topic's business.
"""

import hashlib
import zlib
from dataclasses import dataclass
from typing import Annotated

import msgspec

from dermafleet.contracts.text import decode
from dermafleet.contracts.topics import Kind
from dermafleet.errors import InvalidEntry, InvalidHeader

MAX_HEADER_BYTES = 1024
_ZLIB_FIRST_BYTE = b"\x78"

# Patterns end in \Z, because $ also matches before a final newline.
Epoch = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
"""One life of an outbox: 16 random hex digits, new at every start of the agent."""

Sequence = Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
"""Position in an epoch, from 1."""

Uptime = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
"""Milliseconds since boot, suspend included."""

UnixMs = Annotated[int, msgspec.Meta(ge=-(2**53), lt=2**53)]
"""Milliseconds since 1970 UTC by the device's clock, which may be wrong."""

Boot = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}\Z")]
"""Id of one boot of the machine."""

Position = tuple[Epoch, Sequence]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one message may cost. The agent cuts its blocks below these; ingest refuses what is above.

    Attributes:
        payload_bytes: of the entry as published, the header line comes on top; a broker must let both pass.
        entry_bytes: after expansion, so that 200 kB of zlib cannot become 200 MB.
        samples: in one telemetry block; five minutes at 10 Hz.
    """

    payload_bytes: int = 256 * 1024
    entry_bytes: int = 1024 * 1024
    samples: int = 3000


DEFAULT_LIMITS = Limits()


class Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What changes between two sendings of the same entry.

    Attributes:
        epoch, seq: identity of the entry within its device.
        low: oldest entry still on the device's disk; everything before it, earlier epochs included, is gone.
        head: newest entry of ``epoch``.
        now_boot, now_up: the running boot and its uptime when sent, to date entries of a clock that was never set.
        sent_at: wall clock when sent.
        anchor: wall clock minus uptime of the *entry's* boot, when the agent knows it.
    """

    epoch: Epoch
    seq: Sequence
    low: Position
    head: Sequence
    now_boot: Boot
    now_up: Uptime
    sent_at: UnixMs | None = None
    anchor: UnixMs | None = None


_encoder = msgspec.json.Encoder()
_header_decoder = msgspec.json.Decoder(Header)


def encode(header: Header, raw: bytes) -> bytes:
    """The payload to publish. ``raw`` are the entry's bytes as they stand in the outbox."""
    return _encoder.encode(header) + b"\n" + raw


def split(payload: bytes) -> tuple[Header, bytes]:
    """Separate and decode the header line.

    Returns:
        the header, and the entry's bytes as they came (perhaps compressed, not looked at).

    Raises:
        InvalidHeader: there is no usable header; the message cannot be refused by a number.
    """
    end = payload.find(b"\n", 0, MAX_HEADER_BYTES + 1)
    if end < 0:
        raise InvalidHeader("header", f"no newline ends it within {MAX_HEADER_BYTES} bytes")
    header = decode(_header_decoder, payload[:end], InvalidHeader, "header")
    if header.seq > header.head:
        raise InvalidHeader("header.head", f"{header.head} is before seq {header.seq}")
    if header.low[0] == header.epoch and header.low[1] > header.seq:
        raise InvalidHeader("header.low", f"{header.low[1]} is after seq {header.seq} of the same epoch")
    return header, payload[end + 1 :]


def expand(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The entry's JSON bytes, decompressed within the limits.

    Raises:
        InvalidEntry: too large before or after expansion, or broken zlib.
    """
    if len(raw) > limits.payload_bytes:
        raise InvalidEntry("entry", f"{len(raw)} bytes, at most {limits.payload_bytes}")
    if raw[:1] == _ZLIB_FIRST_BYTE:
        raw = _inflate(raw, limits.entry_bytes)
    if len(raw) > limits.entry_bytes:
        raise InvalidEntry("entry", f"{len(raw)} bytes, at most {limits.entry_bytes}")
    return raw


def entry_hash(kind: Kind, raw: bytes) -> bytes:
    """16 bytes that identify an entry's content; ``raw`` as published, so that it is the same at every sending."""
    return hashlib.blake2b(raw, digest_size=16, person=kind.encode()).digest()


def _inflate(raw: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        expanded = inflater.decompress(raw, limit + 1)
    except zlib.error as error:
        raise InvalidEntry("entry", f"not zlib: {error}") from error
    if len(expanded) > limit:
        raise InvalidEntry("entry", f"more than {limit} bytes after expansion")
    if not inflater.eof:
        raise InvalidEntry("entry", "zlib data ends early")
    if inflater.unused_data:
        raise InvalidEntry("entry", f"{len(inflater.unused_data)} bytes after the zlib data")
    return expanded
