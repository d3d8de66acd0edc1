"""One random run: devices, two brokers, two ingest workers, a follower, and whatever may happen to them."""

from random import Random

from dermafleet.contracts.topics import Kind
from services.alerts import order
from services.ingest.ack import Reply
from services.ingest.decode import BadEntry, Entry
from tests.model.device import Agent, Disk, Oracle
from tests.model.rules import Faults, Rules
from tests.model.server import Store

_MAX_ROUNDS = 80


class World:
    """Everything there is. `run` lets it happen; `judge` (in `tests.model.judge`) looks at what came of it.

    Every choice comes from the seed, and the first ``steps`` choices do not depend on how many there are:
    a failing run is made shorter by letting it stop earlier.
    """

    def __init__(self, seed: int, faults: Faults, rules: Rules) -> None:
        self.faults, self.rules = faults, rules
        self._rng = Random(seed)
        self.oracle = Oracle()
        self.store = Store()
        self.now = 0.0
        self.was_restored = False
        self.agents = [Agent(Disk(), rules, self._rng, self.oracle, broker=0)]
        self._images: list[list[Disk]] = [[self.agents[0].disk.copy()]]
        self._up: list[list[Entry | BadEntry]] = [[], []]
        self._down: list[list[Reply]] = [[], []]
        self._inboxes: list[list[Entry | BadEntry]] = [[], []]
        self._backups: list[Store] = [Store()]
        actions = [
            (self._append, 6),
            (self._send, 8),
            (self._deliver_up, 9),
            (self._ingest, 9),
            (self._deliver_down, 8),
        ]
        actions += [(self._follow, 6), (self._wait, 2), (self._trim, 1), (self._reconnect, 1), (self._lose, 1)]
        actions += [(self._save_image, 1), (self._restart, 1), (self._crash_worker, 1)]
        actions += [(self._back_up, 1), (self._restore, 1)] if faults.restore else []
        actions += [(self._forget, 1)] if faults.forget else []
        actions += [(self._clone, 1)] if faults.clone or faults.twin else []
        self._actions = [action for action, weight in actions for _ in range(weight)]

    def run(self, steps: int) -> bool:
        """Let things happen, then let them calm down; False = they never did."""
        choose = self._rng.choice
        for _ in range(steps):
            self.now += 1
            choose(self._actions)()
        return self._calm_down()

    def _agent(self) -> int:
        return self._rng.randrange(len(self.agents))

    def _append(self) -> None:
        rng, faults = self._rng, self.faults
        is_bad = faults.poison and rng.random() < 0.1
        kind: Kind = "event" if rng.random() < 0.3 else "telemetry"
        self.agents[self._agent()].append(kind, is_bad=is_bad, may_evict=faults.evict)

    def _send(self) -> None:
        agent = self.agents[self._agent()]
        self._up[agent.broker] += agent.send(self.now)

    def _deliver_up(self) -> None:
        """A broker hands some messages to a worker: in any order, some twice, some never."""
        rng = self._rng
        pipe = rng.choice(self._up)
        for _ in range(min(len(pipe), rng.randrange(1, 5))):
            i = 0 if rng.random() < 0.7 else rng.randrange(len(pipe))
            message = pipe[i] if rng.random() < 0.15 else pipe.pop(i)
            if rng.random() > 0.15:
                rng.choice(self._inboxes).append(message)

    def _ingest(self) -> None:
        """A worker commits a batch; it may die before its acks are out."""
        rng = self._rng
        inbox = rng.choice(self._inboxes)
        count = rng.randrange(1, 6)
        batch = inbox[:count]
        del inbox[:count]
        if not batch:
            return
        replies = self.store.ingest(batch, self.rules)
        if rng.random() > 0.1:
            for reply in replies:
                self._down[reply.broker].append(reply)

    def _deliver_down(self) -> None:
        rng = self._rng
        broker = rng.randrange(2)
        pipe = self._down[broker]
        for _ in range(min(len(pipe), rng.randrange(1, 5))):
            i = 0 if rng.random() < 0.7 else rng.randrange(len(pipe))
            reply = pipe[i] if rng.random() < 0.15 else pipe.pop(i)
            for agent in self.agents:
                if agent.broker == broker and rng.random() > 0.15:
                    agent.receive(reply.ack, self.now)

    def _follow(self) -> None:
        for _ in range(self._rng.randrange(1, 4)):
            self.store.follow()

    def _wait(self) -> None:
        self.now += self._rng.choice([5, 20, 100, 300])

    def _trim(self) -> None:
        self.agents[self._agent()].trim(self.now)

    def _reconnect(self) -> None:
        if not self.faults.twin:
            self.agents[self._agent()].reconnect(self._rng.randrange(2), self.now)

    def _lose(self) -> None:
        broker = self._rng.randrange(2)
        (self._up if self._rng.random() < 0.5 else self._down)[broker].clear()

    def _save_image(self) -> None:
        i = self._agent()
        self._images[i].append(self.agents[i].disk.copy())

    def _restart(self) -> None:
        if not self.faults.twin:
            i = self._agent()
            self.agents[i] = self._start(self.agents[i].disk)

    def _forget(self) -> None:
        """A power cut: the disk is as it was at some earlier moment; what it confirmed since is gone."""
        i = self._agent()
        image = self._rng.choice(self._images[i][-3:])
        disk = self.agents[i].disk
        self.oracle.given_up.update(disk.history.keys() - image.history.keys())
        self._images[i] = [image.copy()]
        self.agents[i] = self._start(image)

    def _clone(self) -> None:
        """A second machine from a copy of the disk, or (twin) of disk and memory."""
        if len(self.agents) > 1:
            return
        disk = (self.agents[0].disk if self.faults.twin else self._rng.choice(self._images[0])).copy()
        if self.faults.twin:
            twin = Agent.twin_of(self.agents[0], disk, broker=1 - self.agents[0].broker)
        self.agents.append(twin if self.faults.twin else self._start(disk))
        self._images.append([disk.copy()])

    def _start(self, disk: Disk) -> Agent:
        return Agent(disk, self.rules, self._rng, self.oracle, broker=self._rng.randrange(2))

    def _crash_worker(self) -> None:
        self._rng.choice(self._inboxes).clear()

    def _back_up(self) -> None:
        self._backups.append(self.store.copy())

    def _restore(self) -> None:
        if self._rng.random() < 0.4:
            self.was_restored = True
            self.store = self._rng.choice(self._backups[-3:]).copy()

    def _calm_down(self) -> bool:
        """Faults end; every pipe is emptied in order. True once nothing is left to do anywhere."""
        for broker, agent in enumerate(self.agents):
            agent.reconnect(broker if len(self.agents) > 1 else agent.broker, self.now)
        for round_ in range(_MAX_ROUNDS):
            self.now += 400
            for agent in self.agents:
                if round_ < 3:
                    agent.append("telemetry")
                self._up[agent.broker] += agent.send(self.now)
            self._empty_pipes()
            if round_ >= 3 and self._is_calm():
                return True
        return False

    def _empty_pipes(self) -> None:
        """Everything under way arrives and is answered."""
        for worker, pipe in enumerate(self._up):
            batch = self._inboxes[worker] + pipe
            self._inboxes[worker].clear()
            pipe.clear()
            if batch:
                for reply in self.store.ingest(batch, self.rules):
                    self._down[reply.broker].append(reply)
        for broker, replies in enumerate(self._down):
            for reply in replies:
                for agent in self.agents:
                    if agent.broker == broker:
                        agent.receive(reply.ack, self.now)
            replies.clear()

    def _is_calm(self) -> bool:
        """Whether all is sent and evaluated, with a day gone by: long enough to give up what no disk has any more."""
        while not isinstance(step := self.store.follow(is_patient=False), order.Idle):
            if isinstance(step, order.Blocked):
                if self.is_on_a_disk(step.epoch, step.seq):
                    return False
                self.store.give_up(step.epoch)
                self.oracle.days_waited += 1
        return all(agent.is_drained() for agent in self.agents)

    def is_on_a_disk(self, epoch: str, seq: int) -> bool:
        """Whether a surviving disk has confirmed this entry: then waiting a day for it is a fault of the design."""
        return any((epoch, seq) in agent.disk.history for agent in self.agents)
