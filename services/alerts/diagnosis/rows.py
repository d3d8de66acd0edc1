"""What of a session is compared with the tables: residuals by state and set point, with their covariance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.alerts.baselines import Residual
from services.alerts.diagnosis import signatures
from services.alerts.diagnosis.signatures import BLEED, FEED, SETPOINTS, Floats
from services.alerts.features.expected import LATE_RISE, PUMP_DOWN, USUAL_SETPOINT_KPA

SCALE_ERROR = 0.10
"""A machine is up to 15% unlike its type, and so is the size of whatever a fault does to it: one standard deviation."""
MODEL_ERROR: Mapping[str, float] = {
    "vacuum_inlet_kpa": 0.02,
    "filter_dp_kpa": 0.03,
    "flow_lpm": 0.02,
    "motor_current_a": 0.01,
    "exhaust_dp_kpa": 0.05,
    "vacuum_handpiece_kpa": 0.02,
    "pump_down_s": 0.03,
    LATE_RISE: 0.05,
    "leak_down_kpa_s": 0.15,
    BLEED: 0.03,
    FEED: 0.35,
}
"""Where a real machine leaves the model though nothing is wrong: of the logarithm; of `BLEED` a share of the flow."""
SETPOINT_ERROR_KPA = 2.0
"""How far the regulator may be from a set point that is read back."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Residuals of one state by channel, with their covariance in the same order.

    Attributes:
        learned: the channels of which this machine's own deviation is known.
    """

    names: tuple[str, ...]
    residual: Floats
    covariance: Floats
    setpoint_kpa: float | None
    nominal: Floats
    healthy: Floats
    learned: frozenset[str]


def group(residuals: Sequence[Residual]) -> list[tuple[str, Rows]]:
    """Residuals by state and set point, only those the tables know."""
    known = {"open": signatures.OPEN, "contact": signatures.OPEN, "capped": signatures.CAPPED}
    members: dict[tuple[str, float | None], list[Residual]] = {}
    for each in residuals:
        if each.channel in (PUMP_DOWN, LATE_RISE) and not each.is_learned:
            continue  # a machine's volume and maximum decide them: far from the type's, and not in proportion
        if each.channel in known.get(each.state, ()) and np.isfinite(each.residual):
            members.setdefault((each.state, each.setpoint_kpa), []).append(each)
    dust = [row.residual for rows in members.values() for row in rows if row.channel == "filter_dp_kpa"]
    load = float(np.median(dust)) if dust else 0.0
    return [(state, _rows(rows, setpoint, load)) for (state, setpoint), rows in members.items()]


def _rows(rows: list[Residual], setpoint_kpa: float | None, load: float) -> Rows:
    """One state's residuals; what all pressure drops share is dust on the filter, no deviation from the type."""
    residual = np.array([each.residual for each in rows])
    shared = np.array([each.shared for each in rows], dtype=np.float64).reshape(len(rows), -1)
    model = np.array([MODEL_ERROR[each.channel] for each in rows])
    error = np.array([each.error for each in rows])
    shift = residual - np.array([load if each.channel == "filter_dp_kpa" else 0.0 for each in rows])
    own = np.square(error) + np.square(model) + np.square(SCALE_ERROR * shift)
    covariance = np.diag(own) + shared @ shared.T
    return Rows(
        tuple(each.channel for each in rows),
        residual,
        covariance,
        setpoint_kpa,
        np.array([each.nominal for each in rows]),
        np.array([each.healthy for each in rows]),
        frozenset(each.channel for each in rows if each.is_learned),
    )


def whitening_of(covariance: Floats) -> Floats:
    """Matrix that turns residuals of this covariance into independent ones of unit variance."""
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)).T)


def set_point(rows: Rows, table: Floats, blind_kpa: float, beside_kpa: float = 0.0) -> tuple[Floats, Floats]:
    """A table at the rows' set point, and its slope per kPa times how far the regulator may be from there.

    Args:
        blind_kpa: how far, where the set point is not read back.
        beside_kpa: from the set point to where the type's regulator is open like this machine's.
    """
    setpoint = (USUAL_SETPOINT_KPA if rows.setpoint_kpa is None else rows.setpoint_kpa) + beside_kpa
    spread = blind_kpa if rows.setpoint_kpa is None else SETPOINT_ERROR_KPA
    i = int(np.clip(np.searchsorted(SETPOINTS, setpoint) - 1, 0, len(SETPOINTS) - 2))
    width = SETPOINTS[i + 1] - SETPOINTS[i]
    share = float(np.clip((setpoint - SETPOINTS[i]) / width, -0.5, 1.5))
    step = table[i + 1] - table[i]
    return table[i] + share * step, spread / width * step
