"""What is remembered of the sensors of one component between entries, and what can be wrong with one."""

import msgspec

from services.alerts.detectors.frames import NAMES
from services.alerts.detectors.mains import State as MainsState

DRIFT, STUCK, RAIL = "sensor_drift", "sensor_stuck", "sensor_rail"
VERSION = 1

_C = len(NAMES)


def _numbers() -> list[float]:
    return [0.0] * _C


def _counts() -> list[int]:
    return [0] * _C


class State(msgspec.Struct):
    """What is remembered between entries; lists are per channel, in registry order.

    Attributes:
        boot: of the last frame.
        seen: frames with a value, at most 1000.
        quietest, learned: smallest deviation while pumping, and of how many frames.
        still, moving: consecutive pumping frames that were still or not; calm: quietest of the still ones.
        witnessed: whether other channels contradicted the still one.
        missing, missing_samples: consecutive frames without values, and the samples in them.
        together, absent: consecutive frames in which several were missing at once, and which are so now.
        wrong, good: consecutive frames with impossible values, or well again.
        zero, zeros: mean with the pump off, and of how many rests.
        off, settled: consecutive rests away from zero, or at it; away: what the last of them read.
        last_ms, dawn_ms: event times of the last frame, and of the first one after the last night.
        apart, cold: frames of that morning in which pump and room differ; their temperatures on the last good morning.
        ambient_kpa, ambient_ms: last frame's mean and its event time; before_kpa: ambient before a jump.
        mains: what voltage and current are usual.
        suspects: channel → fault.
        pressed: the filter bore pressure since its gauge was last at zero with the pump off.
        blanks: channel, since and until which event time it is not trusted; until 0 = still.
        doubted: channel → event time at which it last became suspect.
        told: fault → severity and channels of what was told last.
    """

    version: int = VERSION
    boot: str = ""
    seen: list[int] = msgspec.field(default_factory=_counts)
    quietest: list[float] = msgspec.field(default_factory=_numbers)
    learned: list[int] = msgspec.field(default_factory=_counts)
    still: list[int] = msgspec.field(default_factory=_counts)
    calm: list[float] = msgspec.field(default_factory=_numbers)
    moving: list[int] = msgspec.field(default_factory=_counts)
    witnessed: list[bool] = msgspec.field(default_factory=lambda: [False] * _C)
    missing: list[int] = msgspec.field(default_factory=_counts)
    missing_samples: list[int] = msgspec.field(default_factory=_counts)
    together: int = 0
    absent: list[str] = []
    wrong: list[int] = msgspec.field(default_factory=_counts)
    good: list[int] = msgspec.field(default_factory=_counts)
    zero: list[float] = msgspec.field(default_factory=_numbers)
    zeros: list[int] = msgspec.field(default_factory=_counts)
    off: list[int] = msgspec.field(default_factory=_counts)
    settled: list[int] = msgspec.field(default_factory=_counts)
    away: list[float] = msgspec.field(default_factory=_numbers)
    last_ms: int = 0
    dawn_ms: int = 0
    apart: int = 0
    cold: list[float] = []
    ambient_kpa: float | None = None
    ambient_ms: int = 0
    before_kpa: float | None = None
    mains: MainsState = msgspec.field(default_factory=MainsState)
    pressed: bool = False
    suspects: dict[str, str] = {}
    blanks: list[tuple[str, int, int]] = []
    doubted: dict[str, int] = {}
    told: dict[str, tuple[int, list[str]]] = {}


def forget(state: State) -> None:
    """Learn zeros, noise and ambient pressure anew; a suspect is one until frames say otherwise."""
    state.zero, state.zeros = _numbers(), _counts()
    state.quietest, state.learned = _numbers(), _counts()
    state.ambient_kpa = state.before_kpa = None
    state.mains = MainsState()
