"""Whether a simulated machine reaches its broker: while its network is gone, its entries wait on its disk."""

from collections.abc import Iterable

from device_agent.clock import Clock
from device_agent.simulator import faults

NETWORK_LOSS = "network_loss"
_LASTS_S = 60.0


class Reach:
    """True except during losses, in event time since it was made.

    Args:
        losses: as on the command line among the faults: ``network_loss=120@5m`` = two minutes, from the fifth on.

    Raises:
        SettingError: one is not written like that.
    """

    def __init__(self, clock: Clock, losses: Iterable[str]) -> None:
        self._clock = clock
        self._began_up = clock.now().up
        split = [faults.split(text) for text in losses]
        self._losses = [(begins_s, begins_s + (lasts_s or _LASTS_S)) for _, lasts_s, begins_s in split]

    def __call__(self) -> bool:
        passed_s = (self._clock.now().up - self._began_up) / 1000
        return not any(begins_s <= passed_s < ends_s for begins_s, ends_s in self._losses)


def is_loss(text: str) -> bool:
    """Whether a fault on the command line is one of the network."""
    return faults.split(text)[0] == NETWORK_LOSS
