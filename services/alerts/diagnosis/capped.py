"""How well each fault explains a capped tip: maximum, times to it, and loss of vacuum behind a stopped pump."""

import numpy as np

from services.alerts.diagnosis import signatures
from services.alerts.diagnosis.rows import SCALE_ERROR, Rows, set_point, whitening_of
from services.alerts.diagnosis.signatures import AMBIENT_KPA, FLOORS, PUMP_DOWN_KPA, SETPOINTS, Floats, Signatures
from services.alerts.features.expected import LATE_RISE, PUMP_DOWN, USUAL_SETPOINT_KPA

SETPOINT_TEST_KPA, SETPOINT_NEW_KPA = 1.0, 3.0
"""How far the regulator may be from the mark of the dial, where that is not read back: of a machine whose tests are
learned, and before."""
MAXIMUM = "vacuum_inlet_kpa"
RISING = 4
"""Set points, the highest, at which the type reaches the late rise."""
NEAREST_PLATEAU = 0.97
"""Share of its plateau above which a vacuum is reached at no time in particular."""


def compare(table: Signatures, rows: Rows, ambient_kpa: float, pump_down_to_kpa: float) -> Floats:
    """Tip capped, shape (H,); the time to a vacuum depends on its share of the ambient pressure."""
    columns = [signatures.CAPPED.index(name) for name in rows.names]
    target = pump_down_to_kpa * AMBIENT_KPA / ambient_kpa
    down = _down_to(table, target)
    blind_kpa = SETPOINT_NEW_KPA if rows.learned.isdisjoint((PUMP_DOWN, LATE_RISE)) else SETPOINT_TEST_KPA
    beside_kpa = _beside(table, rows, down)
    at, slope = set_point(rows, table.capped[..., columns], blind_kpa, beside_kpa)
    unlike = at[0] - set_point(rows, table.capped[..., columns], blind_kpa)[0][0]
    residual = rows.residual - np.where([name in rows.learned for name in rows.names], 0.0, unlike)
    weight = np.ones_like(at)
    if PUMP_DOWN in rows.names:
        column = rows.names.index(PUMP_DOWN)
        at[:, column], slope[:, column] = set_point(rows, down, blind_kpa, beside_kpa)
        if MAXIMUM in rows.names:
            weight[:, column] = _certainty(rows, at, target)
    whitening = whitening_of(rows.covariance + np.outer(slope[0], slope[0]))
    off = (weight * (at - (at[0] + residual))) @ whitening
    return np.asarray(np.square(off).sum(axis=-1))


def _beside(table: Signatures, rows: Rows, down: Floats) -> float:
    """How many kPa beside the set point the type's regulator is open like this machine's; 0 until that is learned.

    A weak pump needs hardly any opening for a set point: what a regulator that shuts changes there is as little. The
    usual maximum shows it, and where self-tests end before that, how much less the rise slows down towards it.
    """
    setpoint = USUAL_SETPOINT_KPA if rows.setpoint_kpa is None else rows.setpoint_kpa
    healthy = dict(zip(rows.names, rows.healthy.tolist(), strict=True))
    late = table.capped[:, 0, signatures.CAPPED.index(LATE_RISE)]
    if MAXIMUM in rows.learned:
        curve, own = table.capped[:, 0, signatures.CAPPED.index(MAXIMUM)], healthy[MAXIMUM]
    elif {PUMP_DOWN, LATE_RISE} <= rows.learned:
        curve, own = down[:, 0] - late, healthy[PUMP_DOWN] - healthy[LATE_RISE]
    else:
        return 0.0
    first = len(SETPOINTS) - RISING
    usual = float(np.interp(setpoint, SETPOINTS, curve)) + own
    is_rising = bool((np.diff(curve[first:]) > 0).all())
    return float(np.interp(usual, curve[first:], SETPOINTS[first:])) - setpoint if is_rising else 0.0


def _down_to(table: Signatures, target_kpa: float) -> Floats:
    """Logarithm of the time to a vacuum, (S, H); between the vacua of the table by its speed, which ends at 0."""
    place = float(np.interp(target_kpa, PUMP_DOWN_KPA, np.arange(len(PUMP_DOWN_KPA))))
    i = min(int(place), len(PUMP_DOWN_KPA) - 2)
    low, high = np.exp(-table.pump_down[..., i : i + 2]).T
    return np.asarray(-np.log(low + (place - i) * (high - low)).T)


def _certainty(rows: Rows, at: Floats, target_kpa: float) -> Floats:
    """Weight of a pump-down for each node, (H,): near a plateau it hangs on that, known like the size of its fault."""
    inlet, column = rows.names.index(MAXIMUM), rows.names.index(PUMP_DOWN)
    share = np.clip(target_kpa / (np.exp(at[:, inlet]) - FLOORS[MAXIMUM]), 0.05, NEAREST_PLATEAU)
    unsure = share / (1 - share) / np.log1p(-share) * SCALE_ERROR * (at[:, inlet] - at[0, inlet])
    return np.asarray(1 / np.sqrt(1 + np.square(unsure) / rows.covariance[column, column]))
