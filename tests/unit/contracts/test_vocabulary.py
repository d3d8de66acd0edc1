"""The vocabulary is data that never changes its meaning."""

import hashlib

import msgspec
import pytest

from dermafleet.contracts.records import CODED_FIELDS
from dermafleet.contracts.vocabulary import VERSION, Term, Terms, Vocabulary, is_code, screening_outcome, vocabulary

V1 = "46e720be48414032301e8d8c57492a62c65854a2fdecd696c3027df51ff732d7"
LISTS = [name for name in Vocabulary.__struct_fields__ if name not in ("version", "system")]


def terms(name: str) -> Terms:
    found: Terms = getattr(vocabulary(1), name)
    return found


def test_codes_of_version_1_and_what_they_ask_for_are_what_they_were() -> None:
    codes = {name: [(code, t.policy, t.defer_days) for code, t in sorted(terms(name).items())] for name in LISTS}
    digest = hashlib.sha256(msgspec.json.encode(codes, order="sorted")).hexdigest()
    assert digest == V1, "codes never change: put new ones into a new version"


@pytest.mark.parametrize("name", LISTS)
def test_every_code_has_a_text_in_each_language(name: str) -> None:
    for code, term in terms(name).items():
        assert code.isupper()
        assert term.en
        assert term.de
        assert term.en != code


def test_every_coded_field_has_a_list() -> None:
    assert set(CODED_FIELDS.values()) <= set(LISTS)
    assert all(isinstance(term, Term) for name in LISTS for term in terms(name).values())


def test_a_later_version_may_have_any_code_and_one_that_never_was_has_none() -> None:
    assert is_code("tip_type", "CRYSTAL_STEEL", 1)
    assert not is_code("tip_type", "DULL_SKIN", 1)
    assert is_code("tip_type", "CERAMIC", VERSION + 1)
    assert not is_code("tip_type", "CRYSTAL_STEEL", 0)
    assert vocabulary(VERSION + 1) is None


@pytest.mark.parametrize(
    ("contraindications", "indications", "outcome"),
    [
        ([], [], "PASSED"),
        (["ANTICOAGULANT"], [], "PASSED_SUPERVISED"),
        ([], ["ROSACEA_QUIESCENT"], "PASSED_SUPERVISED"),
        (["ANTICOAGULANT", "WAXING_RECENT"], ["DULL_SKIN"], "DEFERRED"),
        (["SKIN_CANCER_SUSPECT"], [], "REFUSED"),
        (["WAXING_RECENT", "DIABETES"], [], "REFUSED"),
        (["SOMETHING_NEW"], [], "DEFERRED"),
    ],
)
def test_the_strictest_code_decides_the_screening(
    contraindications: list[str], indications: list[str], outcome: str
) -> None:
    assert screening_outcome(contraindications, indications) == outcome
