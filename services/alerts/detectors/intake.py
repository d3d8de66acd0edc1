"""The intake filter as one of several explanations: clogged, missing or torn, wetted.

How bad a clogged filter is and how long it lasts is the forecast's business; here it only has to be told from a hose.
"""

from dermafleet.physics.gas import Real
from dermafleet.physics.machine import Machine
from services.alerts.diagnosis.hypothesis import Hypothesis, rising

CLOGGED = "filter_clogged"
USUAL_INDEX = 4.0
"""Filters are changed there: above, a filter is a fault, below, one of the usual loads of a healthy machine."""

WETTED = "liquid_blocked"
BY_DROP = frozenset({CLOGGED, WETTED})
"""Judged by the filter's own pressure drop, where that is measured, beside whatever else is wrong."""


def _missing(machine: Machine, level: Real) -> Machine:
    return machine.with_(filter_missing=level, filter_load=0.0 * machine.filter_load)


def _wetted(machine: Machine, level: Real) -> Machine:
    return machine.with_(filter_load=level - 1 + 0.0 * machine.filter_load)


def _clogged(machine: Machine, level: Real) -> Machine:
    return machine.with_(filter_load=level - 1 + 0.0 * machine.filter_load)


HYPOTHESES = (
    Hypothesis(
        CLOGGED,
        "filter index",
        (4.5, 6.5, 9, 13, 20, 30, 45),
        13,
        _clogged,
        rising((5, 1), (10, 2), (20, 3)),
        prior=2e-2,
        replaces_filter=True,
    ),
    Hypothesis(
        "filter_missing",
        "share of the filter gone",
        (0.6, 0.8, 0.9, 1.0),
        0.9,
        _missing,
        rising((0.55, 3)),
        needs=(frozenset({"filter_dp_kpa"}),),
        replaces_filter=True,
    ),
    Hypothesis(
        WETTED,
        "filter index",
        (16, 20, 25, 31, 38, 47, 60, 80, 100),
        31,
        _wetted,
        rising((15, 3)),
        architectures=("hydra",),
        replaces_filter=True,
    ),
)
