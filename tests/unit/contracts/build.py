"""Sound messages to start from."""

from typing import Any

import msgspec

from dermafleet.contracts.ack import Ack
from dermafleet.contracts.envelope import Header
from dermafleet.contracts.records import Event, Session
from dermafleet.contracts.status import Status
from dermafleet.contracts.telemetry import Telemetry

EPOCH = "6f1c2a9be0d34c55"
OTHER_EPOCH = "00000000000000ff"

HEADER = Header(
    epoch=EPOCH, seq=7, low=(EPOCH, 3), head=9, now_boot="b3f0", now_up=86_412_345, sent_at=1_790_000_000_123
)
BLOCK = Telemetry(
    boot="b3f0",
    up=86_412_222,
    t0=1_790_000_000_000,
    clock="synced",
    dt=[0, 100, 200],
    ch={"vacuum_inlet_kpa": [39.9, 40.1, None], "filter_dp_kpa": [0.41, 0.41, 0.42]},
)
SESSION = Session(op="end", session="s-1", boot="b3f0", at=1, up=2, clock="synced", pump_s=61.5, outcome="completed")
EVENT = Event(type="opened", boot="b3f0", at=1, up=2, clock="unset", data={"previous": [OTHER_EPOCH, 12]})
ACK = Ack(server="s", epoch=EPOCH, seqs=[(1, 4)], refused=[(5, 5)], want=[(6, 6)], wait_ms=100)
STATUS = Status(connection=17, n=4, online=True, at=1, boot="b3f0", epoch=EPOCH, low=(EPOCH, 1), head=(EPOCH, 9))


def changed(message: msgspec.Struct, **fields: Any) -> bytes:
    """The message as JSON with some fields replaced or added."""
    return msgspec.json.encode({**msgspec.to_builtins(message), **fields})


def without(message: msgspec.Struct, field: str) -> bytes:
    document = msgspec.to_builtins(message)
    del document[field]
    return msgspec.json.encode(document)
