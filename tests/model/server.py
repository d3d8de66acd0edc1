"""The server's side: one transactional store, ingest's real decisions on it, and the follower's real order."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dermafleet.contracts.envelope import Position
from dermafleet.storage.follow import OpenLog
from services.alerts import order
from services.ingest.ack import Answers, Reply
from services.ingest.admission import admit, epochs_named, repeat_of
from services.ingest.decode import BadEntry, Entry
from services.ingest.ledger import Ledger, Log
from tests.model.device import DEVICE
from tests.model.rules import Rules


class _LowOfOneEpoch(Ledger):
    """Reads ``low`` as a word about its own epoch."""

    def _lose_ancestors(self, *descendants: Log) -> None:
        pass


@dataclass(slots=True)
class Stored:
    hash: bytes
    is_late: bool


@dataclass(slots=True)
class Store:
    """The database. A transaction is one call of a method; `copy` is a backup."""

    logs: dict[str, Log] = field(default_factory=dict)
    entries: dict[Position, Stored] = field(default_factory=dict)
    quarantine: set[tuple[Position, bytes]] = field(default_factory=set)
    on_time: dict[str, int] = field(default_factory=dict)
    position: order.Position = field(default_factory=order.Position)
    evaluated: list[Position] = field(default_factory=list)

    def copy(self) -> "Store":
        return Store(
            {epoch: replace(log) for epoch, log in self.logs.items()},
            dict(self.entries),
            set(self.quarantine),
            dict(self.on_time),
            self.position,
            list(self.evaluated),
        )

    def ingest(self, batch: Sequence[Entry | BadEntry], rules: Rules) -> list[Reply]:
        """What `services.ingest.write` does with one device's part of a batch."""
        named = epochs_named(batch)
        logs = {epoch: replace(log) for epoch, log in self.logs.items() if not log.done or epoch in named}
        ledger = (Ledger if rules.low_spans_epochs else _LowOfOneEpoch)(
            logs, newest=max((log.number for log in self.logs.values()), default=0)
        )
        admitted, answers = admit(ledger, batch, may_refuse=True), Answers(DEVICE)
        for entry, is_late in admitted.new:
            assert _key(entry) not in self.entries, f"{_key(entry)} is stored twice"
            self.entries[_key(entry)] = Stored(entry.hash, is_late)
            self.on_time[entry.header.epoch] = self.on_time.get(entry.header.epoch, 0) + (not is_late)
            answers.commit(entry.message.broker, entry.header)
        for bad in (*admitted.bad, *admitted.refused):
            self.quarantine.add((_key(bad), bad.hash))
            answers.refuse(bad.message.broker, bad.header)
        for repeated in admitted.repeated:
            stored = self.entries[_key(repeated)]
            if rules.compare_hashes and repeat_of(repeated, stored.hash) == "forked":
                self.quarantine.add((_key(repeated), repeated.hash))
                answers.refuse(repeated.message.broker, repeated.header)
            else:
                answers.commit(repeated.message.broker, repeated.header)
        self.logs.update(ledger.logs)
        return answers.replies("s", ledger, 0.0)

    def follow(self, *, is_patient: bool = True) -> order.Next:
        """One step of the follower; ``is_patient`` = it waits where waiting may help."""
        step = order.find_next([self._row(log) for log in self.logs.values() if not log.done], self.position)
        move = step.otherwise if isinstance(step, order.Blocked) and not is_patient else step
        if isinstance(step, order.Read):
            for seq in range(step.after + 1, step.upto + 1):
                stored = self.entries.get((step.epoch, seq))
                if stored is not None and not stored.is_late:
                    self.evaluated.append((step.epoch, seq))
            self.position = order.Position(step.epoch, step.upto)
        elif isinstance(move, order.Move):
            if move.leaving is not None:
                self.logs[move.leaving].done = True
            self.position = order.Position(move.epoch, 0)
            return move
        return step

    def give_up(self, epoch: str) -> None:
        """What the follower does about a hole that has blocked for a day."""
        log = self.logs[epoch]
        log.lost = log.lost | log.missing(log.head)
        log.settle()

    def _row(self, log: Log) -> OpenLog:
        return OpenLog(
            epoch=log.epoch,
            number=log.number,
            opened=log.opened,
            previous=log.previous,
            head=log.head,
            upto=log.upto,
            gapped=bool(log.received),
            stored=bool(log.received) or self.on_time.get(log.epoch, 0) > 0,
        )


def _key(entry: Entry | BadEntry) -> Position:
    return entry.header.epoch, entry.header.seq
