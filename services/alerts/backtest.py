"""What a rule would have said on stored history: the very code that judges live, on the entries in their order.

Bounded, and what was left out is told. Writes nothing; a chunk is judged in a thread, so that a loop goes on meanwhile.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from dermafleet.contracts.backtests import BacktestRequest, BacktestResult, DeviceBacktest, Firing
from dermafleet.contracts.rules import Rule
from dermafleet.errors import DermafleetError
from dermafleet.settings import Settings
from dermafleet.storage import backtests, follow
from dermafleet.storage.blocks import Samples, read_samples
from dermafleet.storage.engine import translate
from dermafleet.storage.follow import Entry, OpenLog
from services.alerts import replay
from services.alerts.context import Context
from services.alerts.entries import MAX_ENTRIES, channels_needed, cut_step
from services.alerts.evaluate import Memory
from services.alerts.limits import decode_limits
from services.alerts.observation import Observation
from services.alerts.order import Blocked, Move, Position, Read, find_next

EXAMPLES_OF_DEVICE = 5
EXAMPLES = 100
"""What a person looks through."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one backtest may take, and how long it rests after each chunk of some 20 000 samples."""

    devices: int
    days: float
    samples: int
    rest: timedelta = timedelta(0)

    @classmethod
    def of(cls, settings: Settings, *, rest: timedelta = timedelta(0)) -> "Bounds":
        return cls(settings.backtest_devices, settings.backtest_days, settings.backtest_samples, rest)


async def run(
    engine: AsyncEngine, rule: Rule, request: BacktestRequest, bounds: Bounds, *, now: datetime
) -> BacktestResult:
    """Try a rule.

    Raises:
        DermafleetError: the database.
    """
    with translate():
        return await _Backtest(engine, rule, request, bounds, now).run()


def reading_order(logs: Sequence[OpenLog], first: Mapping[str, int]) -> Iterator[Read]:
    """The epochs in the order in which the follower reads them, each from its first entry of the period on."""
    live, position = list(logs), Position(None, 0)
    while True:
        match find_next(live, position):
            case Read() as read:
                yield Read(read.epoch, first[read.epoch] - 1, read.upto)
                position = Position(read.epoch, read.upto)
            case Move() as move:
                live, position = _move(live, move)
            case Blocked(otherwise=Move() as move):
                live, position = _move(live, move)
            case _:
                return


def _move(live: list[OpenLog], move: Move) -> tuple[list[OpenLog], Position]:
    return [log for log in live if log.epoch != move.leaving], Position(move.epoch, 0)


class _Backtest:
    """One rule's way through the history; sums up as it goes."""

    def __init__(
        self, engine: AsyncEngine, rule: Rule, request: BacktestRequest, bounds: Bounds, now: datetime
    ) -> None:
        self._engine, self._rule, self._request, self._bounds = engine, rule, request, bounds
        self._now = now
        self._from_at = now - timedelta(days=min(request.days, bounds.days))
        self._samples = 0
        self._devices: list[DeviceBacktest] = []
        self._examples: list[Firing] = []
        self._left_out: list[str] = []

    async def run(self) -> BacktestResult:
        bounds, days = self._bounds, self._request.days
        if days > bounds.days:
            self._left_out.append(f"what is older than {bounds.days:g} days; {days:g} were asked for")
        chosen = await self._choose()
        for i, machine in enumerate(chosen):
            if self._samples >= bounds.samples:
                names = _listed([each.device_id for each in chosen[i:]])
                self._left_out.append(f"{names}: {bounds.samples} samples were reached before")
                break
            await self._try(machine)
        order = sorted(self._devices, key=lambda device: (-device.fired, device.device_id))
        return BacktestResult(
            from_at=self._from_at,
            until_at=self._now,
            samples=self._samples,
            fired=sum(device.fired for device in order),
            devices=order,
            examples=self._examples,
            left_out=self._left_out,
        )

    async def _choose(self) -> list[backtests.Machine]:
        """The devices to try the rule on; says which are left out."""
        async with self._engine.connect() as connection:
            found = await backtests.machines(connection, self._rule, self._request.devices)
        if unknown := sorted(set(self._request.devices) - {each.device_id for each in found}):
            self._left_out.append(f"{_listed(unknown)}: not in service, or the rule is not for its model")
        bound = self._bounds.devices
        if len(found) > bound:
            self._left_out.append(f"{len(found) - bound} devices after the first {bound} by their ids")
        return found[:bound]

    async def _try(self, machine: backtests.Machine) -> None:
        """Show the rule all that one device told in the period."""
        try:
            limits = decode_limits(machine.limits)
        except DermafleetError as error:
            self._left_out.append(f"{machine.device_id}: {error}")
            return
        replay = _Replay(machine, Context(limits, machine.profile, machine.altitude_m, (self._rule,)), self._rule.fault)
        async with self._engine.connect() as connection:
            logs, first = await backtests.logs_since(connection, machine.device, self._from_at)
        for read in reading_order(logs, first):
            await self._read(replay, read)
        if not replay.samples:
            self._left_out.append(f"{machine.device_id}: told nothing in this period")
            return
        self._note(replay)

    async def _read(self, replay: "_Replay", read: Read) -> None:
        after, device, bounds = read.after, replay.machine.device, self._bounds
        while after < read.upto and self._samples < bounds.samples:
            async with self._engine.connect() as connection:
                found = await follow.read_entries(
                    connection, device, read.epoch, after=after, upto=read.upto, limit=MAX_ENTRIES
                )
                entries = cut_step(found)
                blocks = [entry for entry in entries if entry.kind == "telemetry"]
                samples = await read_samples(connection, device, blocks, channels_needed(replay.context))
            if not entries:
                return
            await asyncio.to_thread(replay.take, read.epoch, entries, samples)
            self._samples += sum(entry.samples for entry in entries)
            after = entries[-1].seq
            await asyncio.sleep(self._bounds.rest.total_seconds())
        if after < read.upto:
            self._left_out.append(
                f"{replay.machine.device_id} from some point on: {bounds.samples} samples were reached"
            )

    def _note(self, replay: "_Replay") -> None:
        firings = replay.firings()
        room = min(EXAMPLES_OF_DEVICE, EXAMPLES - len(self._examples))
        self._examples += firings[:room]
        end = replay.last_at or self._now
        stood = sum(((each.until_at or end) - each.from_at).total_seconds() for each in firings)
        summary = DeviceBacktest(replay.machine.device_id, replay.samples, len(firings), stood)
        self._devices.append(summary)


class _Replay:
    """One device's history under the rule."""

    def __init__(self, machine: backtests.Machine, context: Context, fault: str) -> None:
        self.machine, self.context = machine, context
        self.samples = 0
        self.last_at: datetime | None = None
        self._fault = fault
        self._memory = Memory()
        self._told: list[Observation] = []

    def take(self, epoch: str, entries: Sequence[Entry], samples: Mapping[int, Samples]) -> None:
        """Show some entries, in order."""
        self._memory, told = replay.take(self._memory, epoch, entries, samples, self.context)
        self._told += [each for each in told if each.fault == self._fault]
        self.samples += sum(entry.samples for entry in entries if entry.entry in samples)
        self.last_at = entries[-1].last_at

    def firings(self) -> list[Firing]:
        """Each time it was raised, with the time it was cleared."""
        found: list[Firing] = []
        standing: dict[str, Observation] = {}
        for each in self._told:
            if each.severity is not None:
                standing.setdefault(each.component, each)
            elif (raised := standing.pop(each.component, None)) is not None:
                found.append(self._firing(raised, each.at))
        found += [self._firing(raised, None) for raised in standing.values()]
        return sorted(found, key=lambda firing: firing.from_at)

    def _firing(self, raised: Observation, until_at: datetime | None) -> Firing:
        return Firing(self.machine.device_id, raised.component, raised.at, until_at, raised.reason)


def _listed(names: Sequence[str], most: int = 5) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
