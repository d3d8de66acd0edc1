"""From blocks and segments to the features of a session.

What the machine does is gathered from the pump's start on, because a session is told only at its first contact; what
was gathered without a session is forgotten when the pump starts again. A machine that tells no sessions (a filter rig)
gets one per `AUTO_MS` of pumping.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from services.alerts.context import Context
from services.alerts.features import derived, filter_index, gather, mass, noise, nominal, self_test, signals, strokes
from services.alerts.features.gather import Gathered
from services.alerts.features.sums import mean
from services.alerts.features.types import (
    CappedFeatures,
    ContactFeatures,
    Means,
    OpenFeatures,
    Segment,
    SessionFeatures,
)
from services.alerts.limits import MAIN
from services.alerts.observation import Block

AUTO_MS = 600_000
AUTO_PAUSE_MS = 900_000
"""A session without a sample for so long is over."""
AUTO_PREFIX = "auto-"
MIN_ZERO_S = 1.0


class State(msgspec.Struct):
    """What is remembered between entries.

    Attributes:
        session_id, purpose, tip, component, started_ms: the session that runs; None = none.
        boot, up_ms, was_on: of the last sample.
        zeros: what the sensors showed when the pump last stood.
        gathered: since the session began, or since the pump's start before it.
    """

    session_id: str | None = None
    purpose: str = "treatment"
    tip: str = ""
    component: str = MAIN
    started_ms: int = 0
    boot: str | None = None
    up_ms: int = 0
    was_on: bool = False
    zeros: Means = {}
    gathered: Gathered = msgspec.field(default_factory=Gathered)


def begin(state: State, session_id: str, purpose: str, tip: str, at_ms: int, component: str = MAIN) -> None:
    """A session begins; changes ``state``. What has been gathered since the pump's start belongs to it."""
    state.session_id, state.purpose, state.tip = session_id, purpose, tip
    state.component, state.started_ms = component, at_ms
    if not state.was_on:
        state.gathered = Gathered()


def take(state: State, block: Block, closed: Sequence[Segment], context: Context) -> list[SessionFeatures]:
    """Show a block and the segments that ended in it; changes ``state``.

    Returns:
        features of the sessions that ended by themselves: only of machines that tell none.
    """
    done: list[SessionFeatures] = []
    waiting, rest = list(closed), block if len(block.at_ms) else None
    while rest is not None:
        piece, rest = _Piece(state, rest, context).cut()
        ended = [s for s in waiting if rest is None or _ended_ms(s) <= int(piece.block.at_ms[-1])]
        waiting = waiting[len(ended) :]
        done += _take(state, piece, ended, context)
    return done


def end(state: State, at_ms: int, context: Context, closed: Sequence[Segment] = ()) -> SessionFeatures | None:
    """The session ends; changes ``state``.

    Args:
        closed: what `segments.close` gave.

    Returns:
        its features; None if there was no session, or nothing was measured in it.
    """
    _take_segments(state, closed, context)
    session_id, state.session_id = state.session_id, None
    if session_id is None:
        return None
    gathered, state.gathered = state.gathered, Gathered()
    if gathered.pump_ms == 0 and gathered.off_s == 0:
        return None
    gather.settle_contact(gathered, is_capped=False)
    return _features(state, session_id, gathered, at_ms, context)


class _Piece:
    """The part of a block up to where something else begins: pumping without a session, or the next automatic one."""

    def __init__(self, state: State, block: Block, context: Context) -> None:
        self.block = block
        self.up_ms = signals.uptimes(block)
        self.on = signals.pumping(block)
        is_known = block.boot == state.boot
        self.pauses = signals.pauses(self.up_ms, state.up_ms if is_known else int(self.up_ms[0]))
        self.was_on = state.was_on and is_known
        self._state, self._context = state, context

    def cut(self) -> tuple["_Piece", Block | None]:
        """This piece, cut off where it ends, and what is left of the block."""
        stop = self._stop()
        if stop is None:
            return self, None
        block = self.block
        self.block = _slice(block, 0, stop)
        self.up_ms, self.on, self.pauses = self.up_ms[:stop], self.on[:stop], self.pauses[:stop]
        return self, _slice(block, stop, len(block.at_ms))

    def _stop(self) -> int | None:
        state = self._state
        pumped_ms = state.gathered.pump_ms
        if state.session_id is None:
            if not (_tells_no_sessions(self._context) and self.on[0]):
                starts = np.flatnonzero(self.on[1:] & ~self.on[:-1]) + 1
                return int(starts[0]) if len(starts) else None
            pumped_ms = 0
        elif not _is_auto(state):
            return None
        lasted = np.where(self.on, np.minimum(np.maximum(self.pauses, 0), signals.MAX_PAUSE_MS), 0)
        over = np.flatnonzero(pumped_ms + np.cumsum(lasted) >= AUTO_MS) + 1
        apart = np.flatnonzero(self.pauses[1:] >= AUTO_PAUSE_MS) + 1
        stops = [int(found[0]) for found in (over, apart) if len(found) and found[0] < len(self.on)]
        return min(stops) if stops else None


def _take(state: State, piece: _Piece, closed: Sequence[Segment], context: Context) -> list[SessionFeatures]:
    block = piece.block
    done: list[SessionFeatures | None] = []
    earlier = [segment for segment in closed if _ended_ms(segment) < int(block.at_ms[0])]
    _take_segments(state, earlier, context)
    if _is_auto(state) and (block.boot != state.boot or piece.pauses[0] >= AUTO_PAUSE_MS):
        done.append(end(state, state.gathered.last_ms, context))
    before = [segment for segment in closed[len(earlier) :] if segment.at_ms < int(block.at_ms[0])]
    tells_none = _tells_no_sessions(context)
    if state.session_id is None and piece.on[0] and (tells_none or not piece.was_on):
        _take_segments(state, before, context)
        state.gathered = Gathered()
        if tells_none:
            state.was_on = True
            begin(state, f"{AUTO_PREFIX}{block.at_ms[0]}", "treatment", "", int(block.at_ms[0]))
    else:
        before = []
    gather.take_samples(state.gathered, block, piece.on, piece.pauses, context)
    if _is_self_test(state):
        usual_kpa = nominal.altitude_kpa(context.altitude_m)
        self_test.take(state.gathered.test, block, piece.up_ms, piece.on, usual_kpa)
    _take_segments(state, closed[len(earlier) + len(before) :], context)
    state.boot, state.up_ms, state.was_on = block.boot, int(piece.up_ms[-1]), bool(piece.on[-1])
    if _is_auto(state) and state.gathered.pump_ms >= AUTO_MS:
        done.append(end(state, state.gathered.last_ms, context))
    return [features for features in done if features is not None]


def _tells_no_sessions(context: Context) -> bool:
    return context.limits.architecture == "bench"


def _is_auto(state: State) -> bool:
    return state.session_id is not None and state.session_id.startswith(AUTO_PREFIX)


def _is_self_test(state: State) -> bool:
    return state.session_id is not None and state.purpose == "self_test"


def _ended_ms(segment: Segment) -> int:
    return segment.at_ms + round(1000 * segment.duration_s)


def _slice(block: Block, first: int, last: int) -> Block:
    up_ms = block.up_ms + int(block.at_ms[first] - block.at_ms[0])
    channels = {name: values[first:last] for name, values in block.channels.items()}
    return Block(block.epoch, block.seq, block.boot, up_ms, block.at_ms[first:last], channels)


def _take_segments(state: State, closed: Sequence[Segment], context: Context) -> None:
    for segment in closed:
        if segment.state == "off" and segment.settled_s >= MIN_ZERO_S:
            state.zeros = segment.mean
        gather.take_segment(state.gathered, segment, context, is_self_test=_is_self_test(state))


def _features(state: State, session_id: str, gathered: Gathered, at_ms: int, context: Context) -> SessionFeatures:
    machine, at = nominal.type_machine(context), gather.conditions(gathered, context)
    surroundings = mean(gathered.surroundings)
    zeros = {name: value for name, value in state.zeros.items() if name in signals.GAUGES}
    zero_dp = zeros.get("filter_dp_kpa", 0.0)
    contacts = [
        _contact(strokes.features(kept, at.ambient_kpa), gathered, zeros)
        for _, kept in sorted(gathered.strokes.items(), key=lambda item: float(item[0] or 0))
    ]
    open_ = OpenFeatures(gathered.open.seconds, _less(mean(gathered.open), zeros)) if gathered.open.seconds else None
    return SessionFeatures(
        session_id=session_id,
        purpose=state.purpose,
        component=state.component,
        tip=state.tip,
        started_ms=state.started_ms,
        ended_ms=at_ms,
        pump_s=gathered.pump_ms / 1000,
        contact_s=gathered.contact_s,
        strokes=gathered.stroke_count,
        open=open_,
        contacts=contacts,
        capped=_capped(gathered, zeros),
        off_mean=state.zeros,
        ambient_kpa=surroundings.get("ambient_kpa"),
        mains_v=surroundings.get("mains_v"),
        ambient_temp_c=surroundings.get("ambient_temp_c"),
        pump_temp_c=gathered.warmth.pump_c,
        filter_index=filter_index.index(gathered.filter, machine, zero_dp),
        filter_index_slope=filter_index.slope(gathered.filter, machine, zero_dp),
        values=_values(gathered, open_, contacts, context, zero_dp),
    )


def _less(means: Means, zeros: Means) -> Means:
    return {name: value - zeros.get(name, 0.0) for name, value in means.items()}


def _contact(contact: ContactFeatures, gathered: Gathered, zeros: Means) -> ContactFeatures:
    return msgspec.structs.replace(contact, mean=_less(contact.mean, zeros), crystal_g_per_s=_crystal_rate(gathered))


def _crystal_rate(gathered: Gathered) -> float | None:
    jar = gathered.masses.get("crystal_jar_g")
    found = mass.first_and_last(jar) if jar is not None else None
    if found is None or gathered.contact_s < strokes.MIN_RATE_S:
        return None
    return (found[0] - found[1]) / gathered.contact_s


def _capped(gathered: Gathered, zeros: Means) -> CappedFeatures | None:
    """Of the self-test, else of the longest time that the tip was found closed."""
    found = self_test.features(gathered.test)
    if found is None and gathered.capped is not None:
        found = CappedFeatures(plateau=True, mean=gathered.capped.mean)
    return None if found is None else msgspec.structs.replace(found, mean=_less(found.mean, zeros))


def _values(
    gathered: Gathered,
    open_: OpenFeatures | None,
    contacts: Sequence[ContactFeatures],
    context: Context,
    zero_dp: float,
) -> dict[str, float]:
    """The scalar quantities by name; docs/features.md lists them."""
    machine, at = nominal.type_machine(context), gather.conditions(gathered, context)
    envelope = strokes.envelope_of(contacts)
    values = derived.network(open_.mean if open_ else {}, envelope, machine, at)
    values["open_s"] = gathered.open.seconds
    values["off_s"] = gathered.off_s
    values["longest_dwell_s"] = gathered.longest_s
    values["over_vacuum_s"] = gathered.over_limit_ms / 1000
    values["over_setpoint_s"] = gathered.over_setpoint_ms / 1000
    if gathered.stroke_count:
        values["stroke_s"] = gathered.contact_s / gathered.stroke_count
    for name, kept in gathered.masses.items():
        grams = mass.first_and_last(kept)
        if grams is not None:
            stem = name.removesuffix("_g")
            values[f"{stem}_first_g"], values[f"{stem}_last_g"] = grams
    for name, kpa in noise.of_feed(gathered.noise).items():
        values[f"feed_noise_{name}_kpa"] = kpa
    quarters = filter_index.first_and_last(gathered.filter, machine, zero_dp)
    if quarters is not None:
        values["filter_index_first"], values["filter_index_last"] = quarters
    flow, drop = filter_index.mean_flow(gathered.filter), filter_index.mean_drop(gathered.filter, zero_dp)
    if flow is not None and drop is not None:
        values["filter_flow_lpm_actual"], values["filter_dp_kpa"] = flow, drop
    warmth = gathered.warmth
    if warmth.measured_k is not None and warmth.model_k is not None:
        values["pump_rise_k"], values["thermal_residual_k"] = warmth.measured_k, warmth.measured_k - warmth.model_k
    return values
