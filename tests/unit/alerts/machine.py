"""A machine that writes a log, entry by entry, as an agent would; tests deliver it as they like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import sin
from typing import Any, Literal, TypedDict

from dermafleet.contracts.envelope import Header
from dermafleet.contracts.records import Event, Session
from dermafleet.contracts.telemetry import ClockState, Telemetry
from dermafleet.contracts.topics import Kind
from dermafleet.physics import steady
from dermafleet.physics.machine import M1

LIMIT_KPA = 5.0
RATED_LPM = 30.0
START_MS = 1_790_000_000_000

Content = Telemetry | Session | Event


class Stamp(TypedDict):
    boot: str
    at: int
    up: int
    clock: ClockState


@dataclass(frozen=True)
class Item:
    """One entry of the machine's log."""

    epoch: str
    seq: int
    kind: Kind
    content: Content

    def header(self, *, low: tuple[str, int], head: int) -> Header:
        """As sent while the oldest entry on disk was ``low``, or earlier if this entry was gone by then."""
        if low[0] == self.epoch:
            low = (self.epoch, min(low[1], self.seq))
        return Header(epoch=self.epoch, seq=self.seq, low=low, head=head, now_boot="b", now_up=0)


@cache
def levels(state: steady.State, load: float) -> dict[str, float]:
    """Settled values of the channels of a healthy M1 in this state."""
    at = steady.solve(M1.with_(filter_load=load), state)
    names = ("vacuum_inlet_kpa", "vacuum_handpiece_kpa", "filter_dp_kpa", "exhaust_dp_kpa", "flow_lpm")
    measured = {name: float(getattr(at, name)) for name in (*names, "motor_current_a")}
    return {**measured, "ambient_kpa": 101.325, "mains_v": 230.0, "pump_temp_c": 45.0, "ambient_temp_c": 20.0}


@dataclass
class Machine:
    """Its clock runs on with every sample; `log` is the whole log in order."""

    step_ms: int = 3000
    now_ms: int = START_MS
    log: list[Item] = field(default_factory=list)
    _epochs: int = 0

    def __post_init__(self) -> None:
        self._began_ms = self.now_ms

    @property
    def epoch(self) -> str:
        return f"{self._epochs:016x}"

    def heads(self) -> dict[str, int]:
        """The newest sequence of each epoch."""
        return {item.epoch: item.seq for item in self.log}

    def open(self, *, forgets: bool = False) -> None:
        """Start the agent: a new epoch, on the same disk or on an empty one."""
        before = None if forgets or not self.log else [self.log[-1].epoch, self.log[-1].seq]
        self._epochs += 1
        self.event("opened", {"previous": before})

    def event(self, type: str, data: Mapping[str, object]) -> None:
        self._append("event", Event(type=type, **self._stamp(), data=dict(data)))

    def drop(self, lost: Sequence[Item]) -> None:
        """Announce entries evicted without an ack."""
        ranges: dict[str, list[list[int]]] = {}
        for item in lost:
            ranges.setdefault(item.epoch, []).append([item.seq, item.seq])
        self.event("dropped", {"ranges": ranges})

    def session(
        self,
        op: Literal["start", "checkpoint", "end"],
        id: str,
        seconds: float | None = None,
        **said: Any,  # further fields of the entry
    ) -> None:
        outcome: Literal["completed"] | None = "completed" if op == "end" else None
        self._append("session", Session(op=op, session=id, **self._stamp(), pump_s=seconds, outcome=outcome, **said))

    def block(self, ratios: Sequence[float], *, flow_lpm: float = RATED_LPM, pump_on: float = 1.0) -> None:
        """Samples with the filter at these shares of its limit."""
        count = len(ratios)
        stamp = self._stamp()
        telemetry = Telemetry(
            boot=stamp["boot"],
            up=stamp["up"],
            t0=stamp["at"],
            clock="synced",
            dt=[i * self.step_ms for i in range(count)],
            ch={
                "filter_dp_kpa": [ratio * LIMIT_KPA * flow_lpm / RATED_LPM for ratio in ratios],
                "flow_lpm": [flow_lpm] * count,
                "pump_on": [pump_on] * count,
            },
        )
        self.now_ms += count * self.step_ms
        self._append("telemetry", telemetry)

    def maintain(self, type: str) -> None:
        """Service told at the machine."""
        self.event("maintenance", {"type": type})

    def treat(self, id: str, *, load: float, strokes: int = 5, in_block: int = 60) -> None:
        """A short session at 5 Hz of a healthy M1 whose filter index is ``load`` + 1."""
        still: list[tuple[steady.State, int]] = [("off", 8)]
        stroke: list[tuple[steady.State, int]] = [("contact", 15), ("open", 5)]
        working: list[tuple[steady.State, int]] = [("open", 30), *(stroke * strokes)]
        self.session("start", id)
        samples = [state for state, count in [*still, *working, *still] for _ in range(count)]
        for first in range(0, len(samples), in_block):
            self._measure(samples[first : first + in_block], load)
        self.session("end", id, seconds=len(samples) / 5)

    def _measure(self, states: Sequence[steady.State], load: float) -> None:
        """One block at 5 Hz; the values differ a little from sample to sample, as sensors do."""
        stamp, count = self._stamp(), len(states)
        steps = [(self.now_ms // 200 + i) * 0.7 for i in range(count)]
        settled = [levels(state, load) for state in states]
        channels: dict[str, list[float | None]] = {
            name: [at[name] + 0.004 * (1 + at[name]) * sin(step + k) for at, step in zip(settled, steps, strict=True)]
            for k, name in enumerate(settled[0])
        }
        telemetry = Telemetry(
            boot=stamp["boot"],
            up=stamp["up"],
            t0=stamp["at"],
            clock="synced",
            dt=[i * 200 for i in range(count)],
            ch={**channels, "pump_on": [float(state != "off") for state in states], "setpoint_kpa": [40.0] * count},
        )
        self.now_ms += count * 200
        self._append("telemetry", telemetry)

    def _stamp(self) -> Stamp:
        return {"boot": f"b{self._epochs}", "at": self.now_ms, "up": self.now_ms - self._began_ms, "clock": "synced"}

    def _append(self, kind: Kind, content: Content) -> None:
        seq = self.log[-1].seq + 1 if self.log and self.log[-1].epoch == self.epoch else 1
        self.log.append(Item(self.epoch, seq, kind, content))
