"""What a device model allows: the limits that detectors judge against, as stored in `device_model.limits`."""

from collections.abc import Mapping

import msgspec

from dermafleet.errors import PermanentError


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rated limits of one device model. None = the maker states none: what needs it is not observable.

    Attributes:
        filter_dp_kpa: pressure drop across the intake filter at which it counts as clogged, kPa.
        filter_flow_lpm: flow at which that limit holds, L/min.
    """

    filter_dp_kpa: float | None = None
    filter_flow_lpm: float | None = None


def decode_limits(document: Mapping[str, object] | None) -> Limits:
    """The limits in a stored document; unknown names belong to other detectors or versions and are ignored.

    Raises:
        PermanentError: a limit is not a positive number.
    """
    try:
        limits = msgspec.convert(document or {}, Limits)
    except msgspec.ValidationError as error:
        raise PermanentError(f"device model limits: {error}") from error
    for name in Limits.__struct_fields__:
        value = getattr(limits, name)
        if value is not None and not 0 < value < float("inf"):
            raise PermanentError(f"device model limits: {name} is {value}, must be a positive number")
    return limits
