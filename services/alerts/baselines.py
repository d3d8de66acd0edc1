"""What is normal for this machine: learned per component, tip and quantity, versioned, reset by maintenance records.

A baseline is the logarithm of measured over the type's value, in which the load of the intake filter is already
accounted for; that of `FILTER` is the index of the filter as new. It is learned once, over `SESSIONS` sessions or
`STABLE_S` seconds of stable states (a filter's in its first session, before it has loaded), and then stands until a
record calls for a new one, so that slow wear is not learned away. A value that no healthy machine of the type has is
not accepted: a fault that was there from the first session on is none of this machine's habits. Until a value is
learned, the type's serves, with wide limits.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from services.alerts.context import Context
from services.alerts.features import expected, nominal
from services.alerts.features.expected import LEAK_DOWN, PUMP_DOWN, SURROUNDINGS, Row
from services.alerts.features.expected import State as Name
from services.alerts.features.types import SessionFeatures
from services.alerts.findings import Baseline
from services.alerts.limits import MAIN
from services.alerts.observation import Floats

FILTER = "filter_index"
LEARNED = "learned"

SESSIONS, TESTS = 3, 2
"""Treatments, and self-tests that agree, from which a machine's habit is learned: a self-test is always the same."""
STABLE_S = 600.0
AGREE = 4.0
"""Usual scatters between sessions within which self-tests agree with their median; what lies outside is left out."""
MOST_TESTS = 6
"""Self-tests that are kept until enough agree."""
LIMIT = 3.0
"""Standard deviations of the type's scatter within which a value is accepted."""
NEW_FILTER = (0.5, 2.0)
"""Index of a filter that a record calls new, by the type's clean value; outside, it is the wrong one or missing."""
EXCHANGED = 0.5
"""An index that falls below this share of the last session's is another filter's."""
FILTER_RECORD = "FILTER_INTAKE_REPLACED"
FILTER_ERROR = 0.05
"""Relative error of an index: flow 4 %, dP 3 %."""
FILTER_SPREAD = 0.1
"""Relative, of clean filters about the type."""
PRIOR_WEIGHT = 4
"""Sessions that the usual scatter between sessions counts for; three of one's own say little."""
REPEATABILITY = 0.5
"""Scatter between sessions over the error of the sensor, usually."""

_RESETS: dict[str, tuple[str, ...]] = {
    FILTER_RECORD: (FILTER, "filter_dp_kpa"),
    "FILTER_EXHAUST_REPLACED": ("exhaust_dp_kpa", "motor_current_a"),
    "HOSE_CLEARED": ("open.vacuum", "contact.vacuum", "open.flow"),
    "HOSE_REPLACED": ("open.vacuum", "contact.vacuum", "open.flow", LEAK_DOWN),
    "HANDPIECE_SERVICED": ("open.vacuum", "contact.vacuum", "open.flow"),
    "HANDPIECE_REPLACED": ("open.vacuum", "contact.vacuum", "open.flow", LEAK_DOWN),
    "FEED_CLEARED": ("contact.",),
    "CRYSTALS_REPLACED": ("contact.",),
    "CANISTER_REPLACED": (LEAK_DOWN,),
    "SEAL_REPLACED": (LEAK_DOWN,),
    "PUMP_KIT_REPLACED": ("vacuum", "flow_lpm", "motor_current_a", PUMP_DOWN),
    "PUMP_REPLACED": ("vacuum", "flow_lpm", "motor_current_a", PUMP_DOWN),
    "REGULATOR_SERVICED": ("capped.vacuum", "capped.flow", "capped.exhaust", PUMP_DOWN),
    "SENSOR_CALIBRATED": ("",),
    "SENSOR_REPLACED": ("",),
    "SITE_CHANGED": ("motor_current_a",),
}
"""Per maintenance record the parts of a quantity's name whose baselines it ends; domain research, section 3.4."""


class Learned(msgspec.Struct):
    """A quantity's baseline, or the way to it.

    Attributes:
        version: of the last one learned, 0 = none ever; value, spread, n: of it, while ``is_valid``.
        window: values of the sessions since learning began; seconds: stable time in them.
        reason: why it is being learned: a maintenance record, or `LEARNED`.
    """

    version: int = 0
    is_valid: bool = False
    value: float = 0.0
    spread: float = 0.0
    n: int = 0
    window: list[float] = []
    seconds: float = 0.0
    reason: str = LEARNED


class State(msgspec.Struct):
    """What is known of one component.

    Attributes:
        learned: per "tip|quantity"; tip "" for what does not depend on it.
        last_index: filter index of the last session, by the type's clean value.
    """

    learned: dict[str, Learned] = {}
    last_index: float | None = None


class Residual(msgspec.Struct, frozen=True):
    """One measured quantity against what is normal for this machine.

    Attributes:
        state, channel, setpoint_kpa: which; the set point is None where it is not measured.
        measured, nominal: in the channel's unit; nominal is the type's with a clean filter, in these surroundings.
        healthy: this machine's own deviation from the type, logarithmic; 0 until learned.
        residual: `expected.deviation` of measured over nominal, less ``healthy``.
        error: standard deviation of what is this quantity's alone: sensor, and scatter between sessions.
        shared: effect of each of `expected.SHARED`: unknown of this machine until learned, unmeasured surroundings.
        is_learned: whether ``healthy`` is this machine's.
    """

    state: Name
    channel: str
    setpoint_kpa: float | None
    measured: float
    nominal: float
    healthy: float
    residual: float
    error: float
    shared: tuple[float, ...]
    is_learned: bool


class Normalised(msgspec.Struct, frozen=True):
    """A session against what is normal for this machine.

    Attributes:
        residuals: of every quantity that was measured.
        filter_index: over that of this filter as new; over the type's until that is learned. None = not measured.
        filter_index_error: relative standard deviation of it.
        is_filter_learned: whether it is over this filter's own value.
        is_filter_exchanged: the index fell as only another filter makes it fall, and no record says so.
        rejected: quantities whose new value was not accepted in this session.
        learned: new baselines.
        ambient_kpa, mains_v, temperature_c: surroundings for which the nominal values hold.
    """

    residuals: tuple[Residual, ...]
    filter_index: float | None
    filter_index_error: float | None
    is_filter_learned: bool
    is_filter_exchanged: bool
    rejected: tuple[str, ...]
    learned: tuple[Baseline, ...]
    ambient_kpa: float
    mains_v: float
    temperature_c: float


def take(state: State, features: SessionFeatures, context: Context) -> Normalised:
    """Compare a session and learn from it; changes ``state``."""
    book = _Book(state, features)
    is_exchanged = _learn_filter(state, book, features)
    filter_, index = book.find(FILTER, ""), features.filter_index
    own = filter_.value if filter_.is_valid else 1.0
    load = 0.0 if index is None else max(index / own - 1, 0.0)
    rows = expected.rows(features, load, context)
    for same in _by_quantity(rows):
        _learn(book, same)
    residuals = [_compare(book, row) for row in rows]
    at = nominal.conditions(context, features.ambient_kpa, features.mains_v, features.ambient_temp_c)
    return Normalised(
        residuals=tuple(residuals),
        filter_index=None if index is None else index / own,
        filter_index_error=None
        if index is None
        else math.hypot(FILTER_ERROR, 0.0 if filter_.is_valid else FILTER_SPREAD),
        is_filter_learned=filter_.is_valid,
        is_filter_exchanged=is_exchanged,
        rejected=tuple(book.rejected),
        learned=tuple(book.new),
        ambient_kpa=at.ambient_kpa,
        mains_v=at.mains_v,
        temperature_c=at.temperature_c,
    )


def reset(state: State, record_type: str) -> None:
    """A maintenance record ends the baselines that it concerns; they are learned anew. Changes ``state``."""
    parts = _RESETS.get(record_type, ())
    for key, learned in state.learned.items():
        quantity = key.partition("|")[2]
        if any(part in quantity for part in parts):
            learned.is_valid, learned.window, learned.seconds, learned.reason = False, [], 0.0, record_type


def covariance(residuals: Sequence[Residual]) -> Floats:
    """Of the residuals of a healthy machine, shape (k, k)."""
    own = np.diag([residual.error**2 for residual in residuals])
    shared = np.array([residual.shared for residual in residuals]).reshape(len(residuals), -1)
    return np.asarray(own + shared @ shared.T)


def _learn_filter(state: State, book: "_Book", features: SessionFeatures) -> bool:
    """Learn a new filter's index in its first session; returns whether an exchange went unrecorded."""
    index = features.filter_index
    if index is None:
        return False
    filter_, last = book.find(FILTER, ""), state.last_index
    is_new = filter_.reason == FILTER_RECORD and not filter_.is_valid
    is_exchanged = not is_new and last is not None and index < EXCHANGED * last
    if is_exchanged:
        filter_.is_valid, filter_.reason = False, LEARNED
    state.last_index = index
    if is_new:
        first = features.values.get("filter_index_first", index)
        book.learn(FILTER, "", first, FILTER_ERROR, accepted=NEW_FILTER, sessions=1)
    return is_exchanged


def _by_quantity(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of one quantity together: contact occurs at several set points."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.quantity, []).append(row)
    return list(groups.values())


def _learn(book: "_Book", rows: Sequence[Row]) -> None:
    """Enter one quantity of the session, unless its baseline stands."""
    row, tip = rows[0], book.tip_of(rows[0])
    if book.find(row.quantity, tip).is_valid:
        return
    own = sum(expected.deviation(each.channel, each.measured, each.own) for each in rows) / len(rows)
    prior = math.sqrt(sum(effect**2 for effect in row.shared) + row.loose**2 + row.error**2)
    accepted = (-LIMIT * prior, LIMIT * prior)
    if row.state == "capped":
        book.learn_test(row.quantity, own, REPEATABILITY * row.error, accepted=accepted)
    else:
        book.learn(row.quantity, tip, own, REPEATABILITY * row.error, accepted=accepted)


def _compare(book: "_Book", row: Row) -> Residual:
    raw = expected.deviation(row.channel, row.measured, row.nominal)
    learned = book.find(row.quantity, book.tip_of(row))
    if not learned.is_valid:
        return _residual(row, raw, 0.0, row.error, row.shared, is_learned=False)
    error = math.hypot(learned.spread * math.sqrt(1 + 1 / learned.n), REPEATABILITY * row.error)
    surroundings = [
        effect if name in SURROUNDINGS else 0.0 for (name, _), effect in zip(expected.SHARED, row.shared, strict=True)
    ]
    return _residual(row, raw, learned.value, error, tuple(surroundings), is_learned=True)


def _residual(
    row: Row, raw: float, healthy: float, error: float, shared: tuple[float, ...], *, is_learned: bool
) -> Residual:
    return Residual(
        state=row.state,
        channel=row.channel,
        setpoint_kpa=row.setpoint_kpa,
        measured=row.measured,
        nominal=row.nominal,
        healthy=healthy,
        residual=raw - healthy,
        error=error,
        shared=shared,
        is_learned=is_learned,
    )


class _Book:
    """Where one session's values are entered."""

    def __init__(self, state: State, features: SessionFeatures) -> None:
        self.new: list[Baseline] = []
        self.rejected: list[str] = []
        self._state, self._features = state, features
        contact_s = sum(contact.seconds for contact in features.contacts)
        self._seconds = contact_s + (features.open.seconds if features.open else 0.0)

    def tip_of(self, row: Row) -> str:
        """The tip that a quantity is kept for: none where the tip is closed."""
        return "" if row.state == "capped" else self._features.tip

    def find(self, quantity: str, tip: str) -> Learned:
        """The baseline of a quantity with a tip."""
        return self._state.learned.setdefault(f"{tip}|{quantity}", Learned())

    def learn(
        self,
        quantity: str,
        tip: str,
        value: float,
        usual: float,
        *,
        accepted: tuple[float, float],
        sessions: int = SESSIONS,
    ) -> None:
        """Enter a session's value; the window that is full becomes a baseline.

        Args:
            usual: scatter between sessions that is to be expected.
            accepted: the least and the largest value that a healthy machine can have.
            sessions: that make a baseline.
        """
        learned = self.find(quantity, tip)
        if not accepted[0] <= value <= accepted[1]:
            self.rejected.append(quantity)
            learned.window, learned.seconds = [], 0.0
            return
        learned.window.append(value)
        learned.seconds += self._seconds
        if len(learned.window) >= sessions or learned.seconds >= STABLE_S:
            self._settle(learned, quantity, tip, usual)

    def learn_test(self, quantity: str, value: float, usual: float, *, accepted: tuple[float, float]) -> None:
        """Enter a self-test's value; as soon as enough agree they become a baseline. Arguments as of `learn`."""
        learned = self.find(quantity, "")
        if not accepted[0] <= value <= accepted[1]:
            self.rejected.append(quantity)
            return
        learned.window = [*learned.window, value][-MOST_TESTS:]
        middle = float(np.median(learned.window))
        agreeing = [each for each in learned.window if abs(each - middle) <= AGREE * usual]
        if len(agreeing) >= max(TESTS, len(learned.window) // 2 + 1):
            learned.window = agreeing
            self._settle(learned, quantity, "", usual)

    def _settle(self, learned: Learned, quantity: str, tip: str, usual: float) -> None:
        values = np.array(learned.window)
        squares = float(np.square(values - values.mean()).sum()) + PRIOR_WEIGHT * usual**2
        learned.value = float(np.median(values))
        learned.spread = math.sqrt(squares / (PRIOR_WEIGHT + len(values) - 1))
        learned.n, learned.is_valid = len(values), True
        learned.version += 1
        learned.window, learned.seconds = [], 0.0
        features = self._features
        self.new.append(
            Baseline(
                component=features.component or MAIN,
                tip=tip,
                quantity=quantity,
                version=learned.version,
                value=learned.value,
                spread=learned.spread,
                n=learned.n,
                at_ms=features.ended_ms,
                reason=learned.reason,
            )
        )
