"""What a fault family states about a fault: how it changes a machine, at which levels, and how bad each level is."""

from collections.abc import Callable
from dataclasses import dataclass

from dermafleet.physics.gas import Real
from dermafleet.physics.machine import Machine

Channels = frozenset[str]


def _nominal(level: Real) -> Real:
    return level * 0.0 + 1.0


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One slow fault as a machine with other parameters.

    Attributes:
        fault: code.
        unit: of its levels, for people.
        levels: those compared, from mild to severe.
        medium: the level at which it must be seen to count as observable.
        change: the machine with the fault at a level; level may be an array.
        severity: of a level; 0 = too mild to tell anybody.
        needs: channels of which each set suffices to see it; empty = decided by what the physics shows.
        architectures: air paths that can have it.
        prior: odds against a machine without a fault, before anything was measured.
        mains: share of the nominal voltage at a level.
        bleed: factor of the regulator's opening as set.
        feed: crystals drawn per feed air, relative to a healthy machine.
        replaces_filter: the fault decides the intake filter's resistance, whatever its load was.
    """

    fault: str
    unit: str
    levels: tuple[float, ...]
    medium: float
    change: Callable[[Machine, Real], Machine]
    severity: Callable[[float], int]
    needs: tuple[Channels, ...] = ()
    architectures: tuple[str, ...] = ("crystal", "diamond", "hydra")
    prior: float = 1e-2
    mains: Callable[[Real], Real] = _nominal
    bleed: Callable[[Real], Real] = _nominal
    feed: float = 1.0
    replaces_filter: bool = False


def rising(*steps: tuple[float, int]) -> Callable[[float], int]:
    """Severity of a level that is the worse the larger it is: (from this level on, severity), ascending."""

    def severity(level: float) -> int:
        return max((each for start, each in steps if level >= start), default=0)

    return severity


def falling(*steps: tuple[float, int]) -> Callable[[float], int]:
    """Severity of a level that is the worse the smaller it is: (from this level down, severity)."""

    def severity(level: float) -> int:
        return max((each for start, each in steps if level <= start), default=0)

    return severity
