"""The ack: what the server's database has committed, refuses, or wants again. The only promise a device may rely on."""

from typing import Annotated, Literal

import msgspec

from dermafleet.contracts.envelope import Epoch
from dermafleet.contracts.ranges import Ranges, check_ranges
from dermafleet.contracts.text import decode
from dermafleet.errors import InvalidMessage

MAX_WANT = 16
"""Ranges asked for in one ack; the next ack asks for the rest."""

MAX_ACK_BYTES = 64 * 1024


class Ack(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to entries of one epoch.

    Attributes:
        server: the id of the database that committed; a device obeys only its own.
        epoch: which epoch the ranges belong to; None in a hold.
        seqs: committed, now or earlier.
        refused: in quarantine, whole; sending them again is pointless.
        want: missing at the server although they should still be on the device's disk.
        wait_ms: pause before sending on; how a server paces a fleet that returns with backlogs.
        hold: nothing was stored and nothing refused; the data waits on the device.
    """

    server: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    epoch: Epoch | None = None
    seqs: Ranges = []
    refused: Ranges = []
    want: Ranges = []
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=86_400_000)] = 0
    hold: Literal["unknown", "suspended", "revoked"] | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Ack)


def encode_ack(ack: Ack) -> bytes:
    return _encoder.encode(ack)


def decode_ack(payload: bytes) -> Ack:
    """Decode an ack.

    Raises:
        InvalidMessage: it breaks a rule of the protocol; the error names the field.
    """
    if len(payload) > MAX_ACK_BYTES:
        raise InvalidMessage("ack", f"{len(payload)} bytes, at most {MAX_ACK_BYTES}")
    ack = decode(_decoder, payload, InvalidMessage, "ack")
    if ack.hold is None and ack.epoch is None:
        raise InvalidMessage("ack.epoch", "is missing")
    for name, ranges in (("seqs", ack.seqs), ("refused", ack.refused), ("want", ack.want)):
        if ack.hold is not None and ranges:
            raise InvalidMessage(f"ack.{name}", "comes with a hold, in which nothing is stored, refused or wanted")
        check_ranges(ranges, InvalidMessage, f"ack.{name}")
    return ack
