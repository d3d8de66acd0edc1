"""What is gathered of one session while it runs: sums of samples and of settled segments, bounded in size."""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.context import Context
from services.alerts.features import filter_index, mass, noise, nominal, self_test, signals, strokes
from services.alerts.features.noise import Noise
from services.alerts.features.strokes import Strokes
from services.alerts.features.sums import Sums, add, mean
from services.alerts.features.types import Segment
from services.alerts.limits import Limits
from services.alerts.observation import Block

MIN_STROKE_S = 0.5
MASSES = ("crystal_jar_g", "canister_g")
SURROUNDINGS = ("ambient_kpa", "mains_v", "ambient_temp_c")


class Warmth(msgspec.Struct):
    """The pump's warming as measured, and as the type's would go from the first measured value on.

    Attributes:
        model_k, measured_k: above the room, at the end of the last segment; None = not measured yet.
        pump_c: measured temperature.
    """

    model_k: float | None = None
    measured_k: float | None = None
    pump_c: float | None = None


class Gathered(msgspec.Struct):
    """Of one session, or of the pumping before it is told.

    Attributes:
        first_ms, last_ms: event time of the first and the last sample; None = none.
        pump_ms, over_limit_ms, over_setpoint_ms: times with the pump on, and of too high a vacuum at the handpiece.
        contact_s, longest_s, off_s: times in contact, of the longest contact, with the pump off.
        stroke_count: contacts of at least `MIN_STROKE_S`.
        open, surroundings: means over open segments, and over all with the pump on.
        strokes: settled contacts, per set point.
        pending: the last contact; it is no stroke if the tip turns out to have been capped.
        capped: the longest capped segment.
        noise: of the vacuum in contact and with an open tip.
    """

    first_ms: int | None = None
    last_ms: int = 0
    pump_ms: int = 0
    over_limit_ms: int = 0
    over_setpoint_ms: int = 0
    contact_s: float = 0.0
    longest_s: float = 0.0
    off_s: float = 0.0
    stroke_count: int = 0
    open: Sums = msgspec.field(default_factory=Sums)
    surroundings: Sums = msgspec.field(default_factory=Sums)
    strokes: dict[str, Strokes] = {}
    pending: Segment | None = None
    capped: Segment | None = None
    noise: dict[str, Noise] = {}
    filter: filter_index.State = msgspec.field(default_factory=filter_index.State)
    masses: dict[str, mass.State] = {}
    test: self_test.State = msgspec.field(default_factory=self_test.State)
    warmth: Warmth = msgspec.field(default_factory=Warmth)


def take_samples(
    gathered: Gathered, block: Block, on: NDArray[np.bool_], pauses: NDArray[np.int64], context: Context
) -> None:
    """Show samples; changes ``gathered``.

    Args:
        on: shape (n,), whether the pump runs.
        pauses: shape (n,), ms since the sample before.
    """
    at_ms = block.at_ms
    gathered.first_ms = int(at_ms[0]) if gathered.first_ms is None else gathered.first_ms
    gathered.last_ms = int(at_ms[-1])
    lasted = np.minimum(np.maximum(pauses, 0), signals.MAX_PAUSE_MS)
    counted = np.where(on, lasted, 0)
    pump_ms = gathered.pump_ms + np.cumsum(counted)
    usual_kpa, has_vacuum = nominal.altitude_kpa(context.altitude_m), context.limits.architecture != "bench"
    filter_index.take(gathered.filter, block, counted, pump_ms, usual_kpa, has_vacuum=has_vacuum)
    gathered.pump_ms = int(pump_ms[-1])
    _take_over_vacuum(gathered, block, lasted, context.limits)
    for name in MASSES:
        grams = block.channels.get(name)
        if grams is not None:
            mass.take(gathered.masses.setdefault(name, mass.State()), at_ms, grams)


def take_segment(gathered: Gathered, segment: Segment, context: Context, *, is_self_test: bool) -> None:
    """Show a segment that ended; changes ``gathered``."""
    if segment.state == "off":
        gathered.off_s += segment.duration_s
    elif segment.settled_s > 0:
        surroundings = {name: segment.mean[name] for name in SURROUNDINGS if name in segment.mean}
        add(gathered.surroundings, surroundings, segment.settled_s)
    _warm(gathered.warmth, segment, context)
    settle_contact(gathered, is_capped=segment.state == "capped")
    if segment.state == "open" and segment.settled_s > 0:
        add(gathered.open, segment.mean, segment.settled_s)
        noise.take(gathered.noise, segment)
        means = segment.mean
        at = nominal.conditions(context, *(means.get(name) for name in SURROUNDINGS))
        since_ms = segment.at_ms - (gathered.first_ms or 0)
        filter_index.take_open(gathered.filter, segment, since_ms, nominal.type_machine(context), at)
    elif segment.state == "contact" and segment.previous != "capped" and not is_self_test:
        gathered.pending = segment
    elif segment.state == "capped" and segment.settled_s > (gathered.capped.settled_s if gathered.capped else 0):
        gathered.capped = segment


def settle_contact(gathered: Gathered, *, is_capped: bool) -> None:
    """Decide on the contact that waits: it was a stroke, unless it only led to a capped tip."""
    segment, gathered.pending = gathered.pending, None
    if segment is None or is_capped:
        return
    gathered.contact_s += segment.duration_s
    gathered.longest_s = max(gathered.longest_s, segment.duration_s)
    if segment.duration_s >= MIN_STROKE_S:
        gathered.stroke_count += 1
    if segment.settled_s > 0:
        strokes.take(gathered.strokes, segment)
        noise.take(gathered.noise, segment)


def conditions(gathered: Gathered, context: Context) -> nominal.Conditions:
    """Mean surroundings while pumping; what is not measured is assumed."""
    means = mean(gathered.surroundings)
    return nominal.conditions(context, *(means.get(name) for name in SURROUNDINGS))


def _take_over_vacuum(gathered: Gathered, block: Block, lasted: NDArray[np.int64], limits: Limits) -> None:
    vacuum = block.channels.get("vacuum_handpiece_kpa")
    if vacuum is None:
        return
    if limits.over_vacuum_kpa is not None:
        gathered.over_limit_ms += int(lasted[vacuum > limits.over_vacuum_kpa].sum())
    if limits.over_vacuum_margin_kpa is not None:
        margin = block.channel("setpoint_kpa") + limits.over_vacuum_margin_kpa
        gathered.over_setpoint_ms += int(lasted[vacuum > margin].sum())


def _warm(warmth: Warmth, segment: Segment, context: Context) -> None:
    """Let the model warm or cool for the length of a segment."""
    pump_c, room_c = segment.mean.get("pump_temp_c"), segment.mean.get("ambient_temp_c")
    if pump_c is not None and room_c is not None:
        warmth.measured_k, warmth.pump_c = pump_c - room_c, pump_c
        if warmth.model_k is None:
            warmth.model_k = pump_c - room_c
            return
    if warmth.model_k is None:
        return
    ratio = 0.0
    if segment.state != "off":
        ratio = segment.mean.get("vacuum_inlet_kpa", 0.0) / segment.mean.get("ambient_kpa", signals.STANDARD_KPA)
    last = nominal.WARMING_STEPS - 1
    rise, settling = nominal.warming(context.limits.architecture)[min(max(round(last * ratio), 0), last)]
    target = 0.0 if segment.state == "off" else rise
    warmth.model_k += (1 - math.exp(-segment.duration_s / settling)) * (target - warmth.model_k)
