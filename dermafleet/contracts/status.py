"""The retained status message: presence, latest values and position of the log. Not part of the log."""

from typing import Annotated, Literal

import msgspec

from dermafleet.contracts.envelope import Boot, Epoch, Position, UnixMs
from dermafleet.contracts.telemetry import ChannelName, Value
from dermafleet.contracts.text import decode
from dermafleet.errors import InvalidHeader

MAX_STATUS_BYTES = 16 * 1024
MAX_LATEST = 64
"""Channels in ``latest``; as many as a telemetry block may carry."""
Number = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_LAST = 2**53
MachineState = Literal["treating", "ready", "idle"]


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A birth, a heartbeat (every 30 s and on a change of state), or the last will (``online`` false, nothing else).

    Attributes:
        connection: persisted on the device, + 1 per connect; with ``n`` it orders messages, so that a late will
            cannot overtake a birth.
        n: counts the messages of one connection; None in the will, which ends its connection.
        latest: newest value per channel, so that a dashboard is live while a backlog drains.
    """

    connection: Number
    online: bool
    n: Number | None = None
    at: UnixMs | None = None
    boot: Boot | None = None
    epoch: Epoch | None = None
    low: Position | None = None
    head: Position | None = None
    state: MachineState | None = None
    latest: dict[ChannelName, Value] = {}
    agent: Annotated[str, msgspec.Meta(pattern=r"^[ -~]{1,64}\Z")] | None = None

    @property
    def order(self) -> tuple[int, int]:
        """A message whose order is not above the last one's is old, or a repeat: ignore it."""
        return self.connection, _LAST if self.n is None else self.n


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Status)


def encode_status(status: Status) -> bytes:
    return _encoder.encode(status)


def decode_status(payload: bytes) -> Status:
    """Decode a status message.

    Raises:
        InvalidHeader: it is too large or breaks a rule; the error names the field.
    """
    if len(payload) > MAX_STATUS_BYTES:
        raise InvalidHeader("status", f"{len(payload)} bytes, at most {MAX_STATUS_BYTES}")
    status = decode(_decoder, payload, InvalidHeader, "status")
    if status.online and status.n is None:
        raise InvalidHeader("status.n", "is missing; only a last will has none")
    if len(status.latest) > MAX_LATEST:
        raise InvalidHeader("status.latest", f"{len(status.latest)} channels, at most {MAX_LATEST}")
    return status
