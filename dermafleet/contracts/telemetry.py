"""A telemetry entry: a block of samples, one array per channel."""

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import msgspec

from dermafleet.contracts.envelope import DEFAULT_LIMITS, Boot, Limits, UnixMs, Uptime, expand
from dermafleet.contracts.text import decode, find_bad_text
from dermafleet.errors import InvalidEntry

ClockState = Literal["synced", "holdover", "unset"]
"""Quality of the device's clock: set from a time source, running on from one, or never set in this boot."""

MAX_SPAN_MS = 7 * 86_400_000
"""A block is flushed within seconds; a longer span is a device's error, and event times must stay near ``t0``."""

MAX_CHANNELS = 64
MAX_CHANNEL_NAME = 64
_FLOAT32_MAX = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]

Offset = Annotated[int, msgspec.Meta(ge=0, le=MAX_SPAN_MS)]
Values = list[float | None]


class Telemetry(msgspec.Struct, frozen=True, kw_only=True):
    """A block of samples, cut at session borders.

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
    ch: dict[str, Values]


_KNOWN = frozenset(Telemetry.__struct_fields__)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A telemetry entry and the fields in it that this version does not know, as JSON."""

    block: Telemetry
    unknown: dict[str, msgspec.Raw]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Telemetry)
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def encode_telemetry(block: Telemetry) -> bytes:
    """The entry's bytes as they are appended to the outbox."""
    return _encoder.encode(block)


def decode_telemetry(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> Decoded:
    """Decode and check a telemetry entry.

    Raises:
        InvalidEntry: it breaks a rule of the protocol; the error names the field.
    """
    body = expand(raw, limits)
    block = decode(_decoder, body, InvalidEntry, "telemetry")
    if bad := find_bad_text(body, "telemetry"):
        raise InvalidEntry(*bad)
    _check_block(block, limits)
    fields = decode(_fields_decoder, body, InvalidEntry, "telemetry")
    return Decoded(block, {name: value for name, value in fields.items() if name not in _KNOWN})


def _check_block(block: Telemetry, limits: Limits) -> None:
    count = len(block.dt)
    if not 1 <= count <= limits.samples:
        raise InvalidEntry("telemetry.dt", f"{count} samples, must be 1 to {limits.samples}")
    if any(later < earlier for earlier, later in pairwise(block.dt)):
        raise InvalidEntry("telemetry.dt", "offsets decrease")
    if not 1 <= len(block.ch) <= MAX_CHANNELS:
        raise InvalidEntry("telemetry.ch", f"{len(block.ch)} channels, must be 1 to {MAX_CHANNELS}")
    for name, values in block.ch.items():
        field = f"telemetry.ch.{name[:MAX_CHANNEL_NAME]}"
        if not 1 <= len(name) <= MAX_CHANNEL_NAME:
            raise InvalidEntry(field, f"a channel name has 1 to {MAX_CHANNEL_NAME} characters")
        if len(values) != count:
            raise InvalidEntry(field, f"{len(values)} values for {count} offsets in dt")
        for i, value in enumerate(values):
            # Written so that NaN fails too; `real` columns hold float32.
            if value is not None and not -_FLOAT32_MAX <= value <= _FLOAT32_MAX:
                raise InvalidEntry(f"{field}[{i}]", "is not a finite 32-bit number")
