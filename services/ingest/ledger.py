"""The ledger: which entries of a device's log have arrived, are refused, or are lost for good.

Pure arithmetic on ranges; the rows are read and written by `dermafleet.storage.ledger` under the device's row lock.
Nothing here depends on the order of delivery, except what arrives after it was declared lost: that is *late*.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from dermafleet.contracts.ack import MAX_WANT
from dermafleet.contracts.envelope import Header
from dermafleet.contracts.ranges import NOTHING, Range, RangeSet

Admission = Literal["new", "late", "duplicate", "refused", "fragmented"]
"""What to do with an entry: store it, store it marked late, only ack it, only refuse it again, or not answer at all."""


@dataclass(slots=True)
class Log:
    """One epoch of one device, as far as the server knows it.

    Attributes:
        number: order of first commit among the device's epochs.
        opened: entry 1 has arrived, so ``previous`` is known.
        previous: the epoch before this one on the same disk.
        head: newest sequence that the device has told of.
        low: everything below is gone from the device's disk; 0 = nothing was told.
        upto: everything up to here is received, refused or lost.
        received: numbers above ``upto``; ``refused``, ``lost`` and ``late`` (arrived after all) are kept whole.
        done: the follower has left this epoch; whatever still arrives is late.
    """

    epoch: str
    number: int = 0
    opened: bool = False
    previous: str | None = None
    head: int = 0
    low: int = 0
    upto: int = 0
    received: RangeSet = NOTHING
    refused: RangeSet = NOTHING
    lost: RangeSet = NOTHING
    late: RangeSet = NOTHING
    done: bool = False

    def missing(self, end: int) -> RangeSet:
        """Numbers up to ``end`` that neither arrived nor are refused or lost."""
        if end <= self.upto:
            return NOTHING
        return RangeSet([(self.upto + 1, end)]) - self.received - self.refused - self.lost

    def settle(self) -> None:
        """Move ``upto`` over everything that has an answer."""
        self.upto = (self.received | self.refused | self.lost).prefix_end(self.upto + 1)
        self.received = self.received - RangeSet([(1, self.upto)])


@dataclass(slots=True)
class Ledger:
    """The logs of one device while its row is locked: those not done, and those that the batch names."""

    logs: dict[str, Log] = field(default_factory=dict)
    newest: int = 0
    """The highest number among all the device's logs, also those not in here."""
    new_epochs: int = 500
    """How many more epochs this device may begin today: a device that restarts for ever must not fill the ledger."""
    max_ranges: int = 1000
    """A log more fragmented than this costs more per batch than a day of samples: the rest waits on the device."""

    def log(self, epoch: str) -> Log:
        """The log of an epoch, made if it is new."""
        if epoch not in self.logs:
            self.newest = max(self.newest, *(log.number for log in self.logs.values()), 0) + 1
            self.new_epochs -= 1
            self.logs[epoch] = Log(epoch, number=self.newest)
        return self.logs[epoch]

    def admit(self, header: Header) -> Admission:
        """Decide on an entry by its number alone, and note what its header tells of the device's disk.

        The caller stores a *new* or *late* entry and then calls `store`, or calls `refuse`.
        """
        if self._is_excess(header.epoch):
            return "fragmented"
        if not self._is_excess(header.low[0]):
            self.log(header.low[0])  # Older than this epoch, so numbered before it, whichever is heard of first.
        log = self.log(header.epoch)
        log.head = max(log.head, header.head)
        seq = header.seq
        admission: Admission
        if seq in log.refused:
            admission = "refused"
        elif seq in log.late or seq in log.received:
            admission = "duplicate"
        elif seq in log.lost:
            admission = "late"
        elif seq <= log.upto:
            admission = "duplicate"
        elif log.done:
            admission = "late"
        elif seq > log.upto + 1 and len((log.received | RangeSet([(seq, seq)])).ranges) > self.max_ranges:
            admission = "fragmented"
        else:
            admission = "new"
        return admission

    def store(self, header: Header, *, late: bool = False) -> None:
        """Note that an admitted entry is stored."""
        log = self.logs[header.epoch]
        if late:
            log.late = log.late | RangeSet([(header.seq, header.seq)])
        elif header.seq == log.upto + 1 and not (log.received or log.refused or log.lost):
            log.upto = header.seq  # nearly always; the general way costs ten times as much
        else:
            log.received = log.received | RangeSet([(header.seq, header.seq)])
            log.settle()

    def refuse(self, header: Header) -> None:
        """Note that an admitted entry is in quarantine, even if `store` was called for it before."""
        log, number = self.logs[header.epoch], RangeSet([(header.seq, header.seq)])
        log.received = log.received - number
        log.late = log.late - number
        log.refused = log.refused | number
        log.settle()

    def note_low(self, header: Header) -> None:
        """Note that everything before ``header.low`` is gone, after the entry itself was admitted."""
        epoch, seq = header.low
        if self._is_excess(epoch):
            return
        log = self.log(epoch)
        if seq > log.low:
            log.low, log.head = seq, max(log.head, seq)
            self._lose(log, [(1, seq - 1)])
            self._lose_ancestors(log)

    def note_opened(self, epoch: str, previous: tuple[str, int] | None) -> None:
        """Note what entry 1 of an epoch tells of the one before it."""
        log = self.logs[epoch]
        if 1 in log.lost:
            return  # Late: the follower may have passed, and the order of epochs must not change behind it.
        log.opened = True
        if previous is None or self._is_excess(previous[0]):
            return
        log.previous = previous[0]
        ancestor = self.log(previous[0])
        # What the disk does not know of at its next start, it has forgotten: no one will send it.
        self._lose(ancestor, [(previous[1] + 1, ancestor.head)])
        ancestor.head = max(ancestor.head, previous[1])
        self._lose_ancestors(*(descendant for descendant in self.logs.values() if descendant.low))

    def note_dropped(self, epoch: str, ranges: Iterable[Range]) -> None:
        """Note what the device says it has evicted without an ack."""
        if not self._is_excess(epoch):
            self._lose(self.log(epoch), ranges)

    def wanted(self, epoch: str, end: int) -> list[Range]:
        """Ranges of an epoch up to ``end`` that should still be on the device's disk, at most `MAX_WANT`."""
        log = self.logs[epoch]
        return list((log.missing(end) - log.late).ranges[:MAX_WANT])

    def ancestors(self, log: Log) -> Iterator[Log]:
        """The unfinished epochs that the same disk may hold before this one, nearest first.

        Where entry 1 is lost, nothing tells what came before: every other epoch may have. They are asked for (a device
        announces as dropped what it no longer has), but never taken for lost on this ground.
        """
        chain = [log, *self._chain(log)]
        yield from chain[1:]
        if not chain[-1].opened and (1 in chain[-1].lost or 1 in chain[-1].refused):
            yield from (other for other in self.logs.values() if other not in chain and not other.done)

    def _chain(self, log: Log) -> Iterator[Log]:
        """The epochs that surely came before this one on the same disk, as far as they are unfinished."""
        seen = {log.epoch}
        while log.previous in self.logs and log.previous not in seen:
            seen.add(log.previous)
            log = self.logs[log.previous]
            yield log

    def _is_excess(self, epoch: str) -> bool:
        return epoch not in self.logs and self.new_epochs <= 0

    def _lose_ancestors(self, *descendants: Log) -> None:
        """Each once, however many chains share it: a device that restarted 500 times has chains of 500."""
        ancestors: dict[str, Log] = {}
        for descendant in descendants:
            for ancestor in self._chain(descendant):
                if ancestor.epoch in ancestors:
                    break
                ancestors[ancestor.epoch] = ancestor
        for ancestor in ancestors.values():
            self._lose(ancestor, [(1, ancestor.head)])

    def _lose(self, log: Log, ranges: Iterable[Range]) -> None:
        gone = RangeSet((max(first, log.upto + 1), last) for first, last in ranges)
        if not gone:
            return
        log.lost = log.lost | (gone - log.received - log.refused)
        log.head = max(log.head, max((last for _, last in gone.ranges), default=0))
        log.settle()
