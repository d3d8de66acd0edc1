"""Decisions do not depend on delivery: ledger, order, detectors and alarm life in memory, on many more logs."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

import msgspec
import numpy as np

from dermafleet.contracts.envelope import encode
from dermafleet.contracts.records import Event, Session
from dermafleet.contracts.telemetry import Telemetry
from dermafleet.contracts.topics import Topics
from dermafleet.storage.alarms import Alarm
from dermafleet.storage.follow import OpenLog
from services.alerts import evaluate
from services.alerts.context import Context
from services.alerts.entries import EventBody, is_seamless
from services.alerts.evaluate import Memory
from services.alerts.findings import Findings
from services.alerts.lifecycle import decide
from services.alerts.limits import Limits
from services.alerts.observation import Block, Origin
from services.alerts.order import Move, Position, Read, find_next
from services.ingest import decode as ingest
from services.ingest.admission import admit
from services.ingest.ledger import Ledger
from tests.unit.alerts.cases import Case, make_case
from tests.unit.alerts.machine import LIMIT_KPA, RATED_LPM, Item

CONTEXT = Context(Limits(LIMIT_KPA, RATED_LPM))
RUNS = 16
_NOW = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass
class Server:
    """What ingest and follower know of one device.

    Attributes:
        joins: show seamless blocks to the detectors together, as the follower does on a backlog.
    """

    joins: bool = False
    ledger: Ledger = field(default_factory=Ledger)
    stored: dict[tuple[str, int], Item] = field(default_factory=dict)
    position: Position = field(default_factory=Position)
    memory: Memory = field(default_factory=Memory)
    alarms: dict[str, Alarm | None] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    waiting: list[Block] = field(default_factory=list)
    joined: int = 0
    read: list[tuple[str, int]] = field(default_factory=list)
    told: list[tuple[object, object]] = field(default_factory=list)

    def deliver(self, items: list[Item], case: Case) -> None:
        by_number = {(item.epoch, item.seq): item for item in items}
        admitted = admit(self.ledger, [_decoded(item, case.low) for item in items], may_refuse=True)
        for entry, late in admitted.new:
            key = (entry.header.epoch, entry.header.seq)
            if not late:
                assert self.stored.setdefault(key, by_number[key]) is by_number[key]

    def step(self) -> bool:
        match find_next(self._logs(), self.position):
            case Read() as read:
                self._read(read.epoch, range(read.after + 1, read.upto + 1))
                self.position = Position(read.epoch, read.upto)
            case Move() as move:
                if move.leaving is not None:
                    self.ledger.logs[move.leaving].done = True
                self.position = Position(move.epoch)
            case _:
                return False
        return True

    def follow(self) -> None:
        for _ in range(1000):
            if not self.step():
                return
        raise AssertionError("the follower goes round in circles")

    def _read(self, epoch: str, numbers: range) -> None:
        self.memory = evaluate.recall(evaluate.to_document(self.memory), evaluate.VERSION)
        for seq in numbers:
            item = self.stored.get((epoch, seq))
            if item is None:
                continue
            self.read.append((epoch, seq))
            if not isinstance(item.content, Session | Event):
                block = _block(item, item.content)
                if self.waiting and not (self.joins and is_seamless(self.waiting[-1], block)):
                    self._flush()
                self.waiting.append(block)
                continue
            self._flush()
            self._note(self._take(item, item.content))
        self._flush()

    def _flush(self) -> None:
        self.joined += len(self.waiting) > 1
        self.memory, found = evaluate.take_blocks(self.memory, self.waiting, CONTEXT)
        self.waiting = []
        for findings in found:
            self._note(findings)

    def _note(self, findings: Findings) -> None:
        for kind in ("features", "baselines", "forecasts", "observability"):
            found = getattr(findings, kind)
            self.seen[kind] += len(found)
            self.told.append((kind, found))
        for observation in findings.observations:
            decision = decide("D-1", self.alarms.get(observation.fault), observation)
            self.alarms[observation.fault] = decision.alarm
            self.told.append((observation, decision))

    def _take(self, item: Item, content: Session | Event) -> Findings:
        origin = Origin(item.epoch, item.seq)
        if isinstance(content, Session):
            return evaluate.take_session(self.memory, content, origin, content.at, CONTEXT)
        return evaluate.take_event(self.memory, EventBody(content.type, content.data), origin, content.at, CONTEXT)

    def _logs(self) -> list[OpenLog]:
        return [
            OpenLog(
                epoch=log.epoch,
                number=log.number,
                opened=log.opened,
                previous=log.previous,
                head=log.head,
                upto=log.upto,
                gapped=bool(log.received),
                stored=any(epoch == log.epoch for epoch, _ in self.stored),
            )
            for log in self.ledger.logs.values()
            if not log.done
        ]


def test_decisions_do_not_depend_on_delivery() -> None:
    seen: Counter[str] = Counter()
    for seed in range(RUNS):
        random = Random(seed)
        case = make_case(random)
        in_order = Server(joins=True)
        in_order.deliver(case.kept, case)
        in_order.deliver(case.late, case)
        in_order.follow()
        assert in_order.read == [(item.epoch, item.seq) for item in case.kept], f"seed {seed}"

        server = Server()
        _deliver_at_random(server, case, random)
        server.follow()
        assert server.read == in_order.read, f"seed {seed}"
        assert server.told == in_order.told, f"seed {seed}"
        assert server.memory == in_order.memory, f"seed {seed}"
        assert server.position == in_order.position, f"seed {seed}"
        seen["alarms"] += any(server.alarms.values())
        seen["late"] += len(case.late)
        seen["joined"] += in_order.joined
        for kind in ("features", "forecasts", "observability"):
            seen[kind] += server.seen[kind]
        seen["epochs"] += case.log[-1].epoch != case.log[0].epoch
    assert min(seen.values()) > RUNS / 10, f"the runs show little: {seen}"


def _deliver_at_random(server: Server, case: Case, random: Random) -> None:
    """Shuffled, some twice, in batches, with the follower at work in between."""
    queue = case.kept + random.choices(case.kept, k=5)
    random.shuffle(queue)
    while queue:
        count = random.randint(1, 8)
        server.deliver(queue[:count], case)
        queue = queue[count:]
        for _ in range(random.randint(0, 3)):
            server.step()
    # A loss is known by now: what arrives of it is late, whenever the follower comes by.
    for item in random.sample(case.late, k=len(case.late)):
        server.deliver([item], case)
        server.step()


def _block(item: Item, content: Telemetry) -> Block:
    channels = {name: np.array(values, dtype=np.float64) for name, values in content.ch.items()}
    at_ms = content.t0 + np.array(content.dt, dtype=np.int64)
    return Block(item.epoch, item.seq, content.boot, content.up, at_ms, channels)


def _decoded(item: Item, low: tuple[str, int]) -> ingest.Entry:
    payload = encode(item.header(low=low, head=item.seq), msgspec.json.encode(item.content))
    entry = ingest.decode(ingest.Message(Topics().up("D-1", item.kind), payload, _NOW), Topics())
    assert isinstance(entry, ingest.Entry)
    return entry
