"""What is known of a device besides its log; the same for a whole step."""

from dataclasses import dataclass, field

from dermafleet.contracts.channels import Profile
from dermafleet.contracts.rules import Rule
from services.alerts.limits import Limits


@dataclass(frozen=True, slots=True)
class Context:
    """Passed to every detector.

    Attributes:
        limits: of the device model.
        profile: which channels the model is fitted with.
        altitude_m: of the site: stands in for `ambient_kpa` where that is not measured.
        rules: users' rules that are active and for this model.
    """

    limits: Limits = field(default_factory=Limits)
    profile: Profile = "full"
    altitude_m: float = 0.0
    rules: tuple[Rule, ...] = ()
