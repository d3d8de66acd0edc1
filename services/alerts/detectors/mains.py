"""Whether a mains voltage that has moved really has: the motor's current knows.

More volts magnetise the motor more, on the pump's curve by a share that its physics tells. A voltage that differs by
5 % from what is usual here, while the current is as before, is a matter of its sensor. Slow drift is learned along.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np

from dermafleet.physics import steady
from dermafleet.physics.machine import M1
from services.alerts.detectors.frames import ROW, Frames
from services.alerts.observation import Floats

MOVED = 0.045
"""Log of the voltage over the usual one: more than the sensor's 1 % and a day's ups and downs."""
FAR = 0.075
"""Beyond it the mains is low or the sensor at its rail; and the current no longer follows in proportion."""
BACK = 0.03
LEARNED_FRAMES = 60
MAX_FRAMES = 360
FRAME_SPREAD = 0.009
"""Log of the current over that of the pump's curve scatters so much from frame to frame of strokes."""
ENOUGH = (FRAME_SPREAD / 0.1) ** 2
"""Sum of squares that settles the share to 0.1."""
CLEAR_SHARE = 0.2
"""Where the motor works hard the current hardly follows, and not in the same way on every machine."""
FOLLOWS, STANDS = 0.6, 0.25
"""Share of the expected change that the current has made: the mains moved, or its sensor did."""

_MAINS, _CURRENT, _INLET = (ROW[name] for name in ("mains_v", "motor_current_a", "vacuum_inlet_kpa"))


class State(msgspec.Struct):
    """What is remembered between entries.

    Attributes:
        usual_v: log of the usual voltage; usual_a: log of the usual current over the type's at that voltage.
        frames: of how many frames of pumping they are means.
        follows, weight: current's change times the expected one, and the expected one squared, summed up.
    """

    usual_v: float = 0.0
    usual_a: float = 0.0
    frames: int = 0
    follows: float = 0.0
    weight: float = 0.0


class Load(NamedTuple):
    """Frames of pumping, each shape (k,); NaN = not to be judged.

    Attributes:
        volts: log of the mains voltage.
        amps: log of the current over that of the type at this inlet vacuum.
        share: how much the type's changes per `volts`.
    """

    volts: Floats
    amps: Floats
    share: Floats


def load(frames: Frames) -> Load:
    """What the motor took in each frame, and at which voltage."""
    vacuum, log_a, slope = _curve()
    inlet = frames.mean[_INLET]
    with np.errstate(invalid="ignore", divide="ignore"):
        volts, amps = np.log(frames.mean[_MAINS]), np.log(frames.mean[_CURRENT])
    is_judged = frames.is_pumping & np.isfinite(volts) & np.isfinite(amps) & np.isfinite(inlet)
    return Load(
        np.where(is_judged, volts, np.nan),
        amps - np.interp(inlet, vacuum, log_a),
        np.interp(inlet, vacuum, slope),
    )


def is_usual(state: State, found: Load) -> bool:
    """Whether none of the frames is anything but more of what is usual."""
    return state.weight == 0 and not bool((np.abs(found.volts - state.usual_v) >= BACK).any())


def judge(state: State, volts: float, amps: float, share: float, *, is_suspect: bool) -> bool:
    """Take in one frame of `Load`; returns whether the voltage's sensor is suspect after it."""
    if math.isnan(volts):
        return is_suspect
    moved = volts - state.usual_v
    if state.frames < LEARNED_FRAMES or abs(moved) < BACK:
        _learn(state, volts, amps, share)
        state.follows = state.weight = 0.0
        return False
    if not MOVED <= abs(moved) <= FAR or share < CLEAR_SHARE:
        return is_suspect
    expected = share * moved
    state.follows += (amps - state.usual_a) * expected
    state.weight += expected * expected
    if state.weight < ENOUGH:
        return is_suspect
    follows = state.follows / state.weight
    state.follows, state.weight = state.follows / 2, state.weight / 2
    if follows <= FOLLOWS:
        return is_suspect or follows < STANDS
    state.usual_v, state.frames, state.follows, state.weight = volts, 1, 0.0, 0.0
    return False


def _learn(state: State, volts: float, amps: float, share: float) -> None:
    state.frames = min(state.frames + 1, MAX_FRAMES)
    gain = 1 / state.frames
    state.usual_v += gain * (volts - state.usual_v)
    state.usual_a += gain * (amps - share * (volts - state.usual_v) - state.usual_a)


@lru_cache(maxsize=1)
def _curve() -> tuple[Floats, Floats, Floats]:
    """Inlet vacuum (kPa, rising), log of the type's current (A), and the change of that per log of the voltage."""
    opening = np.geomspace(1e-8, 5e-4, 40)
    nominal = M1.mains_nominal_v
    points = [steady.solve(M1.with_(bleed_m2=opening), "capped", mains_v=nominal * each) for each in (0.95, 1.0, 1.05)]
    low, log_a, high = (np.log(point.motor_current_a) for point in points)
    order = np.argsort(points[1].vacuum_inlet_kpa)
    slope = (high - low) / math.log(1.05 / 0.95)
    return points[1].vacuum_inlet_kpa[order], log_a[order], slope[order]
