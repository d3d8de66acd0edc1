"""Which acks answer a batch. Pure.

Pacing: while the inbox fills up, devices that are far behind are told to pause so that live ones stay current. The
pause grows in proportion to the fill above a quarter and to how far behind the device is, up to `MAX_PAUSE_MS`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from dermafleet.contracts.ack import Ack
from dermafleet.contracts.envelope import Header
from dermafleet.contracts.ranges import RangeSet
from services.ingest.ledger import Ledger

CALM_FILL = 0.25
LIVE_LAG = 16
"""Entries behind its head up to which a device counts as live: twice what it may have in flight."""
FAR_LAG = 1000
MAX_PAUSE_MS = 30_000

Hold = Literal["unknown", "suspended", "revoked"]

HOLD_WAIT_MS: dict[Hold, int] = {"unknown": 60_000, "suspended": 300_000, "revoked": 3_600_000}
"""How long a device on hold shall wait: the likelier a change, the shorter."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One ack and where it goes: the device, over the broker its entry came by."""

    broker: int
    device_id: str
    ack: Ack


@dataclass(slots=True)
class Answer:
    """What is decided of one epoch's entries that came by one broker."""

    seqs: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    lag: int = 0


@dataclass(slots=True)
class Answers:
    """The answers to one device's entries of a batch, to be sent once they are committed."""

    device_id: str
    by_epoch: dict[tuple[int, str], Answer] = field(default_factory=dict)

    def commit(self, broker: int, header: Header) -> None:
        """The entry is stored, now or earlier."""
        self._of(broker, header).seqs.append(header.seq)

    def refuse(self, broker: int, header: Header) -> None:
        """The entry is in quarantine."""
        self._of(broker, header).refused.append(header.seq)

    def replies(self, server: str, ledger: Ledger, fill: float) -> list[Reply]:
        """The acks, with what is missing of these epochs and of those before them on the same disk."""
        replies = []
        for (broker, epoch), answer in self.by_epoch.items():
            ack = Ack(
                server=server,
                epoch=epoch,
                seqs=list(RangeSet.of(answer.seqs).ranges),
                refused=list(RangeSet.of(answer.refused).ranges),
                want=ledger.wanted(epoch, max(answer.seqs + answer.refused)),
                wait_ms=pause_ms(fill, answer.lag),
            )
            replies.append(Reply(broker, self.device_id, ack))
        return replies + self._wants_of_ancestors(server, ledger)

    def _of(self, broker: int, header: Header) -> Answer:
        answer = self.by_epoch.setdefault((broker, header.epoch), Answer())
        answer.lag = max(answer.lag, header.head - header.seq)
        return answer

    def _wants_of_ancestors(self, server: str, ledger: Ledger) -> list[Reply]:
        wants: dict[tuple[int, str], Reply] = {}
        for broker, epoch in self.by_epoch:
            for log in ledger.ancestors(ledger.logs[epoch]):
                if want := ledger.wanted(log.epoch, log.head):
                    wants[broker, log.epoch] = Reply(
                        broker, self.device_id, Ack(server=server, epoch=log.epoch, want=want)
                    )
        return list(wants.values())


def hold(server: str, device_id: str, state: str, brokers: Iterable[int]) -> list[Reply]:
    """The acks that put a device on hold, one per broker its entries came by."""
    reason: Hold = "unknown" if state == "pending" else "suspended" if state == "suspended" else "revoked"
    ack = Ack(server=server, hold=reason, wait_ms=HOLD_WAIT_MS[reason])
    return [Reply(broker, device_id, ack) for broker in sorted(set(brokers))]


def pause_ms(fill: float, lag: int) -> int:
    """How long a device shall pause before it sends on.

    Args:
        fill: of the inbox, 0 to 1 and a little more.
        lag: entries between the one answered and the newest of its epoch.
    """
    if lag <= LIVE_LAG or fill <= CALM_FILL:
        return 0
    pressure = min((fill - CALM_FILL) / (1 - CALM_FILL), 1)
    return round(MAX_PAUSE_MS * pressure * min(lag / FAR_LAG, 1))
