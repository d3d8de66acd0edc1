"""Draws of machines: seeded one by one, within their limits, and different from the model."""

import numpy as np
import pytest

from dermafleet.contracts.channels import CHANNELS
from dermafleet.physics import steady
from dermafleet.physics.machine import DIAMOND, FIELDS, M1
from device_agent.simulator.draw import SPREAD, draw_machines, draw_probes, draw_quirks
from device_agent.simulator.plant import CONTACT, Control, Plant, Quirks
from device_agent.simulator.sensors import Sensors

SEEDS = range(200)


def test_a_machine_depends_on_its_own_seed_alone() -> None:
    many, alone = draw_machines(M1, SEEDS), draw_machines(M1, [17])
    quirks, lone_quirks = draw_quirks(Quirks(), many, SEEDS), draw_quirks(Quirks(), alone, [17])
    probes, lone_probes = draw_probes(SEEDS), draw_probes([17])
    assert np.asarray(many.filter_r1)[17] == np.asarray(alone.filter_r1)[0]
    assert np.asarray(quirks.dust_unit_kg)[17] == np.asarray(lone_quirks.dust_unit_kg)[0]
    for name, probe in probes.items():
        assert np.asarray(probe.offset)[17] == np.asarray(lone_probes[name].offset)[0]


def test_parameters_fill_fifteen_percent_around_the_model() -> None:
    machines = draw_machines(M1, SEEDS)
    drawn = [name for name in FIELDS if np.ndim(getattr(machines, name)) == 1]
    assert len(drawn) >= 12
    for name in drawn:
        ratio = getattr(machines, name) / getattr(M1, name)
        assert 1 - SPREAD <= ratio.min() < 0.9
        assert 1.1 < ratio.max() <= 1 + SPREAD


def test_conditions_are_not_drawn() -> None:
    machines = draw_machines(M1, SEEDS)
    for name in ("displacement", "valve_leak", "filter_load", "leak_dirty_m2", "return_area", "seal", "bleed_m2"):
        assert getattr(machines, name) == getattr(M1, name)


def test_no_two_parameters_move_together() -> None:
    machines = draw_machines(M1, SEEDS)
    table = np.stack([machines.filter_r1, machines.displacement_m3s, machines.feed_m2, machines.canister_m3])
    correlation = np.corrcoef(table) - np.eye(4)
    assert np.abs(correlation).max() < 0.25


def test_a_diamond_machine_stays_one() -> None:
    assert np.all(np.asarray(draw_machines(DIAMOND, SEEDS).feed_m2) == 0)


def test_drawn_machines_differ_in_contact_vacuum_but_reach_their_set_point() -> None:
    machines = draw_machines(M1, SEEDS)
    vacuum = steady.solve(machines, "contact").vacuum_inlet_kpa
    assert np.std(vacuum) > 2
    set_to_30 = machines.with_(bleed_m2=steady.bleed_for_contact(machines, 30.0))
    np.testing.assert_allclose(steady.solve(set_to_30, "contact").vacuum_inlet_kpa, 30.0, atol=0.01)


def test_quirks_are_what_the_model_does_not_have() -> None:
    quirks = draw_quirks(Quirks(), draw_machines(M1, SEEDS), SEEDS)
    for values, low, high in (
        (quirks.polytropic, 1.03, 1.2),
        (quirks.feed_noise_kpa, 1.0, 3.0),
        (quirks.hysteresis, 0.01, 0.04),
        (quirks.dust_unit_kg, 0.3e-3, 0.7e-3),
    ):
        assert low <= np.min(values) < np.max(values) <= high


def test_errors_of_sensors_are_those_of_the_parts() -> None:
    probes = draw_probes(SEEDS)
    assert set(probes) == {channel.name for channel in CHANNELS}
    assert np.std(np.asarray(probes["vacuum_inlet_kpa"].offset)) == pytest.approx(0.3, rel=0.2)
    assert np.std(np.asarray(probes["filter_dp_kpa"].gain)) == pytest.approx(0.015, rel=0.2)
    assert np.all(np.asarray(probes["pump_on"].offset) == 0)
    assert np.max(np.abs(np.asarray(probes["vacuum_inlet_kpa"].drift_per_year))) < 0.5


def test_drawn_machines_run_and_are_measured() -> None:
    seeds, rng = range(8), np.random.default_rng(0)
    machines = draw_machines(M1, seeds)
    plant = Plant(machines, 8, draw_quirks(Quirks(), machines, seeds), rng)
    readings = Sensors(draw_probes(seeds), CHANNELS, 8, rng).measure(plant.run(Control(100, 1, CONTACT)))
    model = steady.solve(machines, "contact").vacuum_inlet_kpa
    np.testing.assert_allclose(readings["vacuum_inlet_kpa"][60:].mean(axis=0), model, atol=2.0)
