"""The demo's world: who owns the machines, where they stand, of which model they are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from dermafleet.contracts.channels import CHANNELS
from dermafleet.physics.machine import DIAMOND, HYDRA, M1, Machine
from dermafleet.storage import seed
from dermafleet.storage.seed import DeviceModel, Organization, PlacedDevice, Site

_RATED_LPM = 30.0
_PLACED_BEFORE = timedelta(days=5 * 365)
"""Long before any event time of the demo: recordings stretch over months."""

RATED_INDEX = 20.0
"""Filter index at which the makers of the demo's machines rate an intake filter as clogged."""


def _rated_drop_kpa(machine: Machine) -> float:
    """Pressure drop of a filter at the rated index, at 30 L/min of air as it is in the filter (Darcy-Forchheimer)."""
    flow_m3s = _RATED_LPM * 1e-3 / 60
    drop_pa = float(machine.filter_r1) * RATED_INDEX * flow_m3s + float(machine.filter_r2) * flow_m3s**2
    return round(drop_pa / 1000, 2)


def _limits(
    machine: Machine, architecture: str, *, jar_g: float = 500.0, canister_g: float = 600.0
) -> dict[str, object]:
    return {
        "filter_dp_kpa": _rated_drop_kpa(machine),
        "filter_flow_lpm": _RATED_LPM,
        "architecture": architecture,
        "jar_g": jar_g,
        "canister_g": canister_g,
    }


def _second_circuit(*shared: str) -> dict[str, dict[str, str]]:
    """A machine with two circuits: what the second one measures itself is sent under names of its own."""
    own = [channel.name for channel in CHANNELS if channel.name not in shared]
    return {"main": {}, "second": {name: f"second_{name}" for name in own}}


CRYSTAL = DeviceModel("crystal-m1", "Crystal M1", "full", _limits(M1, "crystal"))
DIAMOND_TIP = DeviceModel("diamond", "Diamond D1", "full", _limits(DIAMOND, "diamond"))
HYDRATING = DeviceModel("hydra", "Hydra H1", "full", _limits(HYDRA, "hydra", jar_g=800.0))
DUO = DeviceModel(
    "crystal-duo",
    "Crystal Duo",
    "full",
    {
        **_limits(M1, "crystal"),
        "architectures": {"second": "diamond"},
        "components": _second_circuit("ambient_kpa", "mains_v", "ambient_temp_c", "crystal_jar_g"),
    },
)
BENCH = DeviceModel(
    "bench-air-filter",
    "Air filter test bench",
    "standard",
    {"filter_dp_kpa": 0.6, "filter_flow_lpm": 81.0, "architecture": "bench"},
)
LIQUID_RIG = DeviceModel(
    "bench-liquid-filter", "Liquid filter test rig", "standard", {"filter_dp_kpa": 137.9, "architecture": "bench"}
)  # 20 psi, whatever still flows: the rig ends a filter's life by pressure alone
MODELS = (CRYSTAL, DIAMOND_TIP, HYDRATING, DUO, BENCH, LIQUID_RIG)

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


_MOST_AT_ONCE = 16
_MODELS_OF_OTHERS = (CRYSTAL, DIAMOND_TIP, CRYSTAL, HYDRATING, CRYSTAL, DUO)
_CLINICS = dict(zip((site.name for site in SITES), ("zurich", "hamburg", "bogota"), strict=True))
"""The simulator's clinic at each site."""

_PAST_TREATMENT_S = 45.0
"""A month of samples has to come through within minutes."""

AILMENTS: Mapping[int, str] = {
    2: "leak_dirty_side=1.0",
    4: "filter_clogged=16",
    6: "pump_worn=0.7",
    8: "sensor_drift=1.5",
    10: "exhaust_clogged=25",
    14: "return_path_blocked=0.2",
    18: "filter_clogged=9",
    22: "leak_clean_side=1.0",
    26: "pump_valve_leak=2.4",
}
"""Which of the machines with a past has which slow fault; more than a month would show in fifty real ones."""

_PREFIXES = {CRYSTAL.id: "CM1", DIAMOND_TIP.id: "DD1", HYDRATING.id: "HH1", DUO.id: "CD1"}
"""Of the serial numbers, by model of treatment machine."""


def device_ids(count: int) -> list[str]:
    return [f"D-{number:04d}" for number in range(1, count + 1)]


def machines(count: int, *, model: DeviceModel) -> list[PlacedDevice]:
    """That many machines: treatment machines spread over the clinics, test benches in the maker's hall."""
    prefix = _PREFIXES.get(model.id, "BENCH")
    sites: Sequence[Site] = SITES if model.id in _PREFIXES else (TEST_HALL,)
    return [
        PlacedDevice(device_id, f"{prefix}-{1000 + number}", model, sites[number % len(sites)])
        for number, device_id in enumerate(device_ids(count))
    ]


def live_at_once(count: int) -> int:
    """So many machines of a demo have no past and are live from the first second."""
    return min(max(count // 3, 1), _MOST_AT_ONCE)


def treatment_machines(count: int) -> list[PlacedDevice]:
    """That many machines: those that are live at once all of one model, the others of several."""
    first = live_at_once(count)
    return [
        device if number < first else _of_model(device, _MODELS_OF_OTHERS[number % len(_MODELS_OF_OTHERS)])
        for number, device in enumerate(machines(count, model=CRYSTAL))
    ]


def traits(devices: Iterable[PlacedDevice], *, seed: int) -> dict[str, dict[str, object]]:
    """What the simulator needs to know of each machine, as in `machines.json`."""
    return {
        device.device_id: {
            "model": device.model.id,
            "clinic": _CLINICS.get(device.site.name, "zurich"),
            "seed": 1000 * seed + number,
        }
        for number, device in enumerate(devices, start=1)
    }


def pasts(device_ids: Iterable[str]) -> dict[str, dict[str, object]]:
    """What is particular about machines with a past: their treatments are short, and some have a slow fault."""
    return {
        device_id: {"treatment_s": _PAST_TREATMENT_S}
        | ({"ailment": ailment} if (ailment := AILMENTS.get(number)) is not None else {})
        for number, device_id in enumerate(device_ids)
    }


def _of_model(device: PlacedDevice, model: DeviceModel) -> PlacedDevice:
    label = device.label.replace(_PREFIXES[device.model.id], _PREFIXES[model.id])
    return replace(device, model=model, label=label)


def guest() -> PlacedDevice:
    return PlacedDevice(GUEST, "Guest", CRYSTAL, TEST_HALL)


def plant(connection: psycopg.Connection[Any], devices: Iterable[PlacedDevice]) -> None:
    """Add the sites, the models and these devices where they are not there yet; the caller commits."""
    seed.add_sites(connection, (*SITES, TEST_HALL))
    seed.add_device_models(connection, MODELS)
    seed.place_devices(connection, devices, from_at=datetime.now(UTC) - _PLACED_BEFORE)
