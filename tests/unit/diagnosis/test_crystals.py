"""What crystals and their noise say is relative to this machine, at this vacuum, as exactly as it was weighed."""

import pytest

from services.alerts.diagnosis import crystals
from services.alerts.diagnosis.crystals import SESSIONS, Usual
from services.alerts.features.types import ContactFeatures, SessionFeatures


def treatment(
    g_per_s: float, *, vacuum_kpa: float = 40.0, contact_s: float = 600.0, noise_kpa: float = 1.0
) -> SessionFeatures:
    """A treatment in which crystals were drawn so fast, as weighed, and were heard at the handpiece."""
    contact = ContactFeatures(40.0, 100, contact_s, {"vacuum_inlet_kpa": vacuum_kpa}, crystal_g_per_s=g_per_s)
    values = {"feed_noise_handpiece_kpa": noise_kpa}
    return SessionFeatures(
        "s", "treatment", "main", "", 0, 1, contact_s, contact_s, 100, contacts=[contact], values=values
    )


def used(*sessions: SessionFeatures) -> Usual:
    usual = Usual()
    for each in sessions:
        crystals.feed(usual, each)
        crystals.noise(usual, each)
    return usual


def test_sessions_that_weighed_little_by_chance_are_part_of_the_habit() -> None:
    usual = used(*[treatment(g_per_s) for g_per_s in (0.09, 0.0, 0.09, 0.0, 0.09)])
    found = crystals.feed(usual, treatment(0.054))
    assert found is not None
    assert found.residual == pytest.approx(0, abs=0.01)


def test_a_short_treatment_weighs_less_exactly() -> None:
    usual = used(*[treatment(0.15)] * SESSIONS)
    long, short = (crystals.feed(usual, treatment(0.02, contact_s=seconds)) for seconds in (600.0, 100.0))
    assert long is not None
    assert short is not None
    assert long.residual == short.residual
    assert long.error < 0.2 < 0.3 < short.error


def test_half_the_vacuum_draws_and_sounds_half_as_much_and_says_less() -> None:
    usual = used(*[treatment(0.2)] * SESSIONS)
    half = treatment(0.1, vacuum_kpa=20.0, noise_kpa=0.5)
    same = treatment(0.2)
    for at_half, at_usual in (
        (crystals.feed(usual, half), crystals.feed(usual, same)),
        (crystals.noise(usual, half), crystals.noise(usual, same)),
    ):
        assert at_half is not None
        assert at_usual is not None
        assert at_half.residual == pytest.approx(0, abs=0.05)
        assert at_half.error > at_usual.error + 0.1


def test_without_the_vacuum_nothing_is_compared() -> None:
    usual = used(*[treatment(0.2)] * SESSIONS)
    blind = treatment(0.0, vacuum_kpa=0.0, noise_kpa=0.0)
    assert (crystals.feed(usual, blind), crystals.noise(usual, blind)) == (None, None)
