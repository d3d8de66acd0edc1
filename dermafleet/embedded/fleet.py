"""The demo's world: who owns the machines, where they stand, of which model they are."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from dermafleet.storage import seed
from dermafleet.storage.seed import DeviceModel, Organization, PlacedDevice, Site

_PLACED_BEFORE = timedelta(days=5 * 365)
"""Long before any event time of the demo: recordings stretch over months."""

CRYSTAL = DeviceModel(
    "crystal-m1", "Crystal M1", "full", {"filter_dp_kpa": 5.0, "filter_flow_lpm": 30.0}
)  # ten times the clean resistance of its filter
BENCH = DeviceModel(
    "bench-air-filter", "Air filter test bench", "standard", {"filter_dp_kpa": 0.6, "filter_flow_lpm": 81.0}
)
MODELS = (CRYSTAL, BENCH)

GUEST = "GUEST-1"
"""A spare device, so that anyone can try one of their own."""

_WEEK = ("mon", "tue", "wed", "thu", "fri")


def _hours(opens: str, closes: str, *, saturday: bool = False) -> dict[str, list[list[str]]]:
    days = (*_WEEK, "sat") if saturday else _WEEK
    return {day: [[opens, closes]] for day in days}


def _contact(name: str, email: str) -> dict[str, str]:
    return {"name": name, "email": email}


_MAKER = Organization("Kristall Medizintechnik", "manufacturer")
_SKIN = Organization("Hautzentrum Group", "clinic_owner")
_ANDES = Organization("Dermatología Andina", "clinic_owner")

SITES = (
    Site(
        _SKIN,
        "Hautzentrum Zürich",
        "Europe/Zurich",
        _hours("08:00", "18:30"),
        408.0,
        ("2026-12-25", "2026-12-26", "2027-01-01"),
        (_contact("Practice Zürich", "zuerich@hautzentrum.example"),),
    ),
    Site(
        _SKIN,
        "Hautzentrum Hamburg",
        "Europe/Berlin",
        _hours("09:00", "19:00", saturday=True),
        8.0,
        ("2026-12-25", "2026-12-26", "2027-01-01"),
        (_contact("Practice Hamburg", "hamburg@hautzentrum.example"),),
    ),
    Site(
        _ANDES,
        "Clínica Bogotá",
        "America/Bogota",
        _hours("07:30", "17:00", saturday=True),
        2625.0,
        ("2026-12-08", "2026-12-25", "2027-01-01"),
        (_contact("Recepción Bogotá", "bogota@andina.example"),),
    ),
)
TEST_HALL = Site(
    _MAKER,
    "Test hall",
    "Europe/Zurich",
    _hours("07:00", "17:00"),
    440.0,
    (),
    (_contact("Service desk", "service@kristall.example"),),
)


def device_ids(count: int) -> list[str]:
    return [f"D-{number:04d}" for number in range(1, count + 1)]


def machines(count: int, *, model: DeviceModel) -> list[PlacedDevice]:
    """That many machines: treatment machines spread over the clinics, test benches in the maker's hall."""
    prefix = "CM1" if model is CRYSTAL else "BENCH"
    sites: Sequence[Site] = SITES if model is CRYSTAL else (TEST_HALL,)
    return [
        PlacedDevice(device_id, f"{prefix}-{1000 + number}", model, sites[number % len(sites)])
        for number, device_id in enumerate(device_ids(count))
    ]


def guest() -> PlacedDevice:
    return PlacedDevice(GUEST, "Guest", CRYSTAL, TEST_HALL)


def plant(connection: psycopg.Connection[Any], devices: Iterable[PlacedDevice]) -> None:
    """Add the sites, the models and these devices where they are not there yet; the caller commits."""
    seed.add_sites(connection, (*SITES, TEST_HALL))
    seed.add_device_models(connection, MODELS)
    seed.place_devices(connection, devices, from_at=datetime.now(UTC) - _PLACED_BEFORE)
