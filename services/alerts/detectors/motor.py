"""Motor overheated: warmer than its load explains, or stopped by its thermal cut-out.

The *expected* rise over the room follows from the load: inlet vacuum determines flow and power on the pump's curve,
those the heat and how well the air that it moves cools it (docs/physics.md). Machines differ, so the measured rise is
compared with what is usual for this one. A sensor that is off by some degrees looks alike within a day; only after a
night, when all is cold, it does not: until then the alarm is a "check" with both candidates.
"""

import math
from collections.abc import Mapping
from functools import lru_cache

import msgspec
import numpy as np

from dermafleet.physics import motor, steady
from dermafleet.physics.machine import M1
from services.alerts.detectors.frames import ROW, Frames
from services.alerts.limits import MAIN
from services.alerts.observation import Block, Floats, Observation, Origin, Value, utc

FAULT = "motor_overheated"
FAULTS = (FAULT,)
VERSION = 1
NEEDS: Mapping[str, tuple[frozenset[str], ...]] = {
    FAULT: (frozenset({"pump_temp_c", "ambient_temp_c", "vacuum_inlet_kpa", "pump_on"}),),
}
"""Without the pump's temperature only the cut-out's trips are seen: told when they come, but no sight of the fault."""

CHECK, FAULTY, STOP = 2, 3, 4
AMBIGUOUS: Mapping[str, float] = {FAULT: 0.6, "sensor_drift": 0.4}
RAISE_RATIO = 1.2
"""Of the measured ratio to the usual one: it repeats within 0.03 from session to session of one machine."""
UNKNOWN_RATIO = 1.6
"""Until the machine is known: makers' spread comes on top."""
CLEAR_RATIO = 1.1
MIN_RISE_K = 12.0
"""Below it the ratio is noise."""
HOT_C = 100.0
"""No healthy pump comes near its cut-out."""
HOT_FRAMES = 6
COOL_FRAMES = 30
NIGHT_MS = 3 * 3_600_000
COLD_K = 5.0
LEARNED_SESSIONS = 2
MAX_SESSIONS = 20
USUAL = (0.6, 1.5)

TRIPPED_A = 0.05
TRIPPED_FRAMES = 2
LIVE_V = 70.0
TRIPS = 2
TRIPS_WITHIN_MS = 12 * 3_600_000
RUN_FRAMES = 3

_TEMP, _ROOM, _INLET = ROW["pump_temp_c"], ROW["ambient_temp_c"], ROW["vacuum_inlet_kpa"]
_CURRENT, _MAINS = ROW["motor_current_a"], ROW["mains_v"]
_TAU_MS = M1.thermal_j_per_k * 1000.0


class State(msgspec.Struct):
    """What is remembered between entries.

    Attributes:
        severity, is_check: as told last; a check names two candidates.
        at_ms: event time of the last frame.
        expected_k: rise that the load of the last hours explains; None = nothing is known yet.
        peak: highest ratio of measured to expected rise since the last pause; 0 = none.
        usual, sessions: mean of such peaks, and of how many.
        hot, cool: consecutive frames above or well below the limit.
        is_cold_right: the sensors agreed after the last night, and nothing was as usual since.
        stopped: consecutive frames in which the motor stood though it was told to run; ran: in which it ran before.
        trips: event times of the last trips.
    """

    version: int = VERSION
    severity: int = 0
    is_check: bool = False
    at_ms: int = 0
    expected_k: float | None = None
    peak: float = 0.0
    usual: float = 1.0
    sessions: int = 0
    hot: int = 0
    cool: int = 0
    is_cold_right: bool = False
    stopped: int = 0
    ran: int = 0
    trips: list[int] = []


def watch(state: State, frames: Frames | None, block: Block, *, component: str = MAIN) -> list[Observation]:
    """Judge the frames that a block completed; changes `state`, returns the opinions that changed, oldest first."""
    if frames is None:
        return []
    changes = []
    expected, resistance = _load(frames)
    pumping = frames.is_pumping.tolist()
    columns = zip(*(frames.mean[row].tolist() for row in (_TEMP, _ROOM, _CURRENT, _MAINS, _INLET)), strict=True)
    for k, (temp, room, current, mains, inlet) in enumerate(columns):
        before = (state.severity, state.is_check)
        at_ms = int(frames.at_ms[k])
        is_stopped = pumping[k] and current < TRIPPED_A and mains > LIVE_V and not inlet > 1.0
        _note_trip(state, at_ms, is_stopped=is_stopped, is_running=pumping[k] and current >= TRIPPED_A)
        if state.is_check and (math.isnan(temp) or math.isnan(room)):
            state.severity, state.is_check = 0, False  # a doubtful alarm does not outlive the sensor it rested on
        if not math.isnan(temp):
            load = (expected[k], resistance[k]) if pumping[k] and not is_stopped else _REST
            _note_heat(state, at_ms, temp, room, load)
        if (state.severity, state.is_check) != before:
            changes.append(_observation(state, block, int(frames.closed_by[k]), (temp, room), component))
    return changes


def reset(state: State, record_type: str) -> None:
    """Learn anew what is usual after service that changes it; what was told stands until frames say otherwise."""
    if record_type in {"COOLING_SERVICED", "PUMP_KIT_REPLACED", "PUMP_REPLACED", "SENSOR_REPLACED", "SITE_CHANGED"}:
        state.usual, state.sessions, state.peak, state.trips = 1.0, 0, 0.0, []
        state.expected_k = None


@lru_cache(maxsize=1)
def _curve() -> tuple[Floats, Floats, Floats]:
    """Inlet vacuum (kPa, rising), plateau rise (K) and thermal resistance (K/W) of the type at each.

    The regulator is opened step by step with the tip capped: that walks along the pump's curve.
    """
    opening = np.geomspace(1e-8, 5e-4, 40)
    point = steady.solve(M1.with_(bleed_m2=opening), "capped")
    order = np.argsort(point.vacuum_inlet_kpa)
    resistance = motor.thermal_resistance(M1.thermal_k_per_w, point.pump_flow_lpm, 1.0)
    return point.vacuum_inlet_kpa[order], point.pump_rise_k[order], np.asarray(resistance)[order]


def _load(frames: Frames) -> tuple[list[float], list[float]]:
    """Plateau rise (K) and thermal resistance (K/W) of each frame's load."""
    vacuum, rise, resistance = _curve()
    inlet = np.nan_to_num(frames.mean[_INLET], nan=20.0)
    return np.interp(inlet, vacuum, rise).tolist(), np.interp(inlet, vacuum, resistance).tolist()


_REST = (0.0, float(motor.thermal_resistance(M1.thermal_k_per_w, 0.0, 1.0)))


def _note_heat(state: State, at_ms: int, temp: float, room: float, load: tuple[float, float]) -> None:
    """Move the expected rise on by a frame, and compare."""
    pause = max(at_ms - state.at_ms, 0)
    state.at_ms = at_ms
    rise = temp - (room if not math.isnan(room) else 24.0)
    if state.expected_k is None or pause > NIGHT_MS:
        _begin_day(state, rise, is_known=state.expected_k is not None and not math.isnan(room))
    elif pause > 60_000:
        state.expected_k = _follow(state.expected_k, pause, _REST)
        _end_session(state)
    else:
        state.expected_k = _follow(state.expected_k, pause, load)
    if math.isnan(room) and temp < HOT_C:
        return
    ratio = rise / max(state.expected_k or 0.0, MIN_RISE_K)
    if (state.expected_k or 0.0) >= MIN_RISE_K:
        state.peak = max(state.peak, ratio)
    limit = RAISE_RATIO * state.usual if state.sessions >= LEARNED_SESSIONS else UNKNOWN_RATIO
    is_warm = (state.expected_k or 0.0) >= MIN_RISE_K
    is_hot = (ratio > limit and is_warm) or temp >= HOT_C
    state.hot = state.hot + 1 if is_hot else 0
    if is_warm:  # before that neither says anything
        state.cool = state.cool + 1 if ratio < CLEAR_RATIO * state.usual and temp < HOT_C else 0
    _judge(state, is_certain=temp >= HOT_C or state.is_cold_right)


def _judge(state: State, *, is_certain: bool) -> None:
    if state.hot >= HOT_FRAMES:
        if not state.severity or (state.is_check and is_certain):
            state.severity, state.is_check = (FAULTY, False) if is_certain else (CHECK, True)
    elif state.severity and state.cool >= COOL_FRAMES and not state.trips:
        state.severity, state.is_check = 0, False


def _follow(rise: float, pause: int, load: tuple[float, float]) -> float:
    plateau, resistance = load
    return plateau + (rise - plateau) * math.exp(-pause / (_TAU_MS * resistance))


def _begin_day(state: State, rise: float, *, is_known: bool) -> None:
    """After a night pump and room are equally warm; if the sensors do not say so, one of them is wrong."""
    _end_session(state)
    state.is_cold_right = is_known and abs(rise) < COLD_K
    state.expected_k = 0.0 if is_known else max(rise, 0.0)


def _end_session(state: State) -> None:
    """Learn the machine's usual ratio from a session that was not suspicious."""
    is_suspicious = (
        state.severity or state.hot or state.peak > (RAISE_RATIO * state.usual if state.sessions else UNKNOWN_RATIO)
    )
    if state.peak and not is_suspicious:
        state.is_cold_right = False  # a sensor may have moved since the morning
    if state.peak and not is_suspicious and state.sessions < MAX_SESSIONS:
        state.sessions += 1
        state.usual += (min(max(state.peak, USUAL[0]), USUAL[1]) - state.usual) / state.sessions
    state.peak = 0.0


def _note_trip(state: State, at_ms: int, *, is_stopped: bool, is_running: bool) -> None:
    """The motor stands though it is told to run and has mains: the cut-out; twice in half a day, it is repeated."""
    state.stopped = state.stopped + 1 if is_stopped else 0
    if is_running:
        state.ran += 1
        state.trips = [each for each in state.trips if each > at_ms - TRIPS_WITHIN_MS]
    if state.stopped == TRIPPED_FRAMES and state.ran >= RUN_FRAMES:
        state.ran = 0
        state.trips = [*(each for each in state.trips if each > at_ms - TRIPS_WITHIN_MS), at_ms][-TRIPS:]
        state.severity, state.is_check = (STOP if len(state.trips) >= TRIPS else FAULTY), False


def _observation(state: State, block: Block, i: int, temperatures: tuple[float, float], component: str) -> Observation:
    temp, room = temperatures
    detail: dict[str, Value] = {
        "pump_temp_c": None if math.isnan(temp) else round(temp, 1),
        "ambient_temp_c": None if math.isnan(room) else round(room, 1),
        "expected_rise_k": None if state.expected_k is None else round(state.expected_k, 1),
        "usual_ratio": round(state.usual, 2),
        "trips": len(state.trips),
    }
    if not state.severity:
        reason = "as warm as its load explains"
    elif state.trips:
        reason = "the motor stood though it was told to run and had mains: its thermal cut-out"
    else:
        reason = f"{temp - room:.0f} K above the room, where its load explains {state.expected_k:.0f} K"
    return Observation(
        component=component,
        fault=FAULT,
        severity=state.severity or None,
        at=utc(int(block.at_ms[i])),
        origin=Origin(block.epoch, block.seq, i),
        confidence=AMBIGUOUS[FAULT] if state.is_check else 0.9,
        detector=FAULT,
        detector_version=VERSION,
        reason=reason,
        detail=detail,
        candidates=AMBIGUOUS if state.is_check else {},
    )
