"""The vocabulary: coded lists of sessions, screening and maintenance, as versioned data with a text per language.

A code never changes its meaning; what a record says is read by the version it names. Versions are the files beside this
one. Texts are for people and may be improved.
"""

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Literal

import msgspec

VERSION = 1
"""Of the codes that this release writes."""

Policy = Literal["supervise", "defer", "refer", "block"]
"""What a code asks of the clinic, least strict first."""

_OUTCOME: dict[Policy | None, str] = {
    None: "PASSED",
    "supervise": "PASSED_SUPERVISED",
    "defer": "DEFERRED",
    "refer": "REFUSED",
    "block": "REFUSED",
}
_STRICTNESS: list[Policy | None] = [None, "supervise", "defer", "refer", "block"]


class Term(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a code means to people, and what it asks for.

    Attributes:
        defer_days: how long a treatment waits under ``defer``; None = until a person decides.
        deprecated: no longer offered; still understood.
    """

    en: str
    de: str
    policy: Policy | None = None
    defer_days: int | None = None
    deprecated: bool = False


Terms = Mapping[str, Term]


class Vocabulary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version: code → term, per list."""

    version: int
    system: str
    indication: Terms
    not_treatable: Terms
    contraindication: Terms
    screening_outcome: Terms
    body_site: Terms
    modality: Terms
    tip_type: Terms
    abrasive: Terms
    abort_reason: Terms
    adverse_observation: Terms
    maintenance: Terms


@cache
def vocabulary(version: int = VERSION) -> Vocabulary | None:
    """One version of the vocabulary; None if this release does not know it."""
    file = resources.files(__name__).joinpath(f"v{version}.toml")
    if not file.is_file():
        return None
    return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), Vocabulary)


def is_code(name: str, code: str, version: int) -> bool:
    """Whether a code stands in a list of this version; a version that is not known yet has any code."""
    if version > VERSION:
        return True
    known = vocabulary(version)
    return known is not None and code in getattr(known, name)


def screening_outcome(contraindications: Iterable[str], indications: Iterable[str] = ()) -> str:
    """What the strictest of these codes asks for, as a code of ``screening_outcome``. Codes not known ask to defer."""
    known = vocabulary()
    assert known is not None
    policies = [_policy(known.contraindication.get(code)) for code in contraindications]
    policies += [term.policy for code in indications if (term := known.indication.get(code))]
    return _OUTCOME[max(policies, key=_STRICTNESS.index, default=None)]


def _policy(term: Term | None) -> Policy | None:
    return "defer" if term is None else term.policy
