"""How well each fault explains one session: chi-square of its residuals, with all nuisances at their best.

Nuisances: load of the intake filter, seal of the tip, opening of the regulator. Nothing is remembered here.
"""

from dataclasses import dataclass

import numpy as np

from dermafleet.physics import gas
from services.alerts.baselines import Normalised
from services.alerts.diagnosis import capped, signatures
from services.alerts.diagnosis.rows import MODEL_ERROR, SCALE_ERROR, Rows, group, set_point, whitening_of
from services.alerts.diagnosis.signatures import (
    AMBIENT_KPA,
    BLEED,
    CLEAN,
    FEED,
    FLOORS,
    GAPS,
    LOADS,
    SETPOINTS,
    USUAL_GAP,
    VACUA,
    Floats,
    Signatures,
)

SETPOINT_RANGE_KPA = 10.0
"""How far the regulator may be from its usual set point, where that is not read back."""
SETPOINTS_SET_KPA = (13.0, 46.0)
"""What operators set, where it is not read back."""
SETPOINT_SPREAD_KPA, SETPOINT_PENALTY = 6.0, 2.0
"""Of set points over a machine's sessions, and the most deviations held against an explanation."""
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
    groups = group(normalised.residuals)
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
            chi2 += capped.compare(table, rows, normalised.ambient_kpa, pump_down_to_kpa)[:, None]
            is_test = True
        else:
            continue
        quantities += len(rows.names)
    return Fit(chi2, quantities, is_test) if quantities else None


def _open(table: Signatures, rows: Rows) -> Floats:
    columns = [signatures.OPEN.index(name) for name in rows.names]
    at, slope = set_point(rows, table.open[..., columns], SETPOINT_RANGE_KPA)
    moved = slope[0, CLEAN]
    whitening = whitening_of(rows.covariance + np.outer(moved, moved))
    off = (at - (at[0, CLEAN] + rows.residual)) @ whitening
    return np.asarray(np.square(off).sum(axis=-1))


def _contact(table: Signatures, rows: Rows, ambient_kpa: float, feed: Feed | None, noise: Noise | None) -> Floats:
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
    off = off @ whitening_of(covariance)
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


def _point(table: Signatures, rows: Rows, ambient_kpa: float) -> _Point:
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


def _others(rows: Rows) -> list[int]:
    return [i for i, name in enumerate(rows.names) if name != "vacuum_inlet_kpa"]


def _excess(table: Signatures, rows: Rows, point: _Point) -> Floats:
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


def _excess_slope(table: Signatures, rows: Rows, point: _Point) -> float:
    """Change of a healthy machine's excess per logarithm of vacuum: an error of the vacuum looks like one."""
    step = 0.02
    (low, _), (high, _) = (_let_in(table, rows, point, point.vacuum + each) for each in (-step, step))
    dial = (high - low) / (2 * step) * point.vacuum
    return float((point.slope[0] - dial) / _pump_flow(table, point.vacuum))


def _let_in(table: Signatures, rows: Rows, point: _Point, vacuum: float) -> tuple[float, float]:
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


def _at_vacuum_covariance(rows: Rows, slope: Floats, size: int) -> Floats:
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
