"""What one entry of a device's log means: from its samples and what is remembered to what is new. Pure.

Every component of a machine is judged by itself, on its own view of the channels. The order within an entry: sensors
and momentary faults, then segments and features; a session's end leads to baselines, diagnosis and forecast. Entries
come in log order; the result of a whole log does not depend on how it is cut into steps.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec

from dermafleet.contracts.records import Session as SessionEntry
from services.alerts import baselines, intake_filter, observability, rules
from services.alerts.baselines import State as BaselineState
from services.alerts.context import Context
from services.alerts.detectors import fast, filter_clogged
from services.alerts.detectors.fast import State as FastState
from services.alerts.diagnosis import diagnose, observable
from services.alerts.diagnosis.diagnose import State as DiagnosisState
from services.alerts.entries import EventBody, component_view, join, maintenance_in
from services.alerts.features import nominal, segments, session
from services.alerts.features.segments import State as SegmentState
from services.alerts.features.session import State as SessionState
from services.alerts.features.types import SessionFeatures
from services.alerts.findings import Baseline, FilterForecast, FilterLife, Findings, Observability
from services.alerts.intake_filter import State as FilterState
from services.alerts.observability import Sight
from services.alerts.observability import State as ObservabilityState
from services.alerts.observation import Block, Observation, Origin
from services.alerts.rules import States as RuleStates

VERSION = 3
"""Of `Memory`'s layout; what an older version remembered is forgotten, alarms stay."""


class ComponentMemory(msgspec.Struct, omit_defaults=True):
    """What is remembered of one component: a state per module, and which faults stand.

    Attributes:
        is_doubted: the last session was not judged, because a sensor became suspect during it.
        momentary, lasting: faults that are held to be there → event time (ms) at which they were last seen: those that
            samples show, and those that a session shows.
    """

    fast: FastState = msgspec.field(default_factory=FastState)
    filter: FilterState = msgspec.field(default_factory=FilterState)
    segments: SegmentState = msgspec.field(default_factory=SegmentState)
    session: SessionState = msgspec.field(default_factory=SessionState)
    baselines: BaselineState = msgspec.field(default_factory=BaselineState)
    diagnosis: DiagnosisState = msgspec.field(default_factory=DiagnosisState)
    observability: ObservabilityState = msgspec.field(default_factory=ObservabilityState)
    rules: RuleStates = {}
    is_doubted: bool = False
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
        _take_samples(_Part(component, part, context.of(component), findings), view, memory.purpose, raw=block)
    return findings


def take_blocks(memory: Memory, blocks: Sequence[Block], context: Context) -> tuple[Memory, list[Findings]]:
    """Take in telemetry entries that follow each other: as `take_block` one by one, but several times as fast.

    Most stretches of a log tell nothing new. So they are judged in one go; where something is found, by halves down to
    the entry, because it is told with the place that led to it.

    Returns:
        what is remembered then (``memory`` itself is spent), and the findings of each entry.
    """
    if len(blocks) > 1:
        trial = recall(to_document(memory), VERSION)
        if take_block(trial, join(blocks), context).is_empty:
            return trial, [Findings() for _ in blocks]
        half = len(blocks) // 2
        memory, first = take_blocks(memory, blocks[:half], context)
        memory, second = take_blocks(memory, blocks[half:], context)
        return memory, first + second
    return memory, [take_block(memory, block, context) for block in blocks]


def take_session(memory: Memory, entry: SessionEntry, origin: Origin, at_ms: int, context: Context) -> Findings:
    """Take in one session entry, told at this event time; changes ``memory``."""
    findings = Findings()
    is_known = memory.session_id == entry.session
    for component in context.limits.components:
        part = memory.components.setdefault(component, ComponentMemory())
        if not is_known or entry.op == "end":
            _end_session(_Part(component, part, context.of(component), findings), origin, at_ms)
        if not is_known and entry.op != "end":
            tip = nominal.tip_name(entry.tip_type, entry.tip_size_mm)
            session.begin(part.session, entry.session, entry.purpose, tip, at_ms, component=component)
    is_over = entry.op == "end"
    memory.session_id = None if is_over else entry.session
    memory.purpose = None if is_over else entry.purpose
    return findings


def take_event(memory: Memory, event: EventBody, origin: Origin, at_ms: int, context: Context) -> Findings:
    """Take in one event entry, told at this event time; changes ``memory``."""
    findings = Findings()
    done = maintenance_in(event)
    if done is not None and done.component in context.limits.components:
        part = memory.components.setdefault(done.component, ComponentMemory())
        fast.reset(part.fast, done.type)
        baselines.reset(part.baselines, done.type)
        diagnose.maintained(part.diagnosis, done.type)
        lives = intake_filter.replaced(part.filter, done.type, context.of(done.component))
        findings.lives += _named(done.component, lives)
    return findings


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

    def note(self, standing: dict[str, int], observations: Iterable[Observation], at_ms: int) -> None:
        """Find these for this component; ``standing`` becomes what is there at this event time."""
        for each in observations:
            if each.severity is None:
                standing.pop(each.fault, None)
            else:
                standing[each.fault] = at_ms
            self.findings.observations.append(
                each if each.component == self.name else replace(each, component=self.name)
            )
        standing.update(dict.fromkeys(standing, at_ms))


def _take_samples(part: _Part, block: Block, purpose: str | None, *, raw: Block) -> None:
    memory, context, end_ms = part.memory, part.context, int(block.at_ms[-1])
    is_self_test = None if purpose is None else purpose == "self_test"
    taken = fast.take(memory.fast, block, context, component=part.name, is_self_test=is_self_test)
    is_explained = diagnose.holds_back(memory.diagnosis)
    filtered = intake_filter.take_samples(memory.filter, taken.block, context, is_explained=is_explained)
    start_ms = int(block.at_ms[0])
    intake_filter.distrust(memory.filter, (k for k, v in memory.fast.channels.doubted.items() if v >= start_ms))
    closed = segments.take(memory.segments, taken.block)
    ruled = rules.take(memory.rules, context.rules, taken.block, closed, component=part.name, raw=raw)
    for each in ruled:
        memory.lasting.pop(each.fault, None)
    part.note(memory.momentary, [*taken.observations, *filtered.observations, *ruled], end_ms)
    part.findings.lives += _named(part.name, filtered.lives)
    for features in session.take(memory.session, taken.block, closed, context):
        _judge_session(part, features, Origin(features.session_id, 0))
    if taken.observations:
        _look(part, end_ms)


def _end_session(part: _Part, origin: Origin, at_ms: int) -> None:
    """End what runs, if anything does."""
    if part.memory.session.session_id is None:
        return
    closed = segments.close(part.memory.segments)
    ruled = rules.close(part.memory.rules, part.context.rules, closed, origin, component=part.name)
    part.note(part.memory.momentary, ruled, at_ms)
    since_ms = part.memory.session.gathered.first_ms
    features = session.end(part.memory.session, at_ms, part.context, closed=closed)
    if features is not None:
        part.memory.is_doubted = not part.memory.is_doubted and _became_suspect(part.memory, since_ms)
        _judge_session(part, features, origin)


def _judge_session(part: _Part, features: SessionFeatures, origin: Origin) -> None:
    """What a finished session says of the component's condition."""
    memory, context, found = part.memory, part.context, part.findings
    if features.component != part.name:
        features = msgspec.structs.replace(features, component=part.name)
    found.features.append(features)
    if memory.is_doubted:
        ruled = rules.judge(memory.rules, context.rules, features, origin)
        part.note(memory.lasting, ruled, features.ended_ms)
        return
    normalised = baselines.take(memory.baselines, features, context)
    found.baselines += _named(part.name, normalised.learned)
    slow = (
        []
        if context.limits.architecture == "bench"
        else diagnose.take(memory.diagnosis, features, normalised, context, origin)
    )
    filtered = intake_filter.take_session(
        memory.filter, features, normalised, context, origin, is_explained=diagnose.holds_back(memory.diagnosis)
    )
    found.forecasts += _named(part.name, filtered.forecasts)
    found.lives += _named(part.name, filtered.lives)
    part.note(memory.momentary, filtered.observations, features.ended_ms)
    part.note(memory.lasting, [*slow, *rules.judge(memory.rules, context.rules, features, origin)], features.ended_ms)
    if features.purpose == "self_test":
        observability.note_self_test(memory.observability, features.ended_ms)
    _look(part, features.ended_ms)


def _became_suspect(memory: ComponentMemory, since_ms: int | None) -> bool:
    """Whether a sensor did so since the session's first sample: until that was certain, its wrong values were gathered.

    Samples are gathered from the pump's start on, before the first contact that begins the session.
    """
    doubted = memory.fast.channels.doubted.values()
    return since_ms is not None and any(at_ms >= since_ms for at_ms in doubted)


def _look(part: _Part, at_ms: int) -> None:
    """Tell what can be seen from now on, where that has changed."""
    memory, context = part.memory, part.context

    def slow(channels: frozenset[str], has_self_test: bool) -> Mapping[str, Sight]:
        if context.limits.architecture == "bench":
            return {filter_clogged.FAULT: intake_filter.see(channels)}
        return observable.find(context.limits.architecture, frozenset(channels), has_self_test=has_self_test)

    part.findings.observability += observability.take(
        memory.observability, memory.fast.channels, context, slow=slow, at_ms=at_ms, component=part.name
    )


Told = TypeVar("Told", Baseline, FilterForecast, FilterLife, Observability)


def _named(component: str, told: Iterable[Told]) -> list[Told]:
    """The same of this component."""
    return [
        each if each.component == component else msgspec.structs.replace(each, component=component) for each in told
    ]
