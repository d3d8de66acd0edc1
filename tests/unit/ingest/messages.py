"""Messages as devices publish them, for the tests of ingest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dermafleet.contracts.envelope import Header, encode
from dermafleet.contracts.records import Event, Session, encode_record
from dermafleet.contracts.status import Status, encode_status
from dermafleet.contracts.telemetry import ClockState, Telemetry, encode_telemetry
from dermafleet.contracts.topics import Kind, Topics
from services.ingest.decode import Message

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
EPOCH_A, EPOCH_B, EPOCH_C = "a" * 16, "b" * 16, "c" * 16


@dataclass(frozen=True)
class Machine:
    """A device and one life of its outbox; every method gives a message, sent at `NOW`."""

    device_id: str = "D-0001"
    epoch: str = EPOCH_A
    boot: str = "boot-1"
    low: tuple[str, int] | None = None
    head: int = 0
    broker: int = 0
    received_at: datetime = NOW

    def at(self, **changes: Any) -> "Machine":
        return replace(self, **changes)

    def header(self, seq: int, **changes: Any) -> Header:
        fields: dict[str, Any] = {
            "epoch": self.epoch,
            "seq": seq,
            "low": self.low or (self.epoch, 1),
            "head": max(seq, self.head),
            "now_boot": self.boot,
            "now_up": 3_600_000,
            "sent_at": NOW_MS,
        }
        return Header(**(fields | changes))

    def message(self, kind: Kind, seq: int, raw: bytes, **header: Any) -> Message:
        topic = Topics().up(self.device_id, kind)
        return Message(topic, encode(self.header(seq, **header), raw), self.received_at, self.broker)

    def block(
        self,
        seq: int,
        channels: Mapping[str, Sequence[float | None]] | None = None,
        *,
        t0: int | None = None,
        clock: ClockState = "synced",
        **header: Any,
    ) -> Message:
        """A telemetry entry; its default value is its number, so that every entry has its own content."""
        channels = channels or {"vacuum_inlet_kpa": [seq % 100, None], "filter_dp_kpa": [0.5, 0.25]}
        count = len(next(iter(channels.values())))
        block = Telemetry(
            boot=self.boot,
            up=3_000_000 + seq * 1000,
            t0=NOW_MS - 600_000 + seq * 1000 if t0 is None else t0,
            clock=clock,
            dt=[100 * i for i in range(count)],
            ch={name: list(values) for name, values in channels.items()},
        )
        return self.message("telemetry", seq, encode_telemetry(block), **header)

    def event(self, seq: int, type_: str, data: dict[str, Any] | None = None, **header: Any) -> Message:
        event = Event(type=type_, boot=self.boot, at=NOW_MS, up=3_000_000, clock="synced", data=data or {})
        return self.message("event", seq, encode_record(event), **header)

    def opened(self, previous: tuple[str, int] | None = None, **header: Any) -> Message:
        return self.event(1, "opened", {"previous": previous}, **header)

    def session(self, seq: int, **header: Any) -> Message:
        session = Session(op="start", session=f"s-{seq}", boot=self.boot, at=NOW_MS, up=3_000_000, clock="synced")
        return self.message("session", seq, encode_record(session), **header)

    def status(self, connection: int, n: int | None, *, online: bool = True, **fields: Any) -> Message:
        status = Status(connection=connection, n=n, online=online, **fields)
        return Message(Topics().status(self.device_id), encode_status(status), self.received_at, self.broker)

    def later(self, seconds: float) -> "Machine":
        return replace(self, received_at=self.received_at + timedelta(seconds=seconds))
