"""How well each fault explains one session: chi-square of its residuals, with all nuisances at their best.

Nuisances: load of the intake filter, seal of the tip, opening of the regulator. Nothing is remembered here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dermafleet.physics import gas
from services.alerts.baselines import Normalised, Residual
from services.alerts.diagnosis import signatures
from services.alerts.diagnosis.signatures import (
    AMBIENT_KPA,
    BLEED,
    CLEAN,
    FEED,
    FLOORS,
    GAPS,
    LOADS,
    PUMP_DOWN_KPA,
    SETPOINTS,
    USUAL_GAP,
    VACUA,
    Signatures,
)
from services.alerts.features.expected import LATE_RISE, PUMP_DOWN

Floats = NDArray[np.float64]

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
SETPOINT_ERROR_KPA, SETPOINT_RANGE_KPA = 2.0, 10.0
"""How far the regulator may be from its set point: read back; not read back."""
SETPOINT_TEST_KPA, SETPOINT_NEW_KPA = 1.0, 3.0
"""The same in a self-test, at the mark of the dial: of a machine whose tests are learned, and before."""
SETPOINTS_SET_KPA = (13.0, 46.0)
"""What operators set, where it is not read back."""
SETPOINT_SPREAD_KPA, SETPOINT_PENALTY = 6.0, 2.0
"""Of set points over a machine's sessions, and the most deviations held against an explanation."""
NEAREST_PLATEAU = 0.97
"""Share of its plateau above which a vacuum is reached at no time in particular."""
QUIET = 0.25
"""Share of the usual noise that counts as none."""
NOISE_STEEPEST = 2.5
"""The noise of the feed falls with its air at least in proportion, and at most with this power: less air carries
crystals less well. More air than usual adds between nothing and its share."""
GAP_SPREAD = 0.8
"""Of the logarithm of the tip's gap in the best-sealed strokes."""
GAP_PENALTY = 2.0
"""In standard deviations: an operator who never seals is no fault, however unusual."""
MOST_STROKES_WEIGHT = 1.5
"""Several set points of one session share what is unknown of it: together they count no more than this many."""


@dataclass(frozen=True, slots=True)
class Feed:
    """Crystals drawn, relative to what this machine draws at this vacuum when healthy: logarithm, and its error."""

    residual: float
    error: float


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of the feed, plus `QUIET` of this machine's usual at this vacuum, over that: logarithm, and its error."""

    residual: float
    error: float


@dataclass(frozen=True, slots=True)
class Fit:
    """What one session says.

    Attributes:
        chi2: (H, K) sum of squares for each node and load of the filter.
        quantities: how many residuals went in.
        is_test: the tip was capped.
    """

    chi2: Floats
    quantities: int
    is_test: bool


@dataclass(frozen=True, slots=True)
class _Rows:
    """Residuals of one state by channel, with their covariance in the same order."""

    names: tuple[str, ...]
    residual: Floats
    covariance: Floats
    setpoint_kpa: float | None
    nominal: Floats
    healthy: Floats
    is_learned: bool


def compare(
    table: Signatures,
    normalised: Normalised,
    *,
    feed: Feed | None = None,
    noise: Noise | None = None,
    pump_down_to_kpa: float = 60.0,
) -> Fit | None:
    """Chi-square of every node; None if the session has nothing to compare.

    Args:
        pump_down_to_kpa: vacuum to which the pump-down of a self-test was timed.
    """
    groups = _group(normalised.residuals)
    chi2 = np.zeros((len(table.levels), len(LOADS)))
    quantities = 0
    contacts = [rows for state, rows in groups if state == "contact" and "vacuum_inlet_kpa" in rows.names]
    for rows in contacts:
        weight = min(MOST_STROKES_WEIGHT / len(contacts), 1.0)
        chi2 += weight * _contact(table, rows, normalised.ambient_kpa, feed, noise)
        quantities += len(rows.names)
    is_test = False
    for state, rows in groups:
        if state == "open":
            chi2 += _open(table, rows)
        elif state == "capped":
            chi2 += _capped(table, rows, normalised.ambient_kpa, pump_down_to_kpa)[:, None]
            is_test = True
        else:
            continue
        quantities += len(rows.names)
    return Fit(chi2, quantities, is_test) if quantities else None


def _group(residuals: Sequence[Residual]) -> list[tuple[str, _Rows]]:
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


def _rows(rows: list[Residual], setpoint_kpa: float | None, load: float) -> _Rows:
    """One state's residuals; what all pressure drops share is dust on the filter, no deviation from the type."""
    residual = np.array([each.residual for each in rows])
    shared = np.array([each.shared for each in rows], dtype=np.float64).reshape(len(rows), -1)
    model = np.array([MODEL_ERROR[each.channel] for each in rows])
    error = np.array([each.error for each in rows])
    shift = residual - np.array([load if each.channel == "filter_dp_kpa" else 0.0 for each in rows])
    own = np.square(error) + np.square(model) + np.square(SCALE_ERROR * shift)
    covariance = np.diag(own) + shared @ shared.T
    return _Rows(
        tuple(each.channel for each in rows),
        residual,
        covariance,
        setpoint_kpa,
        np.array([each.nominal for each in rows]),
        np.array([each.healthy for each in rows]),
        any(each.is_learned for each in rows if each.channel in (PUMP_DOWN, LATE_RISE)),
    )


def _whitening(covariance: Floats) -> Floats:
    """Matrix that turns residuals of this covariance into independent ones of unit variance."""
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)).T)


def _set_point(rows: _Rows, table: Floats, blind_kpa: float) -> tuple[Floats, Floats]:
    """A table at the rows' set point, and its slope per kPa times how far the regulator may be from there.

    Args:
        blind_kpa: how far, where the set point is not read back.
    """
    setpoint = 40.0 if rows.setpoint_kpa is None else rows.setpoint_kpa
    spread = blind_kpa if rows.setpoint_kpa is None else SETPOINT_ERROR_KPA
    i = int(np.clip(np.searchsorted(SETPOINTS, setpoint) - 1, 0, len(SETPOINTS) - 2))
    width = SETPOINTS[i + 1] - SETPOINTS[i]
    share = float(np.clip((setpoint - SETPOINTS[i]) / width, -0.5, 1.5))
    step = table[i + 1] - table[i]
    return table[i] + share * step, spread / width * step


def _open(table: Signatures, rows: _Rows) -> Floats:
    columns = [signatures.OPEN.index(name) for name in rows.names]
    at, slope = _set_point(rows, table.open[..., columns], SETPOINT_RANGE_KPA)
    moved = slope[0, CLEAN]
    whitening = _whitening(rows.covariance + np.outer(moved, moved))
    off = (at - (at[0, CLEAN] + rows.residual)) @ whitening
    return np.asarray(np.square(off).sum(axis=-1))


def _capped(table: Signatures, rows: _Rows, ambient_kpa: float, pump_down_to_kpa: float) -> Floats:
    """Tip capped, shape (H,); the time to a vacuum depends on its share of the ambient pressure."""
    columns = [signatures.CAPPED.index(name) for name in rows.names]
    blind_kpa = SETPOINT_TEST_KPA if rows.is_learned else SETPOINT_NEW_KPA
    at, slope = _set_point(rows, table.capped[..., columns], blind_kpa)
    weight = np.ones_like(at)
    if PUMP_DOWN in rows.names:
        target = pump_down_to_kpa * AMBIENT_KPA / ambient_kpa
        column = rows.names.index(PUMP_DOWN)
        at[:, column], slope[:, column] = _set_point(rows, _down_to(table, target), blind_kpa)
        if "vacuum_inlet_kpa" in rows.names:
            weight[:, column] = _certainty(rows, at, target)
    whitening = _whitening(rows.covariance + np.outer(slope[0], slope[0]))
    off = (weight * (at - (at[0] + rows.residual))) @ whitening
    return np.asarray(np.square(off).sum(axis=-1))


def _down_to(table: Signatures, target_kpa: float) -> Floats:
    """Logarithm of the time to a vacuum, (S, H); between the vacua of the table by its speed, which ends at 0."""
    place = float(np.interp(target_kpa, PUMP_DOWN_KPA, np.arange(len(PUMP_DOWN_KPA))))
    i = min(int(place), len(PUMP_DOWN_KPA) - 2)
    low, high = np.exp(-table.pump_down[..., i : i + 2]).T
    return np.asarray(-np.log(low + (place - i) * (high - low)).T)


def _certainty(rows: _Rows, at: Floats, target_kpa: float) -> Floats:
    """Weight of a pump-down for each node, (H,): near a plateau it hangs on that, known like the size of its fault."""
    inlet, column = rows.names.index("vacuum_inlet_kpa"), rows.names.index(PUMP_DOWN)
    share = np.clip(target_kpa / (np.exp(at[:, inlet]) - FLOORS["vacuum_inlet_kpa"]), 0.05, NEAREST_PLATEAU)
    unsure = share / (1 - share) / np.log1p(-share) * SCALE_ERROR * (at[:, inlet] - at[0, inlet])
    return np.asarray(1 / np.sqrt(1 + np.square(unsure) / rows.covariance[column, column]))


def _contact(table: Signatures, rows: _Rows, ambient_kpa: float, feed: Feed | None, noise: Noise | None) -> Floats:
    """Contact at the measured vacuum, with the best seal for each node and load, shape (H, K)."""
    point = _point(table, rows, ambient_kpa)
    names = (BLEED, *(name for name in rows.names if name != "vacuum_inlet_kpa"))
    columns = [signatures.CONTACT.index(name) for name in names]
    off = point.here[..., columns] - point.expected[columns]
    off[..., 0] = _excess(table, rows, point)
    off[..., 1:] -= rows.residual[_others(rows)]
    slope = point.slope[columns]
    slope[0] = _excess_slope(table, rows, point)
    covariance = _at_vacuum_covariance(rows, slope, off.shape[-1])
    off = off @ _whitening(covariance)
    extra = [np.broadcast_to(_GAP_COLUMN, off.shape[:-1])]
    if rows.setpoint_kpa is None:
        extra.append(_unusual(table, point))
    if feed is not None:
        extra.append(_feed_off(point, feed))
    if noise is not None:
        extra.append(_noise_off(point, noise))
    return _best_between(np.concatenate([off, np.stack(extra, axis=-1)], axis=-1))


@dataclass(frozen=True, slots=True)
class _Point:
    """The contact table at the measured vacuum.

    Attributes:
        vacuum, usual_vacuum: over ambient pressure: measured, and expected at the set point.
        here: (H, K, G, Q) at the measured vacuum.
        at_measured, expected: (Q,) of the healthy machine there, and at the expected vacuum.
        slope: (Q,) of the healthy machine, per logarithm of vacuum.
    """

    vacuum: float
    usual_vacuum: float
    here: Floats
    at_measured: Floats
    expected: Floats
    slope: Floats


def _point(table: Signatures, rows: _Rows, ambient_kpa: float) -> _Point:
    inlet = rows.names.index("vacuum_inlet_kpa")
    floor, nominal = FLOORS["vacuum_inlet_kpa"], float(rows.nominal[inlet])
    if rows.setpoint_kpa is None:  # what is normal for this machine is then mostly how its operators set it
        nominal = (nominal + floor) * float(np.exp(rows.healthy[inlet])) - floor
    usual = nominal / ambient_kpa
    vacuum = ((nominal + floor) * float(np.exp(rows.residual[inlet])) - floor) / ambient_kpa
    vacuum = float(np.clip(vacuum, VACUA[0], VACUA[-1]))
    healthy = table.contact[:, 0, CLEAN, USUAL_GAP]
    step = 0.02
    slope = (_lerp(healthy, vacuum + step) - _lerp(healthy, vacuum - step)) / (2 * step) * vacuum
    return _Point(vacuum, usual, _lerp(table.contact, vacuum), _lerp(healthy, vacuum), _lerp(healthy, usual), slope)


def _lerp(table: Floats, vacuum: float) -> Floats:
    """A table over `VACUA` at one vacuum; beyond the ends it goes on straight."""
    place = (vacuum - VACUA[0]) / (VACUA[1] - VACUA[0])
    i = int(np.clip(place, 0, len(VACUA) - 2))
    return np.asarray(table[i] + (place - i) * (table[i + 1] - table[i]))


def _others(rows: _Rows) -> list[int]:
    return [i for i, name in enumerate(rows.names) if name != "vacuum_inlet_kpa"]


def _excess(table: Signatures, rows: _Rows, point: _Point) -> Floats:
    """What the regulator must let in beyond that of its set point, as a share of the pump's flow, (H, K, G)."""
    low, high = _let_in(table, rows, point, point.vacuum)
    opening = table.opening[:, None, None]
    required = point.here[..., 0]
    excess = required - np.clip(required, opening * low, opening * high)
    return np.asarray(excess / _pump_flow(table, point.vacuum))


def _feed_off(point: _Point, feed: Feed) -> Floats:
    """Crystals drawn against those of each node, in deviations, (H, K, G)."""
    column = signatures.CONTACT.index(FEED)
    error = np.sqrt(feed.error**2 + MODEL_ERROR[FEED] ** 2 + (SCALE_ERROR * feed.residual) ** 2)
    return np.asarray((point.here[..., column] - point.at_measured[column] - feed.residual) / error)


def _noise_off(point: _Point, noise: Noise) -> Floats:
    """Noise of the feed against that of each node, in deviations, (H, K, G)."""
    column = signatures.CONTACT.index(FEED)
    healthy = max(float(np.exp(point.at_measured[column])) - FLOORS[FEED], 1e-3)
    air = np.maximum(np.exp(point.here[..., column]) - FLOORS[FEED], 0.0) / healthy
    least = np.where(air < 1, air**NOISE_STEEPEST, 1.0)
    low, high = (np.log((each + QUIET) / (1 + QUIET)) for each in (least, air))
    error = np.hypot(noise.error, SCALE_ERROR * noise.residual)
    return np.asarray((noise.residual - np.clip(noise.residual, low, high)) / error)


def _unusual(table: Signatures, point: _Point) -> Floats:
    """How far the regulator must be from where this machine's operators usually set it, in deviations, (H, K, G)."""
    usual = AMBIENT_KPA * point.usual_vacuum + np.array([-SETPOINT_SPREAD_KPA, 0.0, SETPOINT_SPREAD_KPA])
    high, middle, low = np.interp(usual, SETPOINTS, table.dial) * _choking(point.vacuum)
    opening = table.opening[:, None, None]
    spread = np.hypot(opening * (high - low) / 2, MODEL_ERROR[BLEED] * _pump_flow(table, point.vacuum))
    return np.asarray(np.clip((point.here[..., 0] - opening * middle) / spread, -SETPOINT_PENALTY, SETPOINT_PENALTY))


def _excess_slope(table: Signatures, rows: _Rows, point: _Point) -> float:
    """Change of a healthy machine's excess per logarithm of vacuum: an error of the vacuum looks like one."""
    step = 0.02
    (low, _), (high, _) = (_let_in(table, rows, point, point.vacuum + each) for each in (-step, step))
    dial = (high - low) / (2 * step) * point.vacuum
    return float((point.slope[0] - dial) / _pump_flow(table, point.vacuum))


def _let_in(table: Signatures, rows: _Rows, point: _Point, vacuum: float) -> tuple[float, float]:
    """What the regulator lets in at a vacuum, L/min: at its set point, or at the ends of what operators set."""
    choked = _choking(vacuum)
    if rows.setpoint_kpa is None:
        high, low = np.interp(SETPOINTS_SET_KPA, SETPOINTS, table.dial) * choked
        return float(low), float(high)
    here = max(float(point.expected[0]), 0.0) * choked / _choking(point.usual_vacuum)
    return here, here


def _pump_flow(table: Signatures, vacuum: float) -> float:
    return float(np.interp(vacuum, VACUA, table.pump))


def _choking(vacuum: float) -> float:
    """Flow of an orifice at a vacuum over ambient pressure, relative to that when choked."""
    return float(np.sqrt(gas.discharge(max(vacuum, 1e-3)) / gas.discharge(gas.CHOKED_FALL)))


def _at_vacuum_covariance(rows: _Rows, slope: Floats, size: int) -> Floats:
    """Covariance of the differences at the measured vacuum: its own error moves the place in the table."""
    inlet = rows.names.index("vacuum_inlet_kpa")
    change = np.zeros((size, len(rows.names)))
    change[1:, _others(rows)] = -np.eye(size - 1)
    change[:, inlet] = slope
    own = np.zeros((size, size))
    own[0, 0] = MODEL_ERROR[BLEED] ** 2
    return np.asarray(change @ rows.covariance @ change.T + own)


def _best_between(off: Floats) -> Floats:
    """Least sum of squares along the gap axis, between its nodes too: (H, K, G, Q) → (H, K)."""
    start, step = off[..., :-1, :], np.diff(off, axis=-2)
    along, length = np.einsum("hkgq,hkgq->hkg", start, step), np.einsum("hkgq,hkgq->hkg", step, step)
    share = np.clip(-along / np.maximum(length, 1e-12), 0.0, 1.0)
    squares = np.einsum("hkgq,hkgq->hkg", start, start) + share * (2 * along + share * length)
    return np.asarray(squares.min(axis=-1))


_GAP_COLUMN = np.clip(np.log(GAPS) / GAP_SPREAD, -GAP_PENALTY, GAP_PENALTY)
