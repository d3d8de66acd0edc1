"""What one entry of a device's log means: from its samples and what is remembered to what is new. Pure.

Every component of a machine is judged by itself, on its own view of the channels. The order within an entry: sensors
and momentary faults, then segments and features; a session's end leads to baselines, diagnosis and forecast. Entries
come in log order; the result of a whole log does not depend on how it is cut into steps.
"""

from collections.abc import Iterable
from dataclasses import replace

import msgspec

from dermafleet.contracts.records import Session
from services.alerts.context import Context
from services.alerts.detectors import fast, filter_clogged
from services.alerts.detectors.fast import State as FastState
from services.alerts.detectors.filter_clogged import State as FilterState
from services.alerts.entries import EventBody, component_view
from services.alerts.findings import Findings
from services.alerts.observation import Block, Observation, Origin

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
    is_self_test = None if memory.purpose is None else memory.purpose == "self_test"
    for component, names in context.limits.components.items():
        part = memory.components.setdefault(component, ComponentMemory())
        view = component_view(block, names)
        taken = fast.take(part.fast, view, context, component=component, is_self_test=is_self_test)
        observations = [
            *taken.observations,
            *filter_clogged.evaluate(part.filter_clogged, taken.block, context.limits),
        ]
        findings.observations += _note(part.momentary, component, observations, int(block.at_ms[-1]))
    return findings


def take_session(memory: Memory, session: Session, origin: Origin, at_ms: int, context: Context) -> Findings:
    """Take in one session entry, told at this event time; changes ``memory``."""
    is_over = session.op == "end"
    memory.session_id = None if is_over else session.session
    memory.purpose = None if is_over else session.purpose
    return Findings()


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
