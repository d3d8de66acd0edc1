"""A rule that a manufacturer writes without code: what is watched, when it is a fault, and what to say then."""

from collections.abc import Collection
from typing import Annotated, Literal

import msgspec

from dermafleet.contracts.channels import CHANNEL_BY_NAME
from dermafleet.errors import InvalidMessage

RuleKey = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,47}\Z")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+\Z")]
Quantity = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_.]{0,63}\Z")]
MachineState = Literal["any", "on", "off", "open", "contact", "capped"]

MAX_DURATION_S = 86_400.0
MAX_SESSIONS = 50
"""A rule that needs longer is a trend: the forecast's business."""

SAMPLED: tuple[MachineState, ...] = ("any", "on", "off")
"""States that a single sample shows; the others are known once a stretch in that state is over."""

SESSION_FIELDS = (
    *("filter_index", "filter_index_slope", "pump_s", "contact_s", "strokes"),
    *("ambient_kpa", "mains_v", "ambient_temp_c", "pump_temp_c"),
)
SESSION_VALUES = (
    *("filter_index_first", "filter_index_last", "filter_flow_lpm_actual", "filter_dp_kpa"),
    *("open_vacuum_ratio", "contact_vacuum_ratio", "return_resistance", "feed_conductance_mm2"),
    *("pump_residual_open_lpm", "pump_residual_contact_lpm", "pump_ratio_open", "pump_ratio_contact"),
    *("current_residual_open_a", "current_residual_contact_a", "pump_rise_k", "thermal_residual_k"),
    *("over_vacuum_s", "over_setpoint_s", "longest_dwell_s", "stroke_s", "open_s", "off_s"),
    *("crystal_jar_first_g", "crystal_jar_last_g", "canister_first_g", "canister_last_g"),
    *("feed_noise_inlet_kpa", "feed_noise_handpiece_kpa"),
)
SESSION_STATES = ("open", "contact", "capped")
CAPPED_VALUES = ("pump_down_s", "leak_down_kpa_s")
FEATURES = (
    *SESSION_FIELDS,
    *SESSION_VALUES,
    *(f"{state}.{channel}" for state in SESSION_STATES for channel in CHANNEL_BY_NAME),
    *(f"capped.{name}" for name in CAPPED_VALUES),
)
"""What is known of a session after it: a rule names each as ``session.<feature>``; docs/rules.md explains them."""


class InvalidRule(InvalidMessage):
    """A rule that cannot be used; the error names the field."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One version of one rule.

    Attributes:
        key: its name for ever; its alarms have the fault ``rule_<key>``.
        version: 1, 2, …: an edit makes a new one.
        name: what people call it.
        models: ids of the device models it is for; empty = all.
        component: which part of the machine it looks at.
        quantity: a channel, or ``session.<feature>`` for a quantity known after each session.
        comparison, level: when it is a fault.
        clear_level: on the other side of ``level``: from there on it is none; in between nothing changes.
        duration_s: of a channel: how long it must hold, in event time of the state, either way.
        sessions: of a feature: in how many sessions in a row, either way.
        state: of a channel: what the machine must be doing; ``on`` is any state with the pump on.
        severity: 0 to 4. message: for the person who gets the alarm.
    """

    key: RuleKey
    version: Annotated[int, msgspec.Meta(ge=1)] = 1
    name: Text
    models: Annotated[list[Text], msgspec.Meta(max_length=100)] = []
    component: Text = "main"
    quantity: Quantity
    comparison: Literal["above", "below"]
    level: float
    clear_level: float
    duration_s: Annotated[float, msgspec.Meta(ge=0, le=MAX_DURATION_S)] = 10.0
    sessions: Annotated[int, msgspec.Meta(ge=1, le=MAX_SESSIONS)] = 1
    state: MachineState = "any"
    severity: Annotated[int, msgspec.Meta(ge=0, le=4)]
    message: Text

    @property
    def fault(self) -> str:
        return f"rule_{self.key}"

    @property
    def feature(self) -> str | None:
        """The session feature it looks at; None = it looks at a channel."""
        prefix, _, name = self.quantity.partition(".")
        return name if prefix == "session" else None

    def covers(self, model: str | None) -> bool:
        return not self.models or model in self.models


def decode_rule(raw: bytes) -> Rule:
    """A rule from JSON.

    Raises:
        InvalidRule: a field is missing, unknown or wrong; the error names it.
    """
    try:
        rule = msgspec.json.decode(raw, type=Rule)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise InvalidRule(f"rule{path.rstrip('`')}", message) from error
    except msgspec.DecodeError as error:
        raise InvalidRule("rule", f"is not JSON: {error}") from error
    is_beyond = rule.clear_level > rule.level if rule.comparison == "above" else rule.clear_level < rule.level
    if is_beyond:
        side = "at most" if rule.comparison == "above" else "at least"
        raise InvalidRule("rule.clear_level", f"is {rule.clear_level}, must be {side} the level {rule.level}")
    if rule.feature is not None and rule.state != "any":
        raise InvalidRule("rule.state", "a session's feature is known after the session, whatever the machine does")
    return rule


def check_quantity(rule: Rule, own_channels: Collection[str]) -> None:
    """See that somebody measures what a rule looks at.

    Args:
        own_channels: the makers' own names of channels in the models that the rule is for.

    Raises:
        InvalidRule: nobody does.
    """
    if rule.feature is not None:
        if rule.feature not in FEATURES:
            raise InvalidRule("rule.quantity", f"there is no session feature {rule.feature!r}")
    elif rule.quantity not in CHANNEL_BY_NAME:
        if rule.quantity not in own_channels:
            raise InvalidRule("rule.quantity", f"{rule.quantity!r} is no channel, and no session.<feature>")
        if rule.state not in SAMPLED:
            states = ", ".join(SAMPLED)
            raise InvalidRule("rule.state", f"a maker's own channel can be judged in these states: {states}")
