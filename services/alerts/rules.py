"""Users' rules: the same code live and in a backtest. Pure; depends only on the samples and their order."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from dermafleet.contracts.channels import CHANNEL_BY_NAME
from dermafleet.contracts.rules import SAMPLED, SESSION_FIELDS, Rule
from services.alerts.features.types import Segment, SessionFeatures
from services.alerts.observation import Block, Observation, Origin, utc

MAX_PAUSE_MS = 5_000
"""A longer pause between samples counts as this much: nobody watched."""


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


def take(
    states: States, rules: Iterable[Rule], block: Block, segments: Sequence[Segment], *, component: str, raw: Block
) -> list[Observation]:
    """Show the rules one entry of a component, and clear what those that hold no longer had raised.

    Args:
        states: of this component; changed.
        block, segments: the component's trusted samples, and the segments that they closed.
        raw: the entry as it came, with the maker's own channels.
    """
    own = {name: values for name, values in raw.channels.items() if name not in CHANNEL_BY_NAME}
    seen = replace(block, channels={**own, **block.channels}) if own else block
    held = [rule for rule in rules if rule.component == component]
    gone = _end(states, held, int(block.at_ms[0]), Origin(block.epoch, block.seq), component) if states else []
    return [*gone, *watch(states, held, seen, segments)]


def close(
    states: States, rules: Iterable[Rule], segments: Sequence[Segment], origin: Origin, *, component: str
) -> list[Observation]:
    """Show the rules about channels what a session's end closed; changes ``states``."""
    found: list[Observation] = []
    for rule in rules:
        if rule.component == component and rule.feature is None and rule.state not in SAMPLED:
            found += _take(rule, recall(states, rule), _pieces_of_segments(rule, segments), origin)
    return found


def watch(states: States, rules: Iterable[Rule], block: Block, segments: Sequence[Segment]) -> list[Observation]:
    """Show the rules about channels one entry's samples and the segments that it closed; changes ``states``."""
    found: list[Observation] = []
    for rule in rules:
        if rule.feature is None:
            state = recall(states, rule)
            is_sampled = rule.state in SAMPLED
            pieces = _pieces_of_block(rule, state, block) if is_sampled else _pieces_of_segments(rule, segments)
            found += _take(rule, state, pieces, Origin(block.epoch, block.seq))
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
    """A session's quantity by one of the names in `dermafleet.contracts.rules.FEATURES`; None = not measured."""
    head, _, channel = name.partition(".")
    if channel:
        return _means(features, head).get(channel)
    value = features.values.get(name, getattr(features, name) if name in SESSION_FIELDS else None)
    return None if value is None or not math.isfinite(value) else float(value)


def _means(features: SessionFeatures, state: str) -> dict[str, float | None]:
    """What was measured in one state; in contact, at the set point with the most strokes."""
    if state == "open" and features.open:
        return {**features.open.mean}
    if state == "contact" and features.contacts:
        return {**max(features.contacts, key=lambda contact: contact.strokes).mean}
    if state == "capped" and (capped := features.capped):
        return {**capped.mean, "pump_down_s": capped.pump_down_s, "leak_down_kpa_s": capped.leak_down_kpa_s}
    return {}


def recall(states: States, rule: Rule) -> State:
    """The rule's state; a new version keeps the opinion told, because its alarm stands."""
    state = states.setdefault(rule.key, State(version=rule.version))
    if state.version != rule.version:
        states[rule.key] = state = State(version=rule.version, is_raised=state.is_raised)
    return state


def _end(states: States, rules: Iterable[Rule], at_ms: int, origin: Origin, component: str) -> list[Observation]:
    """Forget the rules that hold here no longer: retired, or not for this model or component any more."""
    found = []
    for key in sorted(states.keys() - {rule.key for rule in rules}):
        state = states.pop(key)
        if state.is_raised:
            fault = f"rule_{key}"
            found.append(
                Observation(
                    component=component,
                    fault=fault,
                    severity=None,
                    at=utc(at_ms),
                    origin=origin,
                    confidence=1.0,
                    detector=fault,
                    detector_version=state.version,
                    reason="the rule holds here no longer: it was retired, or is for other machines now",
                )
            )
    return found


class _Piece(msgspec.Struct, frozen=True):
    """A value, when it was measured, and for how many ms, or sessions, it stands."""

    at_ms: int
    value: float
    weight: float
    sample: int = 0


def _take(rule: Rule, state: State, pieces: Iterable[_Piece], origin: Origin) -> list[Observation]:
    found: list[Observation] = []
    for piece in pieces:
        if _count(rule, state, piece, needed=rule.duration_s * 1000):
            found.append(_observation(rule, state, piece.at_ms, replace(origin, sample=piece.sample)))
    return found


def _count(rule: Rule, state: State, piece: _Piece, *, needed: float) -> bool:
    """Move on by one piece; True = the opinion changed."""
    if not (_clears(rule, piece.value) if state.is_raised else _raises(rule, piece.value)):
        state.held = None
        return False
    if state.held is None:
        # A sample says nothing of the time before it; a segment or a session was like this all along.
        state.held = 0.0 if rule.feature is None and rule.state in SAMPLED else piece.weight
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
        at=utc(at_ms),
        origin=origin,
        confidence=1.0,
        detector=rule.fault,
        detector_version=rule.version,
        reason=f"{rule.quantity} is {state.value:.6g}, {side} {level:.6g}",
        detail={
            "rule": rule.name,
            "message": rule.message,
            "version": rule.version,
            "quantity": rule.quantity,
            "value": round(state.value, 6),
            "level": level,
        },
    )
