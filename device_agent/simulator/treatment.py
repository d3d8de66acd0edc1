"""What operators do with a handpiece, as a script at 10 Hz: strokes and lifts, pauses, set points, self-tests."""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

RATE_HZ = 10
AFTER_S = 10.0
"""Samples go on at full rate this long after the pump has stopped."""

SELF_TEST_SETPOINT_KPA = 40.0
SELF_TEST_OFF_S, SELF_TEST_OPEN_S, SELF_TEST_CAPPED_S, SELF_TEST_LEAK_S = 10.0, 5.0, 25.0, 5.0
SELF_TEST_LIMIT_KPA = 80.0
"""The self-test stops the pump here, to spare the canister."""

_FULL_LENGTH_S = 600.0
"""Sessions shorter than this have shorter warm-ups and pauses, so that strokes still fill them."""

_BEST_SEAL = 0.012
"""How much better than usual a tip can seal: its rim is never perfect."""


@dataclass(frozen=True, slots=True)
class Operator:
    """The habits of one person at one machine; no identity, only numbers.

    Attributes:
        contact_s, lift_s: means of a stroke and of the lift after it.
        seal, seal_spread, seal_best: share of the tip closed on skin: mean, standard deviation over strokes, most.
        sloppy: share of strokes with a poor seal.
        dwell: share of strokes that rest on one spot for more than 4 s.
        setpoint_kpa, setpoint_spread: usual vacuum and how far it is changed within a treatment.
        pause_s: mean pause between areas.
        tip: index of the usual tip.
    """

    contact_s: float
    lift_s: float
    seal: float
    seal_spread: float
    seal_best: float
    sloppy: float
    dwell: float
    setpoint_kpa: float
    setpoint_spread: float
    pause_s: float
    tip: int


@dataclass(frozen=True, slots=True)
class Script:
    """What is done to one circuit during one activity; all arrays (n,), at 10 Hz.

    Attributes:
        pump_on: the pump is switched on.
        seal: 0 = tip open, up to 1 = capped.
        pinched: the feed is closed by hand.
        setpoint_kpa: where the operator has set the regulator.
    """

    pump_on: NDArray[np.bool_]
    seal: NDArray[np.float64]
    pinched: NDArray[np.bool_]
    setpoint_kpa: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.seal)

    def part(self, begin: int, end: int) -> "Script":
        """The samples from one to before another."""
        return Script(
            self.pump_on[begin:end], self.seal[begin:end], self.pinched[begin:end], self.setpoint_kpa[begin:end]
        )

    @property
    def contact(self) -> NDArray[np.bool_]:
        return (self.seal > 0) & self.pump_on


@dataclass(frozen=True, slots=True)
class Strokes:
    """What a treatment came to, as a session record counts it."""

    pump_s: float
    contact_s: float
    strokes: int
    longest_dwell_s: float


def draw_operator(random: Generator, *, seal: float = 0.98, poor: bool = False) -> Operator:
    """One person's habits.

    Args:
        seal: mean of all operators on this kind of skin contact (a diamond tip lets air in: 0.93).
        poor: someone who seals badly (nuisance N1).
    """
    uniform = random.uniform
    return Operator(
        contact_s=uniform(2.0, 4.0),
        lift_s=uniform(0.5, 1.2),
        seal=seal - (uniform(0.08, 0.16) if poor else uniform(-0.006, 0.010)),
        seal_spread=0.03 if poor else uniform(0.006, 0.015),
        seal_best=seal + _BEST_SEAL,
        sloppy=uniform(0.4, 0.7) if poor else uniform(0.0, 0.12),
        dwell=uniform(0.0, 0.04),
        setpoint_kpa=uniform(28, 42),
        setpoint_spread=uniform(2, 7),
        pause_s=uniform(15, 45),
        tip=int(random.integers(0, 3)) if uniform(0, 1) < 0.3 else 0,
    )


def treatment(operator: Operator, pump_s: float, random: Generator, *, changes: tuple[int, int] = (2, 5)) -> Script:
    """One treatment with the pump on for ``pump_s``, and the seconds after it.

    Args:
        changes: how often the set point is changed, at least and at most; each change begins an area.
    """
    total = round(pump_s * RATE_HZ)
    scale = min(max(pump_s / _FULL_LENGTH_S, 0.2), 1.0)
    seal = np.zeros(total)
    setpoint = np.empty(total)
    areas = int(random.integers(changes[0], changes[1] + 1)) + 1
    borders = _borders(total, round(random.uniform(20, 60) * scale * RATE_HZ), areas, random)
    for begin, end in itertools.pairwise(borders):
        chosen = operator.setpoint_kpa + operator.setpoint_spread * random.standard_normal()
        setpoint[begin:end] = np.clip(np.round(chosen), 15, 45)
        pause = round(random.exponential(operator.pause_s) * scale * RATE_HZ)
        _stroke(seal[begin : max(end - min(pause, (end - begin) // 3), begin)], operator, random)
    setpoint[: borders[0]] = setpoint[borders[0]]
    return _with_tail(seal, setpoint)


def _borders(total: int, warm_up: int, areas: int, random: Generator) -> list[int]:
    """Where the areas begin, and the end."""
    shares = random.uniform(0.6, 1.4, areas)
    cuts = np.cumsum(shares / shares.sum())[:-1]
    return [warm_up, *(warm_up + cuts * (total - warm_up)).astype(int).tolist(), total]


def _stroke(seal: NDArray[np.float64], operator: Operator, random: Generator) -> None:
    """Fill a stretch with strokes and lifts, in place."""
    count = len(seal) // (RATE_HZ * 2) + 2
    contact = np.clip(random.gamma(12, operator.contact_s / 12, count), 1.5, 5.0)
    dwells = random.uniform(0, 1, count) < operator.dwell
    contact[dwells] = random.uniform(4.2, 8.0, int(dwells.sum()))
    lift = np.clip(random.gamma(6, operator.lift_s / 6, count), 0.3, 1.5)
    quality = operator.seal + operator.seal_spread * random.standard_normal(count)
    sloppy = random.uniform(0, 1, count) < operator.sloppy
    quality[sloppy] -= random.uniform(0.02, 0.10, int(sloppy.sum()))
    lengths = np.rint(np.column_stack((contact, lift)) * RATE_HZ).astype(int).ravel()
    values = np.column_stack((np.clip(quality, 0.5, operator.seal_best), np.zeros(count))).ravel()
    strokes = np.repeat(values, lengths)[: len(seal)]
    seal[: len(strokes)] = strokes


def _with_tail(seal: NDArray[np.float64], setpoint: NDArray[np.float64]) -> Script:
    """The script of a treatment: the pump is on throughout and off for the last seconds."""
    tail = round(AFTER_S * RATE_HZ)
    total = len(seal) + tail
    pump_on = np.ones(total, dtype=bool)
    pump_on[len(seal) :] = False
    return Script(
        pump_on=pump_on,
        seal=np.concatenate((seal, np.zeros(tail))),
        pinched=np.zeros(total, dtype=bool),
        setpoint_kpa=np.concatenate((setpoint, np.full(tail, setpoint[-1]))),
    )


def self_test() -> Script:
    """Pump off, open tip, capped tip with the feed pinched; who runs it stops the pump early (domain: daily test).

    The script is as long as the longest possible test; the pump stops when the limit or the plateau is reached, and
    the tip stays capped for the leak-down after it.
    """
    parts = (SELF_TEST_OFF_S, SELF_TEST_OPEN_S, SELF_TEST_CAPPED_S)
    off, opened, capped = (round(seconds * RATE_HZ) for seconds in parts)
    total = off + opened + capped
    at = np.arange(total)
    return Script(
        pump_on=at >= off,
        seal=np.where(at >= off + opened, 1.0, 0.0),
        pinched=at >= off + opened,
        setpoint_kpa=np.full(total, SELF_TEST_SETPOINT_KPA),
    )


def contact_s(script: Script) -> float:
    """Seconds in contact, at least one."""
    return max(float(script.contact.sum()) / RATE_HZ, 1.0)


def count_strokes(script: Script, *, since: int = 0, upto: int | None = None) -> Strokes:
    """Totals of the samples from one on, up to another."""
    contact = script.contact[since:upto]
    edges = np.flatnonzero(np.diff(np.concatenate(([0], contact.view(np.int8), [0]))))
    lengths = edges[1::2] - edges[::2]
    return Strokes(
        pump_s=float(script.pump_on[since:upto].sum()) / RATE_HZ,
        contact_s=float(contact.sum()) / RATE_HZ,
        strokes=len(lengths),
        longest_dwell_s=float(lengths.max(initial=0)) / RATE_HZ,
    )
