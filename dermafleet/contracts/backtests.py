"""A rule tried on stored history: what is asked for, and what it would have said."""

from datetime import datetime
from typing import Annotated

import msgspec

from dermafleet.contracts.rules import InvalidRule

MAX_NAMED_DEVICES = 1000


class BacktestRequest(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What to try a rule on.

    Attributes:
        version: of the rule; null = the newest.
        days: of event time, back from now.
        devices: ids; empty = all that the rule is for.
    """

    version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None
    days: Annotated[float, msgspec.Meta(gt=0, le=3660)] = 30.0
    devices: Annotated[
        list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=MAX_NAMED_DEVICES)
    ] = []


class Firing(msgspec.Struct, frozen=True):
    """One time the rule would have raised its alarm.

    Attributes:
        until_at: when it would have cleared it; null = never in this period.
        reason: the value and the level that made it speak.
    """

    device_id: str
    component: str
    from_at: datetime
    until_at: datetime | None
    reason: str


class DeviceBacktest(msgspec.Struct, frozen=True):
    """What a rule would have said of one device.

    Attributes:
        samples: how many it was shown.
        fired: how often it would have raised its alarm; raised_s: for how long it would have stood, event time.
    """

    device_id: str
    samples: int
    fired: int
    raised_s: float


class BacktestResult(msgspec.Struct, frozen=True):
    """What a rule would have said.

    Attributes:
        from_at, until_at: the period, event time.
        fired: over all devices; examples: the first ones of each device.
        devices: those that it was tried on, most firings first.
        left_out: what it was not tried on and why, for a person; empty = nothing.
    """

    from_at: datetime
    until_at: datetime
    samples: int
    fired: int
    devices: list[DeviceBacktest]
    examples: list[Firing]
    left_out: list[str]


def decode_request(raw: bytes) -> BacktestRequest:
    """A request from JSON; an empty one asks for all by default.

    Raises:
        InvalidRule: a field is unknown or wrong; the error names it.
    """
    try:
        return msgspec.json.decode(raw or b"{}", type=BacktestRequest)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise InvalidRule(f"backtest{path.rstrip('`')}", message) from error
    except msgspec.DecodeError as error:
        raise InvalidRule("backtest", f"is not JSON: {error}") from error
