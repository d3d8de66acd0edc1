"""Faults of the air path: blocked hoses and feed, leaks, regulator, exhaust filter.

They move the operating point along the pump's curve. Where in the path one sits shows in pressure drop, flow and
handpiece vacuum; a leak before the intake filter and a poor seal on skin let the same air in, and only a capped tip
tells them apart. Severities: domain terms of docs/diagnosis.md.
"""

from dermafleet.physics.gas import Real, hole_m2
from dermafleet.physics.machine import Machine
from services.alerts.diagnosis.hypothesis import Hypothesis, falling, rising

_LEAKS_MM = (0.2, 0.27, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
_LEAK_SEVERITY = rising((0.25, 1), (0.3, 2), (0.7, 3))


def _exhaust(machine: Machine, level: Real) -> Machine:
    return machine.with_(exhaust_load=machine.exhaust_load + level - 1)


def _return(machine: Machine, level: Real) -> Machine:
    return machine.with_(return_area=machine.return_area * level)


def _feed(machine: Machine, level: Real) -> Machine:
    return machine.with_(feed_area=machine.feed_area * level)


def _leak_dirty(machine: Machine, level: Real) -> Machine:
    return machine.with_(leak_dirty_m2=machine.leak_dirty_m2 + hole_m2(level))


def _leak_clean(machine: Machine, level: Real) -> Machine:
    return machine.with_(leak_clean_m2=machine.leak_clean_m2 + hole_m2(level))


def _same(machine: Machine, level: Real) -> Machine:
    return machine.with_(seal=machine.seal + 0.0 * level)


def _factor(level: Real) -> Real:
    return level


HYPOTHESES = (
    Hypothesis("exhaust_clogged", "x clean resistance", (5, 10, 17, 25, 40, 60), 25, _exhaust, rising((8, 2))),
    Hypothesis(
        "return_path_blocked",
        "x free area",
        (0.45, 0.35, 0.27, 0.2, 0.15, 0.1),
        0.2,
        _return,
        falling((0.5, 2), (0.4, 3)),
    ),
    Hypothesis(
        "feed_blocked",
        "x free area",
        (0.87, 0.75, 0.6, 0.43, 0.3, 0.2, 0.1, 0.02),
        0.43,
        _feed,
        falling((0.8, 2), (0.65, 3)),
        architectures=("crystal", "hydra"),
    ),
    Hypothesis("leak_dirty_side", "mm", _LEAKS_MM, 1.0, _leak_dirty, _LEAK_SEVERITY, prior=2e-2),
    Hypothesis("leak_clean_side", "mm", _LEAKS_MM, 1.0, _leak_clean, _LEAK_SEVERITY),
    Hypothesis(
        "regulator_shut",
        "x opening",
        (0.75, 0.5, 0.25, 0.1, 0.0),
        0.1,
        _same,
        falling((0.6, 2), (0.3, 3)),
        bleed=_factor,
    ),
    Hypothesis(
        "regulator_open", "x opening", (1.6, 2.2, 3.0, 4.5), 3.0, _same, rising((2.0, 2), (6.0, 3)), bleed=_factor
    ),
)
