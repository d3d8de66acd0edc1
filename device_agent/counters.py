"""What a machine did in its life. The counters stand in the outbox's file and are written with the entries they belong
to, so that no crash makes them go back; with a new file they begin a new generation.
"""

import secrets

import msgspec

from dermafleet.contracts.records import Counters
from dermafleet.errors import SettingError

COUNTERS = "counters"
"""The fact that holds them."""

_BAND_G = 1.0
"""A balance's noise and the jolts of a treatment; what is used comes out right within it, however long."""
_SMOOTHING = 0.1


class Life:
    """The running counters of one machine."""

    __slots__ = ("contact_s", "crystals_g", "generation", "pump_s", "pump_starts", "sessions", "strokes")

    def __init__(self, told: Counters | None = None) -> None:
        """Go on from what was told; None: begin a generation."""
        told = told or Counters(generation=secrets.token_hex(8))
        self.generation = told.generation
        self.pump_s, self.contact_s, self.crystals_g = told.pump_s, told.contact_s, told.crystals_g
        self.sessions, self.strokes, self.pump_starts = told.sessions, told.strokes, told.pump_starts

    def told(self) -> Counters:
        """As they stand now."""
        return Counters(
            generation=self.generation,
            pump_s=round(self.pump_s, 3),
            contact_s=round(self.contact_s, 3),
            sessions=self.sessions,
            strokes=self.strokes,
            crystals_g=round(self.crystals_g, 3),
            pump_starts=self.pump_starts,
        )


class Jar:
    """How much leaves the crystal jar while the pump runs; refilling and lifting it off count nothing."""

    def __init__(self) -> None:
        self._level_g: float | None = None
        self._counted_g = 0.0

    def step(self, jar_g: float | None, *, pump_on: bool) -> float:
        """Take one sample; returns what was used since the last time that it was more than noise, g."""
        if jar_g is None:
            return 0.0
        if not pump_on or self._level_g is None:
            self._level_g = self._counted_g = jar_g
            return 0.0
        self._level_g += _SMOOTHING * (jar_g - self._level_g)
        used_g = self._counted_g - self._level_g
        if -_BAND_G < used_g < _BAND_G:
            return 0.0
        self._counted_g = self._level_g
        return max(used_g, 0.0)


def read_counters(remembered: str | None) -> Counters | None:
    """Counters as they were remembered; None if there are none that can be read."""
    if remembered is None:
        return None
    try:
        return msgspec.json.decode(remembered, type=Counters)
    except msgspec.MsgspecError:
        return None


def write_counters(counters: Counters) -> str:
    """As they are remembered."""
    return msgspec.json.encode(counters).decode()


def read_import(document: bytes) -> Counters:
    """A new generation that begins with what is given, for hours that no generation has counted.

    Raises:
        SettingError: it is no JSON object of counters, or names a generation.
    """
    try:
        given = msgspec.json.decode(document, type=dict[str, float])
        if unknown := given.keys() - set(Counters.__struct_fields__):
            raise SettingError(f"--import: {', '.join(sorted(unknown))}: there is no such counter")
        return msgspec.convert({**given, "generation": secrets.token_hex(8)}, Counters, strict=False)
    except msgspec.MsgspecError as error:
        raise SettingError(f"--import: {error}") from error
