"""Faults of pump and supply: lost displacement, leaking valves, low mains. They move the machine off the pump's curve.

Wear costs open flow and pump-down time but not the capped maximum; leaking valves cost the maximum and not the flow.
"""

from dermafleet.physics.gas import Real
from dermafleet.physics.machine import Machine
from services.alerts.diagnosis.hypothesis import Hypothesis, falling, rising

NANO = 1e-9


def _worn(machine: Machine, level: Real) -> Machine:
    return machine.with_(displacement=machine.displacement * level)


def _valve_leak(machine: Machine, level: Real) -> Machine:
    return machine.with_(valve_leak=machine.valve_leak + level * NANO)


def _same(machine: Machine, level: Real) -> Machine:
    return machine.with_(displacement=machine.displacement + 0.0 * level)


def _mains(level: Real) -> Real:
    return level


HYPOTHESES = (
    Hypothesis(
        "pump_worn",
        "x displacement",
        (0.95, 0.9, 0.85, 0.8, 0.75, 0.65, 0.5),
        0.75,
        _worn,
        falling((0.91, 1), (0.81, 2), (0.61, 3)),
    ),
    Hypothesis(
        "pump_valve_leak",
        "1e-9 kg/s/Pa",
        (0.4, 0.8, 1.5, 2.4, 3.5, 5.0),
        2.4,
        _valve_leak,
        rising((0.7, 1), (1.4, 2), (4.5, 3)),
    ),
    Hypothesis(
        "mains_low",
        "x nominal voltage",
        (0.93, 0.88, 0.82, 0.75),
        0.82,
        _same,
        falling((0.9, 1), (0.75, 2)),
        mains=_mains,
    ),
)
