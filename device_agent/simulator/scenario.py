"""Machines through their days: the main product of the simulator, stretches of samples with records and ground truth.

Machines of a plan are simulated in batches, treatment by treatment at the same time, because the plant is fastest so.
The stretches of one machine come in order; those of different machines are mixed.
"""

from collections.abc import Iterator

from device_agent.simulator import treatment
from device_agent.simulator.batch import Batch
from device_agent.simulator.plan import Plan
from device_agent.simulator.stretches import Stretch

__all__ = ["Plan", "Stretch", "simulate"]

_BATCH = 256
_BATCH_SAMPLES = 1_500_000
"""Samples of one treatment of all machines of a batch: bounds the memory to some hundred megabytes."""


def simulate(plan: Plan) -> Iterator[Stretch]:
    """The life of the plan's machines.

    Raises:
        SettingError: the plan names something unknown, or a fault that the model cannot have.
    """
    seeds = plan.seeds()
    samples = round((plan.pump_s * 1.1 + treatment.AFTER_S) * treatment.RATE_HZ)
    size = max(min(_BATCH, _BATCH_SAMPLES // samples), 16)
    for begin in range(0, len(seeds), size):
        yield from Batch(plan, seeds[begin : begin + size]).run()
