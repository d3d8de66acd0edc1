"""The capped part of a self-test: pump-down time, plateau, and loss of vacuum after the pump has stopped.

Follows the protocol sample by sample (pump off, tip open, tip capped until plateau or limit, stop, wait); it is shown
nothing but the 40 s of a self-test, so it needs no arrays.
"""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.features import signals
from services.alerts.features.types import CappedFeatures, Means
from services.alerts.observation import Block

LOW_KPA = 15.0
HIGH_KPA = (60.0, 40.0)
"""Pump-down is timed from the low level to the first of the high ones that was crossed. A clogged filter brings an open
tip to 10 kPa: what begins below that begins when the pump starts, not when the tip is capped."""
LATE_SHARES = (0.5, 0.7)
"""Of the ambient pressure, between which the late rise is timed. A healthy machine's maximum at the mark of the dial is
0.77: the rise slows down before it, and does not where the regulator lets nothing in."""
RECENT_MS = 2_200
PLATEAU_MS = 1_000
PLATEAU_RISE_KPA = 0.6
"""Mean vacuum of the last second less that of the one before, below which it has stopped rising."""
CLOSED_KPA = 8.0
CLOSED_FACTOR = 1.5
"""The tip was closed at the stop if the vacuum was above both: this, and this times that of the open tip."""
START_MS = 1_000
LEAK_FROM_MS, LEAK_TO_MS = 300, 3_300
LEAK_FASTEST_KPA_S = 50.0
"""A hole of 2 mm lets the vacuum fall by 30; what is faster is a cap taken off, or a signal that dropped out."""


class State(msgspec.Struct):
    """What is remembered between samples.

    Attributes:
        last: (uptime ms, inlet vacuum) of the last sample.
        crossed: per level (kPa, as text) the uptime, ms, at which the vacuum rose through it.
        late: the same per share of the ambient pressure; ambient_kpa: that, as last measured.
        recent: the last `RECENT_MS` of pumping: uptime, then a value per channel (None = missing).
        started_up_ms, lowest_kpa: when the pump started, and the lowest vacuum since then: that of the open tip.
        stopped_up_ms: when the pump stopped with the tip closed.
        leak: samples since then: number and sums of t, t^2, v, tv (s, kPa).
        found: the last capped part that was complete.
    """

    last: tuple[int, float] | None = None
    crossed: dict[str, float] = {}
    late: dict[str, float] = {}
    ambient_kpa: float | None = None
    recent: list[tuple[int, list[float | None]]] = []
    started_up_ms: int | None = None
    lowest_kpa: float | None = None
    stopped_up_ms: int | None = None
    leak: list[float] = []
    found: CappedFeatures | None = None


def take(state: State, block: Block, up_ms: NDArray[np.int64], on: NDArray[np.bool_], usual_ambient_kpa: float) -> None:
    """Show the samples of a self-test with their uptimes and whether the pump runs; changes ``state``.

    Args:
        usual_ambient_kpa: of the site, where the ambient pressure is not measured.
    """
    vacuum = block.channel("vacuum_inlet_kpa").tolist()
    ambient = block.channel("ambient_kpa").tolist()
    rows = [block.channel(name).tolist() for name in signals.NAMES]
    for i, (up, is_on, value) in enumerate(zip(up_ms.tolist(), on.tolist(), vacuum, strict=True)):
        if not math.isnan(ambient[i]):
            state.ambient_kpa = ambient[i]
        if math.isnan(value):
            continue
        if is_on:
            _cross(state, up, value, state.ambient_kpa or usual_ambient_kpa)
            row = [None if math.isnan(channel[i]) else channel[i] for channel in rows]
            state.recent = [kept for kept in state.recent if up - kept[0] < RECENT_MS]
            state.recent.append((up, row))
            state.stopped_up_ms = None
            _open(state, up, value)
        else:
            if state.recent:
                _stop(state, up)
            if state.stopped_up_ms is not None:
                _leak(state, up, value, up - state.stopped_up_ms)
        state.last = (up, value)


def features(state: State) -> CappedFeatures | None:
    """What the self-test gave; None = the tip was never capped."""
    found = state.found
    if found is None or state.leak[0] < 3:
        return found
    count, time, time2, vacuum, product = state.leak
    spread = time2 - time * time / count
    if spread <= 0:
        return found
    rate = -(product - time * vacuum / count) / spread
    return msgspec.structs.replace(found, leak_down_kpa_s=rate, leak_down_from_kpa=vacuum / count)


def _cross(state: State, up: int, value: float, ambient_kpa: float) -> None:
    if state.last is None or not state.recent:
        state.crossed, state.late = {}, {}
        return
    before_up, before = state.last
    for share in LATE_SHARES:
        level = share * ambient_kpa
        if value >= level and str(share) not in state.late:  # the ambient pressure, and so the level, moves a little
            passed = min(max((level - before) / (value - before), 0.0), 1.0) if value > before else 1.0
            state.late[str(share)] = before_up + (up - before_up) * passed
    for level in (LOW_KPA, *HIGH_KPA):
        if before < level <= value and (level == LOW_KPA or str(level) not in state.crossed):
            state.crossed[str(level)] = before_up + (up - before_up) * (level - before) / (value - before)
        elif value < level <= before and level == LOW_KPA:
            state.crossed, state.late = {}, {}


def _open(state: State, up: int, value: float) -> None:
    """Note the lowest vacuum of this run of the pump."""
    if state.started_up_ms is None:
        state.started_up_ms, state.lowest_kpa = up, None
    elif up - state.started_up_ms >= START_MS:
        state.lowest_kpa = value if state.lowest_kpa is None else min(state.lowest_kpa, value)


def _stop(state: State, up: int) -> None:
    """The pump has stopped: keep what the last seconds were, if the tip was closed."""
    recent, state.recent, state.started_up_ms = state.recent, [], None
    assert state.last is not None
    end = state.last[0]
    last = _mean([row for at, row in recent if end - at < PLATEAU_MS])
    before = _mean([row for at, row in recent if PLATEAU_MS <= end - at < 2 * PLATEAU_MS])
    vacuum = last.get("vacuum_inlet_kpa", 0.0)
    opened = CLOSED_FACTOR * (state.lowest_kpa or 0.0)
    if vacuum < max(CLOSED_KPA, opened):
        return
    rise = vacuum - before.get("vacuum_inlet_kpa", 0.0)
    pump_down = _pump_down(state.crossed) if opened <= LOW_KPA else None
    state.stopped_up_ms, state.leak = up, [0.0] * 5
    begin, end_up = (state.late.get(str(share)) for share in LATE_SHARES)
    late_s = (end_up - begin) / 1000 if begin is not None and end_up is not None and end_up > begin else None
    state.found = CappedFeatures(plateau=rise < PLATEAU_RISE_KPA, mean=last, is_self_test=True, late_rise_s=late_s)
    if pump_down is not None:
        seconds, to_kpa = pump_down
        state.found = msgspec.structs.replace(
            state.found, pump_down_s=seconds, pump_down_from_kpa=LOW_KPA, pump_down_to_kpa=to_kpa
        )


def _pump_down(crossed: dict[str, float]) -> tuple[float, float] | None:
    """Seconds, and the vacuum to which they lasted."""
    begin = crossed.get(str(LOW_KPA))
    for high in HIGH_KPA:
        end = crossed.get(str(high))
        if begin is not None and end is not None and end > begin:
            return (end - begin) / 1000, high
    return None


def _leak(state: State, up: int, value: float, since_ms: int) -> None:
    if not LEAK_FROM_MS <= since_ms <= LEAK_TO_MS:
        return
    assert state.last is not None
    before_up, before = state.last
    if abs(value - before) > LEAK_FASTEST_KPA_S * (up - before_up) / 1000:
        state.stopped_up_ms, state.leak = None, [0.0] * 5
        return
    t = since_ms / 1000
    new = (1.0, t, t * t, value, t * value)
    state.leak = [total + part for total, part in zip(state.leak, new, strict=True)]


def _mean(rows: list[list[float | None]]) -> Means:
    means: Means = {}
    for i, name in enumerate(signals.NAMES):
        values = [value for row in rows if (value := row[i]) is not None]
        if values:
            means[name] = sum(values) / len(values)
    return means
