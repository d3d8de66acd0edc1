"""Stored entries shown to the detectors once more, or to other ones: nothing is projected and nothing written."""

from collections.abc import Mapping, Sequence

from dermafleet.storage.blocks import Samples
from dermafleet.storage.follow import Entry
from services.alerts import evaluate
from services.alerts.context import Context
from services.alerts.entries import may_follow, read_event, read_session, to_block
from services.alerts.evaluate import Memory
from services.alerts.observation import Block, Observation, Origin, unix_ms


def take(
    memory: Memory, epoch: str, entries: Sequence[Entry], samples: Mapping[int, Samples], context: Context
) -> tuple[Memory, list[Observation]]:
    """Show entries in order.

    Args:
        samples: of the telemetry entries, by entry number.

    Returns:
        what is remembered then (``memory`` itself is spent), and what the detectors said, oldest first.
    """
    told: list[Observation] = []
    waiting: list[Block] = []
    for entry in entries:
        block = to_block(epoch, entry, samples[entry.entry]) if entry.entry in samples else None
        if block is not None and may_follow(waiting, block):
            waiting.append(block)
            continue
        memory = _flush(memory, waiting, context, told)
        waiting = [] if block is None else [block]
        origin, at_ms = Origin(epoch, entry.seq), unix_ms(entry.first_at)
        if entry.kind == "session":
            told += evaluate.take_session(memory, read_session(entry), origin, at_ms, context).observations
        elif entry.kind == "event":
            told += evaluate.take_event(memory, read_event(entry), origin, at_ms, context).observations
    return _flush(memory, waiting, context, told), told


def _flush(memory: Memory, waiting: Sequence[Block], context: Context, told: list[Observation]) -> Memory:
    if waiting:
        memory, found = evaluate.take_blocks(memory, waiting, context)
        for findings in found:
            told += findings.observations
    return memory
