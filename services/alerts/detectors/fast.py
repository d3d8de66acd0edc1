"""All detectors that judge samples within seconds to minutes: the sensors first, then those that rely on them."""

from dataclasses import dataclass

import msgspec

from services.alerts.context import Context
from services.alerts.detectors import channels, frames, over_vacuum
from services.alerts.detectors.channels import State as ChannelsState
from services.alerts.detectors.frames import Partial
from services.alerts.detectors.over_vacuum import State as OverVacuumState
from services.alerts.limits import MAIN
from services.alerts.observation import Block, Observation


class State(msgspec.Struct):
    """What they remember of one component between entries."""

    partial: Partial = msgspec.field(default_factory=Partial)
    channels: ChannelsState = msgspec.field(default_factory=ChannelsState)
    over_vacuum: OverVacuumState = msgspec.field(default_factory=OverVacuumState)


@dataclass(frozen=True, slots=True)
class Taken:
    """What one entry led to.

    Attributes:
        observations: opinions that changed, oldest first.
        block: the entry without the values of suspect channels, for the detectors after these.
    """

    observations: list[Observation]
    block: Block


def take(
    state: State, block: Block, context: Context, *, component: str = MAIN, is_self_test: bool | None = None
) -> Taken:
    """Take in one telemetry entry of a component; changes `state`.

    What it finds depends on the samples and their order, not on how they are cut into entries.

    Args:
        is_self_test: whether the machine is in a session of purpose self_test; None = it tells no sessions.
    """
    complete = frames.take(state.partial, block, frames.matrix(block))
    found = channels.watch(state.channels, complete, block, context, component=component)
    block = channels.trusted(state.channels, block)
    found += over_vacuum.watch(state.over_vacuum, block, context, component=component, is_self_test=is_self_test)
    return Taken(sorted(found, key=lambda each: each.origin.sample), block)
