"""A filter's life as others learn from it: its course, what it had to bear, and its end where that was seen."""

from collections.abc import Mapping

import msgspec

from services.alerts.forecast.curve import Curve


class Load(msgspec.Struct, frozen=True):
    """What a filter has to bear, as far as known.

    Attributes:
        rate: dust per pumping second, in any unit that is the same for all filters of a model; None = not known.
        covariates: other numbers that matter (a particle size), by name.
    """

    rate: float | None = None
    covariates: Mapping[str, float] = {}


class Life(msgspec.Struct, frozen=True):
    """An earlier filter.

    Attributes:
        life_s: pumping seconds until the rated limit; None = changed before.
    """

    curve: Curve
    load: Load = Load()
    life_s: float | None = None
