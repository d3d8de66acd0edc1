"""What is known of a device besides its log."""

from dataclasses import dataclass, field, replace
from typing import Self

from dermafleet.contracts.channels import Profile
from dermafleet.contracts.rules import Rule
from services.alerts.forecast.library import Library
from services.alerts.limits import Limits
from services.alerts.tuning import FIRST, Tuning


@dataclass(frozen=True, slots=True)
class Context:
    """Passed to every detector.

    Attributes:
        limits: of the device model.
        profile: which channels the model is fitted with.
        altitude_m: of the site: stands in for `ambient_kpa` where that is not measured.
        rules: users' rules that are active and for this model.
        time_zone: of the site: tells which sessions belong to one day.
        tuning: the version of the detectors that judges.
        library: what earlier filters of the model taught, as it holds at the event time of the entry.
    """

    limits: Limits = field(default_factory=Limits)
    profile: Profile = "full"
    altitude_m: float = 0.0
    rules: tuple[Rule, ...] = ()
    time_zone: str = "UTC"
    library: Library = field(default_factory=Library)
    tuning: Tuning = FIRST

    def of(self, component: str) -> Self:
        """The same for those that judge this component."""
        limits = self.limits.of(component)
        return self if limits is self.limits else replace(self, limits=limits)
