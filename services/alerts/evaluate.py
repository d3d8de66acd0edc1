"""What one entry of a device's log means: from its samples and what is remembered to what is new. Pure.

Every component of a machine is judged by itself, on its own view of the channels. The order within an entry: sensors
and momentary faults, then segments and features; a session's end leads to baselines, diagnosis and forecast. Entries
come in log order; the result of a whole log does not depend on how it is cut into steps.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from dermafleet.contracts.records import Session as SessionEntry
from services.alerts import rules
from services.alerts.context import Context
from services.alerts.detectors import fast, filter_clogged
from services.alerts.detectors.fast import State as FastState
from services.alerts.detectors.filter_clogged import State as FilterState
from services.alerts.entries import EventBody, component_view
from services.alerts.features import nominal, segments, session
from services.alerts.features.segments import State as SegmentState
from services.alerts.features.session import State as SessionState
from services.alerts.features.types import SessionFeatures
from services.alerts.findings import Findings
from services.alerts.observation import Block, Observation, Origin
from services.alerts.rules import States as RuleStates

VERSION = 2
"""Of `Memory`'s layout; what an older version remembered is forgotten, alarms stay."""


class ComponentMemory(msgspec.Struct, omit_defaults=True):
    """What is remembered of one component: a state per module, and which faults stand.

    Attributes:
        momentary, lasting: faults that are held to be there → event time (ms) at which they were last seen: those that
            samples show, and those that a session shows.
    """

    fast: FastState = msgspec.field(default_factory=FastState)
    filter_clogged: FilterState = msgspec.field(default_factory=FilterState)
    segments: SegmentState = msgspec.field(default_factory=SegmentState)
    session: SessionState = msgspec.field(default_factory=SessionState)
    rules: RuleStates = {}
    momentary: dict[str, int] = {}
    lasting: dict[str, int] = {}


class Memory(msgspec.Struct, omit_defaults=True):
    """What is remembered of one device between its entries; JSON in `detector_state.state`.

    Attributes:
        session_id, purpose: of the session that runs; None = none does.
    """

    components: dict[str, ComponentMemory] = {}
    session_id: str | None = None
    purpose: str | None = None


_decoder = msgspec.json.Decoder(Memory)
_encoder = msgspec.json.Encoder()


def recall(document: str | bytes, version: int) -> Memory:
    """What was remembered; nothing if another version wrote it."""
    if version != VERSION:
        return Memory()
    try:
        return _decoder.decode(document)
    except msgspec.ValidationError:
        return Memory()


def to_document(memory: Memory) -> str:
    """As JSON; `recall` gives the same memory back."""
    return _encoder.encode(memory).decode()


def take_block(memory: Memory, block: Block, context: Context) -> Findings:
    """Take in one telemetry entry; changes ``memory``."""
    findings = Findings()
    if not len(block.at_ms):
        return findings
    for component, names in context.limits.components.items():
        part = memory.components.setdefault(component, ComponentMemory())
        view = component_view(block, names)
        _take_samples(_Part(component, part, context, findings), view, memory.purpose, raw=block)
    return findings


def take_session(memory: Memory, entry: SessionEntry, origin: Origin, at_ms: int, context: Context) -> Findings:
    """Take in one session entry, told at this event time; changes ``memory``."""
    findings = Findings()
    is_known = memory.session_id == entry.session
    for component in context.limits.components:
        part = memory.components.setdefault(component, ComponentMemory())
        if not is_known or entry.op == "end":
            _end_session(_Part(component, part, context, findings), origin, at_ms)
        if not is_known and entry.op != "end":
            tip = nominal.tip_name(entry.tip_type, entry.tip_size_mm)
            session.begin(part.session, entry.session, entry.purpose, tip, at_ms, component=component)
    is_over = entry.op == "end"
    memory.session_id = None if is_over else entry.session
    memory.purpose = None if is_over else entry.purpose
    return findings


def take_event(memory: Memory, event: EventBody, origin: Origin, at_ms: int, context: Context) -> Findings:
    """Take in one event entry, told at this event time; changes ``memory``."""
    return Findings()


def last_seen(memory: Memory) -> dict[tuple[str, str], int]:
    """Per (component, fault) held to be there: the event time (ms) at which it was last seen."""
    return {
        (component, fault): at_ms
        for component, part in memory.components.items()
        for fault, at_ms in {**part.lasting, **part.momentary}.items()
    }


@dataclass(frozen=True, slots=True)
class _Part:
    """One component while one entry is taken in."""

    name: str
    memory: ComponentMemory
    context: Context
    findings: Findings


def _take_samples(part: _Part, block: Block, purpose: str | None, *, raw: Block) -> None:
    memory, context = part.memory, part.context
    is_self_test = None if purpose is None else purpose == "self_test"
    taken = fast.take(memory.fast, block, context, component=part.name, is_self_test=is_self_test)
    opinions = [*taken.observations, *filter_clogged.evaluate(memory.filter_clogged, taken.block, context.limits)]
    closed = segments.take(memory.segments, taken.block)
    ruled = rules.take(memory.rules, context.rules, taken.block, closed, component=part.name, raw=raw)
    for each in ruled:
        memory.lasting.pop(each.fault, None)
    part.findings.observations += _note(memory.momentary, part.name, [*opinions, *ruled], int(block.at_ms[-1]))
    for features in session.take(memory.session, taken.block, closed, context):
        _judge_session(part, features, Origin(block.epoch, block.seq, len(block.at_ms) - 1))


def _end_session(part: _Part, origin: Origin, at_ms: int) -> None:
    """End what runs, if anything does."""
    if part.memory.session.session_id is None:
        return
    closed = segments.close(part.memory.segments)
    ruled = rules.close(part.memory.rules, part.context.rules, closed, origin, component=part.name)
    part.findings.observations += _note(part.memory.momentary, part.name, ruled, at_ms)
    features = session.end(part.memory.session, at_ms, part.context, closed=closed)
    if features is not None:
        _judge_session(part, features, origin)


def _judge_session(part: _Part, features: SessionFeatures, origin: Origin) -> None:
    """What a finished session says of the component's condition."""
    if features.component != part.name:
        features = msgspec.structs.replace(features, component=part.name)
    part.findings.features.append(features)
    ruled = rules.judge(part.memory.rules, part.context.rules, features, origin)
    part.findings.observations += _note(part.memory.lasting, part.name, ruled, features.ended_ms)


def _note(
    standing: dict[str, int], component: str, observations: Iterable[Observation], at_ms: int
) -> list[Observation]:
    """The observations as those of this component; ``standing`` becomes what is there at this event time."""
    named = [each if each.component == component else replace(each, component=component) for each in observations]
    for each in named:
        if each.severity is None:
            standing.pop(each.fault, None)
        else:
            standing[each.fault] = at_ms
    standing.update(dict.fromkeys(standing, at_ms))
    return named
