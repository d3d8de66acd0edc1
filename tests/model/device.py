"""The device's side: a disk that may forget and be copied, and the agent on it, sending through the real `Window`."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from dermafleet.contracts.ack import Ack
from dermafleet.contracts.envelope import Header, Position
from dermafleet.contracts.ranges import RangeSet
from dermafleet.contracts.records import DROPPED, Event, dropped_of
from dermafleet.contracts.telemetry import Telemetry
from dermafleet.contracts.topics import Kind
from device_agent.window import Pace, Window
from services.ingest.decode import BadEntry, Entry, Message
from tests.model.rules import Rules

DEVICE = "D-0001"
PENDING, ACKED, REFUSED = 0, 1, 2
KEEP_ACKED_S = 400.0
BUDGET_ROWS = 7

_BLOCK = Telemetry(boot="b", up=0, t0=0, clock="synced", dt=[0], ch={"pump_on": [1.0]})
_MESSAGES = [Message("", b"", datetime(2026, 1, 1, tzinfo=UTC), broker) for broker in (0, 1)]


@dataclass(frozen=True, slots=True)
class Row:
    """One entry as it stands on a disk; ``hash`` stands for its bytes, and no two rows ever appended share it."""

    id: int
    epoch: str
    seq: int
    content: Telemetry | Event
    hash: bytes
    is_bad: bool = False

    @property
    def key(self) -> Position:
        return self.epoch, self.seq

    @property
    def kind(self) -> Kind:
        return "event" if isinstance(self.content, Event) else "telemetry"


@dataclass(slots=True)
class Disk:
    """What a power cut may take back, as a whole, to an earlier state.

    Attributes:
        rows: on disk, by id: the row, its state, and when it was settled.
        heads: newest number of each epoch this disk has known, in order.
        history: everything this disk ever confirmed, also what has left it since.
    """

    rows: dict[int, tuple[Row, int, float]] = field(default_factory=dict)
    heads: dict[str, int] = field(default_factory=dict)
    history: dict[Position, Row] = field(default_factory=dict)
    next_id: int = 1

    def copy(self) -> "Disk":
        return Disk(dict(self.rows), dict(self.heads), dict(self.history), self.next_id)


@dataclass(slots=True)
class Oracle:
    """What really happened, for the judge alone.

    Attributes:
        appended: every row that any disk ever confirmed, forgotten ones included.
        given_up: keys that left a disk without an ack.
        let_go: keys that left a disk after an ack; gone if the database goes back to before it.
        days_waited: holes that only the passing of a day has closed.
    """

    appended: dict[bytes, Row] = field(default_factory=dict)
    given_up: set[Position] = field(default_factory=set)
    let_go: set[Position] = field(default_factory=set)
    days_waited: int = 0


class Agent:
    """One running agent. Its memory is this object; everything that survives a restart is in ``disk``."""

    def __init__(self, disk: Disk, rules: Rules, rng: Random, oracle: Oracle, *, broker: int) -> None:
        self.disk = disk
        self.broker = broker
        self._rules = rules
        self._rng = rng
        self._oracle = oracle
        self._window = Window(Pace(entries=4), rng.random)
        self._in_flight: set[int] = set()
        self._announced: dict[str, RangeSet] = {}
        self.epoch = self._begin()

    @classmethod
    def twin_of(cls, other: "Agent", disk: Disk, *, broker: int) -> "Agent":
        """An agent that runs on in the other's epoch, as a copy of its memory would."""
        twin = cls.__new__(cls)
        twin.__dict__.update(other.__dict__)
        twin.disk, twin.broker = disk, broker
        twin._window, twin._in_flight, twin._announced = Window(Pace(entries=4), other._rng.random), set(), {}
        return twin

    def append(self, kind: Kind, *, is_bad: bool = False, may_evict: bool = False) -> None:
        if may_evict and len(self.disk.rows) >= BUDGET_ROWS:
            self._evict(2)
        self._insert(_event("self_test", {}) if kind == "event" else _BLOCK, is_bad=is_bad)

    def trim(self, now: float) -> None:
        """Delete what was settled long ago."""
        for row, state, at in list(self.disk.rows.values()):
            if state != PENDING and at < now - KEEP_ACKED_S:
                del self.disk.rows[row.id]
                self._oracle.let_go.add(row.key)

    def send(self, now: float) -> list[Entry | BadEntry]:
        sent = []
        for flight in self._window.due(now):
            if flight.id in self.disk.rows:
                sent.append(self._message(self.disk.rows[flight.id][0]))
            self._window.sent(flight, now)
        room, _ = self._window.room(now)
        pending = (row for row, state, _ in self.disk.rows.values() if state == PENDING)
        for row in sorted((row for row in pending if row.id not in self._in_flight), key=lambda row: row.id)[:room]:
            self._in_flight.add(row.id)
            self._window.sent(self._window.add(row.id, row.epoch, row.seq, 1), now)
            sent.append(self._message(row))
        if not self._rules.delete_on_ack:
            for flight_id in list(self._in_flight):
                row = self.disk.rows.pop(flight_id)[0]
                self._window.settle(row.epoch, RangeSet([(row.seq, row.seq)]), RangeSet(), now)
            self._in_flight.clear()
        return sent

    def receive(self, ack: Ack, now: float) -> None:
        assert ack.epoch is not None
        settled = self._window.settle(ack.epoch, RangeSet(ack.seqs), RangeSet(ack.refused), now)
        for state, ids in ((ACKED, settled.acked), (REFUSED, settled.refused)):
            for row_id in ids:
                self._in_flight.discard(row_id)
                self.disk.rows[row_id] = (self.disk.rows[row_id][0], state, now)
        if ack.want:
            self._want(ack.epoch, RangeSet(ack.want))

    def reconnect(self, broker: int, now: float) -> None:
        self.broker = broker
        self._window.restart(now)

    def is_drained(self) -> bool:
        return all(state != PENDING for _, state, _ in self.disk.rows.values())

    def _begin(self) -> str:
        previous = next(reversed(self.disk.heads.items()), None)
        if previous is not None and not self._rules.epoch_per_start:
            self.epoch = previous[0]
            return self.epoch
        self.epoch = f"{self._rng.getrandbits(64):016x}"
        self.disk.heads[self.epoch] = 0
        self._insert(_event("opened", {"previous": previous}))
        return self.epoch

    def _insert(self, content: Telemetry | Event, *, is_bad: bool = False) -> None:
        disk = self.disk
        disk.heads[self.epoch] += 1
        hash_ = len(self._oracle.appended).to_bytes(4, "big")
        row = Row(disk.next_id, self.epoch, disk.heads[self.epoch], content, hash_, is_bad)
        disk.next_id += 1
        disk.rows[row.id] = (row, PENDING, 0.0)
        disk.history[row.key] = row
        self._oracle.appended[hash_] = row

    def _evict(self, count: int) -> None:
        """As `device_agent.eviction`; never one in flight."""
        idle = [(row, state) for row, state, _ in self.disk.rows.values() if row.id not in self._in_flight]
        idle.sort(key=lambda item: _value(*item))
        dropped: list[Position] = []
        for row, state in idle[:count]:
            del self.disk.rows[row.id]
            (self._oracle.given_up if state == PENDING else self._oracle.let_go).add(row.key)
            if state == PENDING:
                dropped.append(row.key)
                dropped += _announced_in(row.content)
        if dropped:
            self._announce(dropped)

    def _want(self, epoch: str, wanted: RangeSet) -> None:
        if epoch in self.disk.heads:
            wanted = wanted - RangeSet([(self.disk.heads[epoch] + 1, 2**53)])
        on_disk = [row for row, _, _ in self.disk.rows.values() if row.epoch == epoch and row.seq in wanted]
        for row in on_disk:
            self.disk.rows[row.id] = (row, PENDING, 0.0)
        known = self._announced.get(epoch, RangeSet())
        gone = wanted - RangeSet.of(row.seq for row in on_disk) - known
        if gone and self._rules.announce_on_want:
            self._announced[epoch] = known | gone
            self._announce((epoch, seq) for seq in gone)

    def _announce(self, keys: Iterable[Position]) -> None:
        ranges: dict[str, list[tuple[int, int]]] = {}
        for epoch, seq in keys:
            ranges.setdefault(epoch, []).append((seq, seq))
        self._insert(_event("dropped", {"ranges": {epoch: list(RangeSet(r).ranges) for epoch, r in ranges.items()}}))

    def _low(self, sent: Row) -> Position:
        if self._rules.low_spans_epochs:
            return min(self.disk.rows.values(), key=lambda item: item[0].id)[0].key
        return sent.epoch, min(row.seq for row, _, _ in self.disk.rows.values() if row.epoch == sent.epoch)

    def _message(self, row: Row) -> Entry | BadEntry:
        head = self.disk.heads[row.epoch]
        header = Header(epoch=row.epoch, seq=row.seq, low=self._low(row), head=head, now_boot="b", now_up=0)
        assert header.low[0] != header.epoch or header.low[1] <= header.seq <= header.head
        message = _MESSAGES[self.broker]
        if row.is_bad:
            return BadEntry(
                message=message,
                device_id=DEVICE,
                kind=row.kind,
                header=header,
                hash=row.hash,
                field="entry",
                reason="bad",
            )
        return Entry(
            message=message,
            device_id=DEVICE,
            kind=row.kind,
            header=header,
            hash=row.hash,
            content=row.content,
            body=None,
        )


def _event(type_: str, data: dict[str, object]) -> Event:
    return Event(type=type_, boot="b", at=0, up=0, clock="synced", data=data)


def _value(row: Row, state: int) -> tuple[int, int]:
    """What leaves a full outbox first: acked, refused, telemetry, other; last what links an epoch to the one before."""
    if state != PENDING:
        return (0 if state == ACKED else 1), row.id
    return (2 if row.kind == "telemetry" else 3 if row.seq > 1 else 4), row.id


def _announced_in(content: Telemetry | Event) -> list[Position]:
    """What a ``dropped`` event tells of: when it is dropped itself, the next one tells it again."""
    if not isinstance(content, Event) or content.type != DROPPED:
        return []
    return [(epoch, seq) for epoch, ranges in dropped_of(content).ranges.items() for seq in RangeSet(ranges)]
