"""What one entry of a device's log means: from its samples and what is remembered to what is new. Pure.

Every component of a machine is judged by itself, on its own view of the channels. Entries come in log order; the result
of a whole log does not depend on how it is cut into steps.
"""

from collections.abc import Iterable
from dataclasses import replace

import msgspec

from dermafleet.contracts.records import Session
from services.alerts.context import Context
from services.alerts.detectors import filter_clogged
from services.alerts.detectors.filter_clogged import State as FilterState
from services.alerts.entries import EventBody, component_view
from services.alerts.findings import Findings
from services.alerts.observation import Block, Observation, Origin

VERSION = 2
"""Of `Memory`'s layout; what an older version remembered is forgotten, alarms stay."""


class ComponentMemory(msgspec.Struct, omit_defaults=True):
    """What is remembered of one component: one state per module, and since when which faults stand.

    Attributes:
        seen: fault that a detector holds to be there → event time (ms) at which it was last seen.
    """

    filter_clogged: FilterState = msgspec.field(default_factory=FilterState)
    seen: dict[str, int] = {}


class Memory(msgspec.Struct, omit_defaults=True):
    """What is remembered of one device between its entries; JSON in `detector_state.state`."""

    components: dict[str, ComponentMemory] = {}


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
    for component, names in context.limits.components.items():
        part = memory.components.setdefault(component, ComponentMemory())
        view = component_view(block, names)
        observations = _named(component, filter_clogged.evaluate(part.filter_clogged, view, context.limits))
        _note_seen(part, observations, int(block.at_ms[-1]))
        findings.observations += observations
    return findings


def take_session(memory: Memory, session: Session, origin: Origin, at_ms: int, context: Context) -> Findings:
    """Take in one session entry, told at this event time; changes ``memory``."""
    return Findings()


def take_event(memory: Memory, event: EventBody, origin: Origin, at_ms: int, context: Context) -> Findings:
    """Take in one event entry, told at this event time; changes ``memory``."""
    return Findings()


def last_seen(memory: Memory) -> dict[tuple[str, str], int]:
    """Per (component, fault) held to be there: the event time (ms) at which it was last seen."""
    return {(component, fault): at for component, part in memory.components.items() for fault, at in part.seen.items()}


def _named(component: str, observations: Iterable[Observation]) -> list[Observation]:
    """The observations as those of this component."""
    return [each if each.component == component else replace(each, component=component) for each in observations]


def _note_seen(part: ComponentMemory, observations: Iterable[Observation], at_ms: int) -> None:
    for each in observations:
        if each.severity is None:
            part.seen.pop(each.fault, None)
        else:
            part.seen[each.fault] = at_ms
