"""A telemetry entry: a block of samples, one array per channel."""

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

import msgspec

from dermafleet.contracts.envelope import DEFAULT_LIMITS, Boot, Limits, UnixMs, Uptime, expand
from dermafleet.contracts.text import decode, find_bad_value
from dermafleet.errors import InvalidEntry

ClockState = Literal["synced", "holdover", "unset"]
"""Quality of the device's clock: set from a time source, running on from one, or never set in this boot."""

MAX_SPAN_MS = 7 * 86_400_000
"""A block is flushed within seconds; a longer span is a device's error, and event times must stay near ``t0``."""

MAX_CHANNELS = 64
_FLOAT32_MAX = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]

Offset = Annotated[int, msgspec.Meta(ge=0, le=MAX_SPAN_MS)]
ChannelName = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x20\x7f]{1,64}\Z")]
Value = Annotated[float, msgspec.Meta(ge=-_FLOAT32_MAX, le=_FLOAT32_MAX)] | None
"""None = not measured. The columns are 32 bits wide."""


class Telemetry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A block of samples, cut at session borders. `decode_telemetry` keeps fields it does not know beside it.

    Attributes:
        boot: the boot in which the samples were taken.
        up: uptime at ``t0``.
        t0: wall clock of the first sample's time base.
        clock: quality of that clock.
        dt: offset of each sample from ``t0``, ms, not decreasing.
        ch: per channel, one value per sample; None = not measured.
    """

    boot: Boot
    up: Uptime
    t0: UnixMs
    clock: ClockState
    dt: list[Offset]
    ch: dict[ChannelName, list[Value]]


_KNOWN = frozenset(Telemetry.__struct_fields__)
_NOTHING: dict[str, msgspec.Raw] = {}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A telemetry entry, and the fields in it that this version does not know, as JSON that jsonb can hold."""

    block: Telemetry
    unknown: dict[str, msgspec.Raw]


class _Later(Telemetry, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A block with fields that this version does not know."""


class _Channels(msgspec.Struct):
    ch: dict[str, msgspec.Raw]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Telemetry)
_later_decoder = msgspec.json.Decoder(_Later)
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any_decoder = msgspec.json.Decoder(Any)
_channels_decoder = msgspec.json.Decoder(_Channels)
_values_decoder = msgspec.json.Decoder(list[Value])


def encode_telemetry(block: Telemetry) -> bytes:
    """The entry's bytes as they are appended to the outbox; a value that is not finite becomes null."""
    return _encoder.encode(block)


def decode_telemetry(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> Decoded:
    """Decode and check a telemetry entry.

    Raises:
        InvalidEntry: it breaks a rule of the protocol; the error names the field.
    """
    body = expand(raw, limits)
    try:
        block, unknown = _decoder.decode(body), _NOTHING  # nearly all blocks, read in one go
    except (msgspec.MsgspecError, ValueError, RecursionError):
        block, unknown = _decode_later(body), _unknown(body)
    _check_block(block, limits)
    return Decoded(block, unknown)


def _decode_later(body: bytes) -> Telemetry:
    """Decode a block that may have unknown fields, or is bad; then the error names what is bad."""
    try:
        later = decode(_later_decoder, body, InvalidEntry, "telemetry")
    except InvalidEntry as error:
        if error.field.startswith("telemetry.ch[...]"):
            _name_channel(body)
        raise
    return Telemetry(**msgspec.structs.asdict(later))


def _check_block(block: Telemetry, limits: Limits) -> None:
    count = len(block.dt)
    if not 1 <= count <= limits.samples:
        raise InvalidEntry("telemetry.dt", f"{count} samples, must be 1 to {limits.samples}")
    if block.dt != sorted(block.dt):
        i = next(i for i, (earlier, later) in enumerate(pairwise(block.dt), start=1) if later < earlier)
        raise InvalidEntry(f"telemetry.dt[{i}]", f"offset {block.dt[i]} comes after {block.dt[i - 1]}")
    if not 1 <= len(block.ch) <= MAX_CHANNELS:
        raise InvalidEntry("telemetry.ch", f"{len(block.ch)} channels, must be 1 to {MAX_CHANNELS}")
    for name, values in block.ch.items():
        if len(values) != count:
            raise InvalidEntry(f"telemetry.ch.{name}", f"{len(values)} values for {count} offsets in dt")


def _unknown(body: bytes) -> dict[str, msgspec.Raw]:
    """Encoded anew, because the decoder skips unknown fields without looking at their text or numbers."""
    fields = decode(_fields_decoder, body, InvalidEntry, "telemetry")
    unknown = {
        name: decode(_any_decoder, value, InvalidEntry, f"telemetry.{name}")
        for name, value in fields.items()
        if name not in _KNOWN
    }
    if bad := find_bad_value(unknown, "telemetry"):
        raise InvalidEntry(*bad)
    return {name: msgspec.Raw(_encoder.encode(value)) for name, value in unknown.items()}


def _name_channel(body: bytes) -> None:
    """Raise the error of a bad channel again, with the channel's name; the decoder does not tell it."""
    for name, values in decode(_channels_decoder, body, InvalidEntry, "telemetry").ch.items():
        decode(_values_decoder, values, InvalidEntry, f"telemetry.ch.{name}")
