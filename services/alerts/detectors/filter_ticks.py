"""A filter's ratio tick by tick: samples gathered over absolute spans of uptime, so no cut into entries matters."""

import math
from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.features.filter_index import vacuum_behind
from services.alerts.limits import Limits
from services.alerts.observation import Block, Floats

TICK_MS = 2000
"""Twenty samples at 10 Hz: short against every delay, and few enough to be judged one by one."""
MIN_FLOW = 0.3
"""Share of the rated flow below which noise, scaled up, would drown the ratio."""
MAX_RATIO = 3.0
MAX_PAUSE_MS = 3_600_000
"""The longest gap between two samples with the pump on that counts as pumping."""
STANDARD_KPA = 101.325
MIN_MEAN_KPA = 10.0


class Tick(msgspec.Struct):
    """The samples of one tick.

    Attributes:
        number: of the tick, from the start of the boot.
        ratios: the usable ones, oldest first.
        running: samples with the pump on.
        pumped_ms: pumping time up to its last sample.
        at_ms, dp_kpa, flow_lpm: event time of the last usable sample, and what was measured then.
    """

    number: int = 0
    ratios: list[float] = []
    running: int = 0
    pumped_ms: int = 0
    at_ms: int = 0
    dp_kpa: float | None = None
    flow_lpm: float | None = None


class State(msgspec.Struct):
    """What is remembered between entries.

    Attributes:
        tick: the one that is not over; None = none yet.
        boot, up_ms, was_on: of the last sample.
        has_flow, has_vacuum: it was measured once, so a sample without it is unusable.
    """

    tick: Tick | None = None
    boot: str | None = None
    up_ms: int = 0
    was_on: bool = False
    has_flow: bool = False
    has_vacuum: bool = False


def take(state: State, block: Block, limits: Limits) -> Iterator[tuple[int, Tick]]:
    """Take in samples; changes ``state``. Gives the ticks that are over, each with the index of the sample after it."""
    state.has_flow = state.has_flow or bool(np.isfinite(block.channel("flow_lpm")).any())
    state.has_vacuum = state.has_vacuum or bool(np.isfinite(vacuum_behind(block, block.channel("filter_dp_kpa"))).any())
    is_on, ratios = find_ratios(block, limits, has_flow=state.has_flow, has_vacuum=state.has_vacuum)
    up_ms = block.up_ms + block.at_ms - block.at_ms[0]
    pumped = np.cumsum(_pumped_ms(state, block.boot, up_ms, is_on))
    running, number = np.cumsum(is_on), up_ms // TICK_MS
    borders = np.flatnonzero(number[1:] != number[:-1]) + 1
    values, is_same_boot, before = ratios.tolist(), state.boot == block.boot, (0, 0)
    for first, end in zip([0, *borders.tolist()], [*borders.tolist(), len(values)], strict=True):
        if state.tick is not None and not (is_same_boot and state.tick.number == int(number[first])):
            yield first, state.tick
            state.tick = None
        until = int(running[end - 1]), int(pumped[end - 1])
        tick = state.tick = state.tick or Tick(int(number[first]), [])
        tick.running, tick.pumped_ms = tick.running + until[0] - before[0], tick.pumped_ms + until[1] - before[1]
        _note(tick, block, [first + i for i, x in enumerate(values[first:end]) if x == x], values)
        is_same_boot, before = True, until
    state.boot, state.up_ms, state.was_on = block.boot, int(up_ms[-1]), bool(is_on[-1])


def find_ratios(block: Block, limits: Limits, *, has_flow: bool, has_vacuum: bool) -> tuple[NDArray[np.bool_], Floats]:
    """Whether the pump runs, and the ratio of each sample (1 = at the limit).

    Returns:
        shapes (n,) and (n,); the ratio is NaN where it cannot be compared, and between 0 and `MAX_RATIO` elsewhere.
    """
    dp, flow, pump = block.channel("filter_dp_kpa"), block.channel("flow_lpm"), block.channel("pump_on")
    rated = limits.filter_flow_lpm
    actual = flow * STANDARD_KPA / _mean_pressure(block, dp, has_vacuum=has_vacuum)
    is_flowing = flow > 0 if rated is None else actual >= MIN_FLOW * rated
    is_on = np.where(np.isnan(pump), is_flowing, pump >= 0.5)
    ratio = dp / (limits.filter_dp_kpa or math.nan)
    if has_flow and rated is not None:
        ratio = np.where(is_flowing, ratio * rated / np.where(is_flowing, actual, 1.0), np.nan)
    ratio = np.where(is_on, np.clip(ratio, 0.0, MAX_RATIO), np.nan)
    return is_on, ratio


def _mean_pressure(block: Block, dp: Floats, *, has_vacuum: bool) -> Floats:
    """Absolute pressure in the middle of the filter, kPa, shape (n,); standard where no vacuum was ever measured.

    NaN where the gauges of a machine that has one are missing.
    """
    if not has_vacuum:
        return np.full(len(block.at_ms), STANDARD_KPA)
    ambient = np.nan_to_num(block.channel("ambient_kpa"), nan=STANDARD_KPA)
    return np.maximum(ambient - vacuum_behind(block, dp) + np.nan_to_num(dp) / 2, MIN_MEAN_KPA)


def _pumped_ms(state: State, boot: str, up_ms: NDArray[np.int64], is_on: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pumping time since the sample before, shape (n,): the pump ran at both."""
    before = np.concatenate([[state.up_ms if state.boot == boot else up_ms[0]], up_ms[:-1]])
    was_on = np.concatenate([[state.was_on and state.boot == boot], is_on[:-1]])
    pumped: NDArray[np.int64] = np.where(was_on & is_on, np.clip(up_ms - before, 0, MAX_PAUSE_MS), 0)
    return pumped


def _note(tick: Tick, block: Block, usable: list[int], ratios: list[float]) -> None:
    if not usable:
        return
    last = usable[-1]
    tick.ratios += [ratios[i] for i in usable]
    tick.at_ms = int(block.at_ms[last])
    tick.dp_kpa, tick.flow_lpm = _rounded(block, "filter_dp_kpa", last), _rounded(block, "flow_lpm", last)


def _rounded(block: Block, channel: str, i: int) -> float | None:
    values = block.channels.get(channel)
    value = math.nan if values is None else float(values[i])
    return None if math.isnan(value) else round(value, 4)
