"""When a sensor has drifted: what it reads contradicts its zero, the weather, the night, or the motor's current."""

import math

import numpy as np

from dermafleet.physics.gas import STANDARD_PRESSURE_PA
from services.alerts.context import Context
from services.alerts.detectors import mains, sensors
from services.alerts.detectors.frames import NAMES, ROW, Frames
from services.alerts.detectors.health import DRIFT, State
from services.alerts.detectors.rests import Rest

BAD_RESTS = 2
GOOD_RESTS = 2
ZEROS = 3
MAX_ZEROS = 20
AMBIENT_STEP_KPA = 0.5
AMBIENT_STEP_KPA_H = 0.35
"""Fronts do not pass faster."""
WEATHER_KPA = 5.0
"""Weather, and what the height of a site is known to."""

NIGHT_MS = 3 * 3_600_000
"""A pump is cold after it, even one with a blocked fan."""
DAWN_MS = 60_000
"""The pump has not warmed up yet."""
COLD_K = 5.0
ROOM_C = 22.0
COLD_FRAMES = 2
ALIVE_FRAMES = 6
"""Frames with noise after which a sensor is known to show some."""
MIN_COUNT = 5

PRESSED_KPA = 5.0
"""A gauge that swings so far within seconds has borne pressure; a drift is smaller, and slower."""

_AMBIENT = ROW["ambient_kpa"]
_FILTER = ROW["filter_dp_kpa"]
_TEMPERATURES = ("pump_temp_c", "ambient_temp_c")
_PUMP_TEMP, _ROOM_TEMP = (ROW[name] for name in _TEMPERATURES)


def judge_rest(state: State, rest: Rest) -> None:
    """A gauge that is away from its zero in two rests, and by as much, has drifted; changes `state`."""
    mean, is_own = rest.mean, rest.is_own
    for row in np.flatnonzero(np.isfinite(mean) & np.isfinite(sensors.ZERO_LIMIT)).tolist():
        name, value = NAMES[row], float(mean[row])
        if rest.is_early and value > sensors.HELD_KPA and name in sensors.VACUUM:
            continue
        is_learned = state.zeros[row] >= ZEROS
        drift = sensors.ZERO_DRIFT[row]
        if abs(value) > sensors.ZERO_LIMIT[row] or (is_learned and abs(value - state.zero[row]) > drift):
            if row == _FILTER and state.pressed:
                continue  # a wet filter holds pressure after the stop, and the gauge takes that for its zero
            is_same = state.off[row] == 0 or abs(value - state.away[row]) <= drift / 2
            state.off[row] = state.off[row] + is_own if is_same else 1
            state.away[row], state.settled[row] = value, 0
            if state.off[row] >= BAD_RESTS:
                state.suspects.setdefault(name, DRIFT)
            continue
        state.off[row], state.settled[row] = 0, state.settled[row] + is_own
        if row == _FILTER:
            state.pressed = False
        if state.suspects.get(name) == DRIFT:
            if state.settled[row] >= GOOD_RESTS:
                del state.suspects[name]
        elif state.zeros[row] < MAX_ZEROS and is_own:
            state.zeros[row] += 1
            state.zero[row] += (value - state.zero[row]) / state.zeros[row]


def note_pressure(state: State, frames: Frames, which: slice) -> None:
    """Remember that the filter bore pressure in these frames, if it did; changes `state`."""
    swing = frames.high[_FILTER, which] - frames.low[_FILTER, which]
    state.pressed |= bool((swing > PRESSED_KPA).any())


def judge_ambient(state: State, frames: Frames, k: int, context: Context) -> None:
    """Ambient pressure that jumps as no weather does, or that the site's height cannot have, has drifted."""
    mean, at_ms = known(frames.mean[_AMBIENT, k], None), int(frames.at_ms[k])
    if mean is None:
        return
    hours = max(at_ms - state.ambient_ms, 0) / 3_600_000
    is_suspect = state.suspects.get("ambient_kpa") == DRIFT
    allowed = AMBIENT_STEP_KPA + AMBIENT_STEP_KPA_H * hours
    if state.ambient_kpa is not None and abs(mean - state.ambient_kpa) > allowed:
        if state.before_kpa is None:
            state.before_kpa = state.ambient_kpa
        elif abs(mean - state.before_kpa) <= allowed:
            state.before_kpa = None
    state.ambient_kpa, state.ambient_ms = mean, at_ms
    is_drifted = state.before_kpa is not None or is_elsewhere(mean, context, 0.0)
    if is_drifted and not is_suspect:
        state.suspects.setdefault("ambient_kpa", DRIFT)
    elif is_suspect and not is_drifted:
        del state.suspects["ambient_kpa"]


def judge_cold(state: State, frames: Frames, k: int) -> None:
    """After a night pump and room are equally warm; if they are not, the one that has moved further has drifted."""
    at_ms, before = int(frames.at_ms[k]), state.last_ms
    state.last_ms = at_ms
    if at_ms - before > NIGHT_MS:
        state.dawn_ms, state.apart = at_ms if before else 0, 0
    pump, room = float(frames.mean[_PUMP_TEMP, k]), float(frames.mean[_ROOM_TEMP, k])
    is_stuck = any(
        state.suspects.get(name, DRIFT) != DRIFT or _is_dead(state, frames, k, name) for name in _TEMPERATURES
    )
    if at_ms - state.dawn_ms > DAWN_MS or is_stuck or math.isnan(pump) or math.isnan(room):
        return
    drifted = [name for name in _TEMPERATURES if state.suspects.get(name) == DRIFT]
    if abs(pump - room) <= COLD_K:
        state.apart, state.cold = 0, [pump, room]
        for name in drifted:
            del state.suspects[name]
        return
    state.apart += 1
    if state.apart == COLD_FRAMES and not drifted:
        usual = state.cold or [ROOM_C, ROOM_C]
        name = _TEMPERATURES[abs(room - usual[1]) > abs(pump - usual[0])]
        state.suspects.setdefault(name, DRIFT)


def judge_mains(state: State, load: mains.Load, k: int) -> None:
    """A voltage that has moved while the motor's current has not: its sensor has drifted."""
    others = ("motor_current_a", "vacuum_inlet_kpa")
    fault = state.suspects.get("mains_v", DRIFT)
    if fault != DRIFT or any(name in state.suspects for name in others):
        return
    volts, amps, share = (float(column[k]) for column in load)
    if mains.judge(state.mains, volts, amps, share, is_suspect="mains_v" in state.suspects):
        state.suspects["mains_v"] = DRIFT
    else:
        state.suspects.pop("mains_v", None)


def _is_dead(state: State, frames: Frames, k: int, name: str) -> bool:
    """Whether a channel that always shows noise does not in this frame; it may be on its way to be told as stuck."""
    row = ROW[name]
    has_noise = state.learned[row] >= ALIVE_FRAMES and state.quietest[row] > 0
    return has_noise and bool(frames.deviation[row, k] == 0) and bool(frames.count[row, k] >= MIN_COUNT)


def is_elsewhere(ambient: float, context: Context, margin: float) -> bool:
    """Whether the pressure is not that of the site's height; a height of exactly 0 counts as not known."""
    if context.altitude_m == 0:
        return False
    expected = STANDARD_PRESSURE_PA / 1000 * (1 - 2.25577e-5 * context.altitude_m) ** 5.25588
    return abs(ambient - float(expected)) > WEATHER_KPA - margin


def known(value: float, otherwise: float | None) -> float | None:
    return otherwise if math.isnan(value) else float(value)
