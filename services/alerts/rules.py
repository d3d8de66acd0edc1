"""Users' rules: the same code live and in a backtest. Pure; depends only on the samples and their order."""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from dermafleet.contracts.rules import Rule
from services.alerts.features.types import Segment, SessionFeatures
from services.alerts.observation import Block, Observation, Origin

MAX_PAUSE_MS = 5_000
"""A longer pause between samples counts as this much: nobody watched."""

_SAMPLED = ("any", "on", "off")
"""States that a single sample shows; the others are known once the segment is over."""


class State(msgspec.Struct):
    """What is remembered of one rule on one component.

    Attributes:
        version: of the rule; another one begins anew.
        is_raised: the opinion last told.
        held: for how many ms, or sessions, the opposite of that opinion has held without a break; None = it does not.
        value: the newest value that spoke against it; last_ms: event time of the newest sample.
    """

    version: int = 0
    is_raised: bool = False
    held: float | None = None
    value: float = 0.0
    last_ms: int | None = None


States = dict[str, State]
"""By rule key."""


def watch(states: States, rules: Iterable[Rule], block: Block, segments: Sequence[Segment]) -> list[Observation]:
    """Show the rules about channels one entry's samples and the segments that it closed; changes ``states``."""
    found: list[Observation] = []
    for rule in rules:
        if rule.feature is None:
            state = recall(states, rule)
            is_sampled = rule.state in _SAMPLED
            pieces = _pieces_of_block(rule, state, block) if is_sampled else _pieces_of_segments(rule, segments)
            found += _take(rule, state, pieces, block)
    return found


def judge(states: States, rules: Iterable[Rule], features: SessionFeatures, origin: Origin) -> list[Observation]:
    """Show the rules about features one finished session; changes ``states``."""
    found: list[Observation] = []
    for rule in rules:
        if rule.feature is None or features.component != rule.component:
            continue
        value = read_feature(features, rule.feature)
        if value is None:
            continue
        state = recall(states, rule)
        if _count(rule, state, _Piece(features.ended_ms, value, 1.0), needed=rule.sessions):
            found.append(_observation(rule, state, features.ended_ms, origin))
    return found


def read_feature(features: SessionFeatures, name: str) -> float | None:
    """A session's quantity by name: a field, one of ``values``, or ``open.<channel>`` / ``contact.<channel>``."""
    head, _, channel = name.partition(".")
    if channel:
        means = {
            "open": features.open.mean if features.open else {},
            "contact": features.contacts[0].mean if features.contacts else {},
            "capped": features.capped.mean if features.capped else {},
        }.get(head, {})
        return means.get(channel)
    value = features.values.get(name, getattr(features, name, None) if name in _FIELDS else None)
    return None if value is None or not math.isfinite(value) else float(value)


_FIELDS = ("filter_index", "filter_index_slope", "pump_s", "contact_s", "strokes", "ambient_kpa", "mains_v")


def recall(states: States, rule: Rule) -> State:
    """The rule's state; a new version keeps the opinion told, because its alarm stands."""
    state = states.setdefault(rule.key, State(version=rule.version))
    if state.version != rule.version:
        states[rule.key] = state = State(version=rule.version, is_raised=state.is_raised)
    return state


class _Piece(msgspec.Struct, frozen=True):
    """A value, when it was measured, and for how many ms, or sessions, it stands."""

    at_ms: int
    value: float
    weight: float
    sample: int = 0


def _take(rule: Rule, state: State, pieces: Iterable[_Piece], block: Block) -> list[Observation]:
    found: list[Observation] = []
    for piece in pieces:
        if _count(rule, state, piece, needed=rule.duration_s * 1000):
            found.append(_observation(rule, state, piece.at_ms, Origin(block.epoch, block.seq, piece.sample)))
    return found


def _count(rule: Rule, state: State, piece: _Piece, *, needed: float) -> bool:
    """Move on by one piece; True = the opinion changed."""
    if not (_clears(rule, piece.value) if state.is_raised else _raises(rule, piece.value)):
        state.held = None
        return False
    if state.held is None:
        # A sample says nothing of the time before it; a segment or a session was like this all along.
        state.held = 0.0 if rule.feature is None and rule.state in _SAMPLED else piece.weight
    else:
        state.held += piece.weight
    state.value = piece.value
    if state.held < needed:
        return False
    state.is_raised, state.held = not state.is_raised, None
    return True


def _raises(rule: Rule, value: float) -> bool:
    return value > rule.level if rule.comparison == "above" else value < rule.level


def _clears(rule: Rule, value: float) -> bool:
    return value <= rule.clear_level if rule.comparison == "above" else value >= rule.clear_level


def _pieces_of_block(rule: Rule, state: State, block: Block) -> list[_Piece]:
    """The usable samples; where nothing can change, a run of them is one piece."""
    values, pump = block.channel(rule.quantity), block.channel("pump_on")
    usable = np.isfinite(values)
    if rule.state != "any":
        usable &= (pump >= 0.5) == (rule.state == "on")
    at = block.at_ms[usable]
    if not len(at):
        return []
    kept = values[usable]
    before = at[0] if state.last_ms is None else state.last_ms
    weights = np.clip(np.diff(at, prepend=before), 0, MAX_PAUSE_MS)
    state.last_ms = int(at[-1])
    places = np.flatnonzero(usable)
    if not (_any_beyond(rule, kept) or state.is_raised or state.held is not None):
        return []
    return [_Piece(int(t), float(v), float(w), int(i)) for t, v, w, i in zip(at, kept, weights, places, strict=True)]


def _any_beyond(rule: Rule, values: NDArray[np.float64]) -> bool:
    return bool((values > rule.level).any() if rule.comparison == "above" else (values < rule.level).any())


def _pieces_of_segments(rule: Rule, segments: Sequence[Segment]) -> Iterator[_Piece]:
    for segment in segments:
        value = segment.mean.get(rule.quantity)
        if segment.state == rule.state and value is not None:
            end_ms = segment.at_ms + round(segment.duration_s * 1000)
            yield _Piece(end_ms, value, segment.duration_s * 1000)


def _observation(rule: Rule, state: State, at_ms: int, origin: Origin) -> Observation:
    side = rule.comparison if state.is_raised else "back past"
    level = rule.level if state.is_raised else rule.clear_level
    return Observation(
        component=rule.component,
        fault=rule.fault,
        severity=rule.severity if state.is_raised else None,
        at=datetime.fromtimestamp(at_ms / 1000, UTC),
        origin=origin,
        confidence=1.0,
        detector=rule.fault,
        detector_version=rule.version,
        reason=f"{rule.quantity} is {state.value:.6g}, {side} {level:.6g}",
        detail={
            "rule": rule.name,
            "message": rule.message,
            "quantity": rule.quantity,
            "value": round(state.value, 6),
            "level": level,
        },
    )
