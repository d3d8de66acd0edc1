"""Machines through their days: the main product of the simulator, stretches of samples with records and ground truth.

Machines of a plan are simulated in batches, treatment by treatment at the same time, because the plant is fastest so.
The stretches of one machine come in order; those of different machines are mixed.
"""

from collections.abc import Iterator

from dermafleet.errors import SettingError
from device_agent.simulator import treatment
from device_agent.simulator.batch import Batch
from device_agent.simulator.life import begin
from device_agent.simulator.plan import Plan
from device_agent.simulator.stretches import Stretch

__all__ = ["Plan", "Stretch", "simulate"]

_BATCH = 256
_SMALLEST_BATCH = 16
_BATCH_SAMPLES = 1_500_000
"""Samples of one treatment of all machines of a batch: bounds the memory to some hundred megabytes."""


def simulate(plan: Plan, *more: Plan) -> Iterator[Stretch]:
    """The life of the plans' machines; small plans are faster together.

    Raises:
        SettingError: a plan names something unknown, or a fault that the model cannot have, or two plans make the
            same machine.
    """
    plans = (plan, *more)
    machines = [(each, seed) for each in plans for seed in each.seeds()]
    if len({seed for _, seed in machines}) < len(machines):
        raise SettingError("two plans make the same machine: give them different seeds")
    samples = round((max(each.pump_s for each in plans) * 1.1 + treatment.AFTER_S) * treatment.RATE_HZ)
    size = max(min(_BATCH, _BATCH_SAMPLES // samples), _SMALLEST_BATCH)
    for first in range(0, len(machines), size):
        yield from Batch([begin(each, seed) for each, seed in machines[first : first + size]]).run()
