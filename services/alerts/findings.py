"""What one entry of a device's log led to; the caller stores it with the new position in one transaction."""

from dataclasses import dataclass, field

import msgspec

from services.alerts.features.types import SessionFeatures
from services.alerts.forecast.life import Life
from services.alerts.observation import Observation


class Baseline(msgspec.Struct, frozen=True):
    """A learned healthy value of one quantity: never overwritten, the next version follows it.

    Attributes:
        component, tip, quantity: what it is of; tip "" where it does not matter.
        version: 1, 2, … per (component, tip, quantity).
        value, spread, n: centre, standard deviation and number of sessions it was learned from.
        at_ms: event time from which it holds.
        reason: the maintenance record code that made it necessary, or "learned".
    """

    component: str
    tip: str
    quantity: str
    version: int
    value: float
    spread: float
    n: int
    at_ms: int
    reason: str


class Observability(msgspec.Struct, frozen=True):
    """Whether a fault could be seen on this device now; a fault that could not is never shown as healthy.

    Attributes:
        reason: why not, for a person, naming the channel; "" when it is observable.
        ambiguous_with: faults that this profile cannot tell it from.
    """

    component: str
    fault: str
    is_observable: bool
    reason: str = ""
    ambiguous_with: tuple[str, ...] = ()


class FilterForecast(msgspec.Struct, frozen=True):
    """Remaining life of a component's intake filter.

    Attributes:
        at_ms: event time it was made at.
        ratio: resistance relative to the rated limit; share_left: of this filter's life, median.
        sessions, hours, days: (p10, p50, p90) remaining; hours of pumping; days of the calendar; None = pace not known.
        basis: "library" of earlier filters of the model, or "prior" until there are some.
        filters: how many earlier filters it rests on.
        evening_probability: that it crosses the rated limit during the next opening day; None = not judged.
    """

    component: str
    at_ms: int
    ratio: float
    share_left: float
    sessions: tuple[float, float, float] | None
    hours: tuple[float, float, float]
    days: tuple[float, float, float] | None
    basis: str
    filters: int
    evening_probability: float | None = None


class FilterLife(msgspec.Struct, frozen=True):
    """A filter that is no longer fitted: what later ones learn from.

    Attributes:
        from_ms, to_ms: event time at which it was seen first and last.
        reason: the maintenance record code that ended it, or "observed".
    """

    component: str
    from_ms: int
    to_ms: int
    life: Life
    reason: str


@dataclass(slots=True)
class Findings:
    """Everything new, oldest first."""

    observations: list[Observation] = field(default_factory=list)
    features: list[SessionFeatures] = field(default_factory=list)
    baselines: list[Baseline] = field(default_factory=list)
    forecasts: list[FilterForecast] = field(default_factory=list)
    observability: list[Observability] = field(default_factory=list)
    lives: list[FilterLife] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Nothing is new."""
        return not (
            self.observations or self.features or self.baselines or self.forecasts or self.observability or self.lives
        )
