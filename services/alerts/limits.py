"""What a device model allows and is: the document in `device_model.limits`, which detectors judge against."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from dermafleet.errors import PermanentError

Architecture = Literal["crystal", "diamond", "hydra", "bench"]
"""Air path of domain terms; ``bench``: a filter rig, only its filter is judged."""

MAIN = "main"


def _alone() -> Mapping[str, Mapping[str, str]]:
    return {MAIN: {}}


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rated limits of one device model. None = the maker states none: what needs it is not observable.

    Attributes:
        filter_dp_kpa: pressure drop across the intake filter at which it counts as clogged, kPa.
        filter_flow_lpm: flow at which that limit holds, L/min.
        over_vacuum_kpa: vacuum at the handpiece that must not be exceeded, kPa.
        over_vacuum_margin_kpa: nor may it exceed the set point by more than this, kPa.
        architecture: what the air path is like; decides which faults can exist.
        architectures: of those components whose air path is another; see `of`.
        components: per component the maker's name of each standard channel that differs; all share the others.
        canister_g, jar_g: what the waste canister and the crystal jar hold, g.
    """

    filter_dp_kpa: float | None = None
    filter_flow_lpm: float | None = None
    over_vacuum_kpa: float | None = 65.0
    over_vacuum_margin_kpa: float | None = 10.0
    architecture: Architecture = "crystal"
    architectures: Mapping[str, Architecture] = {}
    components: Mapping[str, Mapping[str, str]] = msgspec.field(default_factory=_alone)
    canister_g: float | None = None
    jar_g: float | None = None

    def of(self, component: str) -> "Limits":
        """As they are for one component: ``architecture`` is its own."""
        own = self.architectures.get(component, self.architecture)
        return self if own == self.architecture else msgspec.structs.replace(self, architecture=own)


_NUMBERS = tuple(
    name for name in Limits.__struct_fields__ if name not in {"architecture", "architectures", "components"}
)


def decode_limits(document: Mapping[str, object] | None) -> Limits:
    """The limits in a stored document; unknown names belong to other detectors or versions and are ignored.

    Raises:
        PermanentError: a limit is not a positive number.
    """
    try:
        limits = msgspec.convert(document or {}, Limits)
    except msgspec.ValidationError as error:
        raise PermanentError(f"device model limits: {error}") from error
    for name in _NUMBERS:
        value = getattr(limits, name)
        if value is not None and not 0 < value < float("inf"):
            raise PermanentError(f"device model limits: {name} is {value}, must be a positive number")
    return limits
