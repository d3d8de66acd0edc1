"""Drivers: where samples come from. A driver knows its sensors and nothing about the log or the network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from dermafleet.contracts.records import CODED_FIELDS, Code, Codes, Count, Maintenance, Millimetres, Purpose
from dermafleet.contracts.vocabulary import VERSION, is_code
from device_agent.clock import Instant

Values = Mapping[str, float | None]
"""Channel name → value in the channel's unit; None = not measured."""

_LISTS = {**CODED_FIELDS, "contraindications": "contraindication"}


class Operator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the person at the machine told it: codes and numbers, nothing else. None = not told.

    Attributes:
        button: a session begins or ends here, whatever the vacuum says.
        purpose: of the session that runs, or of the next one.
        modality, tip_type, tip_size_mm, abrasive: fitted from now on.
        screening_outcome: of the client before the next session; by default what the contraindications ask for.
        contraindications: never part of a session; counted, and only with privacy ``coded``.
        indications, body_sites, passes, abort_reason: of the session that runs, or of the next one.
        maintenance: what was done at the machine.

    Raises:
        ValueError: a code that the vocabulary does not have.
    """

    button: Literal["start", "end"] | None = None
    purpose: Purpose | None = None
    modality: Code | None = None
    tip_type: Code | None = None
    tip_size_mm: Millimetres | None = None
    abrasive: Code | None = None
    screening_outcome: Code | None = None
    contraindications: Codes = []
    indications: Codes | None = None
    body_sites: Codes | None = None
    passes: Count | None = None
    abort_reason: Code | None = None
    maintenance: tuple[Maintenance, ...] = ()

    def __post_init__(self) -> None:
        for field, terms in _LISTS.items():
            told = getattr(self, field)
            for code in told if isinstance(told, list) else [told]:
                if code is not None and not is_code(terms, code, VERSION):
                    raise ValueError(f"{field}: {code} is no code of the vocabulary")
        for done in self.maintenance:
            if not is_code("maintenance", done.type, VERSION):
                raise ValueError(f"maintenance: {done.type} is no code of the vocabulary")


@dataclass(frozen=True, slots=True)
class Sample:
    """All channels at one instant.

    Attributes:
        when: event time.
        values: what was measured.
        taken: Unix seconds of the wall clock when it was read, to measure latency.
        operator: what the operator told since the sample before; comes first.
    """

    when: Instant
    values: Values
    taken: float
    operator: Operator | None = None


class Driver(Protocol):
    """One machine's sensors. Used by one thread."""

    @property
    def ended(self) -> bool:
        """There will be no further samples: a recording is over."""
        ...

    def read(self, now: Instant) -> Sample | None:
        """The next sample that is due at ``now``, or None; call again until it is None."""
        ...

    def close(self) -> None: ...
