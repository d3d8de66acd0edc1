"""All detectors that judge samples within seconds to minutes: the sensors first, then those that rely on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from services.alerts.context import Context
from services.alerts.detectors import channels, frames, motor, over_vacuum, rests, supply
from services.alerts.detectors.frames import Partial
from services.alerts.detectors.health import State as ChannelsState
from services.alerts.detectors.motor import State as MotorState
from services.alerts.detectors.over_vacuum import State as OverVacuumState
from services.alerts.detectors.rests import State as RestsState
from services.alerts.detectors.supply import State as SupplyState
from services.alerts.limits import MAIN
from services.alerts.observation import Block, Observation, Origin


class State(msgspec.Struct):
    """What they remember of one component between entries."""

    partial: Partial = msgspec.field(default_factory=Partial)
    rests: RestsState = msgspec.field(default_factory=RestsState)
    channels: ChannelsState = msgspec.field(default_factory=ChannelsState)
    supply: SupplyState = msgspec.field(default_factory=SupplyState)
    motor: MotorState = msgspec.field(default_factory=MotorState)
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
    values = frames.matrix(block)
    complete = frames.take(state.partial, block, values)
    rested = rests.take(state.rests, block, values)
    found = channels.watch(state.channels, complete, rested, block, context, component=component)
    if context.limits.architecture != "bench":
        complete = channels.trusted_frames(state.channels, complete, block)
        dropped, is_dropout = supply.watch(state.supply, complete, values, block, component=component)
        found += dropped
        found += motor.watch(state.motor, complete, block, component=component)
        block = supply.blank(block, is_dropout)
    block = channels.trusted(state.channels, block)
    found += over_vacuum.watch(state.over_vacuum, block, context, component=component, is_self_test=is_self_test)
    return Taken(sorted(found, key=lambda each: each.origin.sample), block)


def reset(state: State, record_type: str) -> None:
    """Forget what a maintenance record (its code) has made invalid; alarms stand until samples clear them."""
    channels.reset(state.channels, record_type)
    supply.reset(state.supply, record_type)
    motor.reset(state.motor, record_type)


def judge_latest(
    latest: Mapping[str, float | None], context: Context, *, at: datetime, origin: Origin, component: str = MAIN
) -> list[Observation]:
    """What a status message's newest values say at once, for a machine whose log is behind.

    Returns:
        an opinion per fault that could be judged; severity None = it is not there.
    """
    return [
        *over_vacuum.judge_latest(latest, context, at=at, origin=origin, component=component),
        *channels.judge_latest(latest, context, at=at, origin=origin, component=component),
    ]
