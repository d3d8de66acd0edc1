"""What is known of one session after it: the quantities that diagnosis, forecast and rules work with."""

from collections.abc import Mapping
from typing import Literal

import msgspec

VERSION = 1
"""Of the definitions below; stored with every row, and a baseline of another version is not compared."""

State = Literal["off", "open", "contact", "capped"]

Means = dict[str, float]
"""Channel → mean over settled samples; a channel without a valid sample is absent."""


class Segment(msgspec.Struct, frozen=True):
    """One unbroken stretch in one state.

    Attributes:
        state: off (pump off), open (tip in the air), contact (on skin), capped (closed by a cap or a hand).
        at_ms, duration_s: when it began (event time), how long it lasted.
        settled_s: how much of it lies after the transient; means and deviations are over that part only.
        previous: the state before it; None after a restart of the machine or a hole in the data.
        mean: per channel over the settled part; absent where nothing was settled or measured.
        deviation: per vacuum channel the noise from sample to sample in the settled part, without rise or fall.
        peak: per channel the largest value of the whole segment.
    """

    state: State
    at_ms: int
    duration_s: float
    settled_s: float
    mean: Means
    deviation: Means
    peak: Means
    previous: State | None = None


class OpenFeatures(msgspec.Struct, frozen=True):
    """Tip in the air, pump on: all settled samples of the session. ``seconds`` of them."""

    seconds: float
    mean: Means


class ContactFeatures(msgspec.Struct, frozen=True):
    """Tip on skin at one set point: the well-sealed envelope of the strokes, because a poor seal is no fault.

    Attributes:
        setpoint_kpa: set by the operator, where that is measured; None = not known.
        strokes, seconds: how many strokes reached a plateau, and their settled time.
        mean: channel means over the strokes in the upper quartile of plateau vacuum.
        seal_spread: interquartile range of plateau vacuum over ambient pressure: constant for a leak, wide for a seal.
        feed_noise_kpa: standard deviation of handpiece vacuum in contact; it vanishes when no crystals flow.
        crystal_g_per_s: mass leaving the jar per second of contact; None = not measured.
    """

    setpoint_kpa: float | None
    strokes: int
    seconds: float
    mean: Means
    seal_spread: float | None = None
    feed_noise_kpa: float | None = None
    crystal_g_per_s: float | None = None


class CappedFeatures(msgspec.Struct, frozen=True):
    """Tip capped, in a self-test or found in a treatment.

    Attributes:
        plateau: True if the vacuum stopped rising; False if the test ended at its limit before.
        mean: channel means over the plateau (the last second, if there is none).
        pump_down_s: time from `pump_down_from_kpa` to `pump_down_to_kpa`; None = it did not get there.
        late_rise_s: time from half to seven tenths of the ambient pressure, where the regulator decides; None likewise.
        leak_down_kpa_s: loss of vacuum per second after the pump stopped with the tip still capped.
        leak_down_from_kpa: mean vacuum while that was measured.
        is_self_test: the machine was in a session of purpose self_test.
    """

    plateau: bool
    mean: Means
    pump_down_s: float | None = None
    pump_down_to_kpa: float = 60.0
    leak_down_kpa_s: float | None = None
    leak_down_from_kpa: float | None = None
    pump_down_from_kpa: float = 15.0
    is_self_test: bool = False
    late_rise_s: float | None = None


class SessionFeatures(msgspec.Struct, frozen=True):
    """One session of one component.

    The means of gauge channels (`signals.GAUGES`) have the sensors' zeros, `off_mean`, taken off.

    Attributes:
        session_id: as on the wire, or ``auto-…`` for a machine that tells no sessions.
        purpose: treatment, self_test, cleaning, demo, service.
        component, tip: what the baselines are kept per; tip "" = not told.
        started_ms, ended_ms: event time.
        pump_s, contact_s, strokes: as measured from the samples.
        open, contacts, capped: per state; None or empty = it did not occur.
        off_mean: channel means of the last settled stretch with the pump off: the sensors' zeros.
        ambient_kpa, mains_v, ambient_temp_c: means while pumping; pump_temp_c: at the end; None = not measured.
        filter_index: resistance of the intake filter relative to the clean type, by the type's clean values: 1 = clean.
        filter_index_slope: its change over the session, per hour of pumping: a full canister makes it jump.
        values: further scalar quantities by name (seconds over the limit, grams used…): rules may name them.
    """

    session_id: str
    purpose: str
    component: str
    tip: str
    started_ms: int
    ended_ms: int
    pump_s: float
    contact_s: float
    strokes: int
    open: OpenFeatures | None = None
    contacts: list[ContactFeatures] = []
    capped: CappedFeatures | None = None
    off_mean: Means = {}
    ambient_kpa: float | None = None
    mains_v: float | None = None
    ambient_temp_c: float | None = None
    pump_temp_c: float | None = None
    filter_index: float | None = None
    filter_index_slope: float | None = None
    values: Mapping[str, float] = {}
    version: int = VERSION
