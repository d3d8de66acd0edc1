"""Putting the first organizations, sites, device models and devices into a database. Harmless when they are there.

The ids follow from the names, so that every start of the demo means the same rows. The caller commits.
"""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from dermafleet.storage.engine import translate

_NAMESPACE = uuid.UUID("6a0f2f0e-0d6b-5b0a-9a53-2f1c7f3a9c11")


@dataclass(frozen=True, slots=True)
class Organization:
    """A manufacturer, service partner or clinic owner (`kind`)."""

    name: str
    kind: str

    @property
    def id(self) -> uuid.UUID:
        return uuid.uuid5(_NAMESPACE, f"organization/{self.name}")


@dataclass(frozen=True, slots=True)
class Site:
    """A clinic.

    Attributes:
        opening_hours: weekday (mon … sun) to a list of ["08:30", "18:00"], in `time_zone`.
        holidays: ISO dates on which it is closed.
        contacts: whom to call; each has a name and an e-mail address.
    """

    organization: Organization
    name: str
    time_zone: str
    opening_hours: Mapping[str, list[list[str]]]
    altitude_m: float = 0.0
    holidays: tuple[str, ...] = ()
    contacts: tuple[Mapping[str, str], ...] = field(default=())

    @property
    def id(self) -> uuid.UUID:
        return uuid.uuid5(_NAMESPACE, f"site/{self.organization.name}/{self.name}")


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """A type of machine; for the limits see `services.alerts.limits`."""

    id: str
    name: str
    profile: str
    limits: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class PlacedDevice:
    """A device that is accepted and stands at a site."""

    device_id: str
    label: str
    model: DeviceModel
    site: Site


def add_sites(connection: psycopg.Connection[Any], sites: Iterable[Site]) -> None:
    """Add sites and their organizations."""
    with translate():
        for site in sites:
            owner = site.organization
            connection.execute(
                "insert into organization (id, name, kind) values (%s, %s, %s) on conflict do nothing",
                (owner.id, owner.name, owner.kind),
            )
            connection.execute(
                "insert into site "
                "(id, organization_id, name, time_zone, opening_hours, holidays, altitude_m, contacts) "
                "values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
                (
                    site.id,
                    owner.id,
                    site.name,
                    site.time_zone,
                    json.dumps(dict(site.opening_hours)),
                    json.dumps(site.holidays),
                    site.altitude_m,
                    json.dumps([dict(contact) for contact in site.contacts]),
                ),
            )


def add_device_models(connection: psycopg.Connection[Any], models: Iterable[DeviceModel]) -> None:
    with translate():
        for model in models:
            connection.execute(
                "insert into device_model (id, name, profile, limits) values (%s, %s, %s, %s) on conflict do nothing",
                (model.id, model.name, model.profile, json.dumps(dict(model.limits))),
            )


def place_devices(connection: psycopg.Connection[Any], devices: Iterable[PlacedDevice], *, from_at: datetime) -> None:
    """Register devices as active and place them, unless they stand somewhere already. Their models and sites exist."""
    with translate():
        for each in devices:
            connection.execute(
                "insert into device (device_id, label, state, model_id) values (%s, %s, 'active', %s) "
                "on conflict do nothing",
                (each.device_id, each.label, each.model.id),
            )
            connection.execute(
                "insert into placement (id, device_id, organization_id, site_id, from_at) "
                "select %s, id, %s, %s, %s from device where device_id = %s on conflict do nothing",
                (
                    uuid.uuid5(_NAMESPACE, f"placement/{each.device_id}"),
                    each.site.organization.id,
                    each.site.id,
                    from_at,
                    each.device_id,
                ),
            )


def drop_api_keys(connection: psycopg.Connection[Any], name: str) -> None:
    """Withdraw the API keys of that name, as a demo does with those of the one before."""
    with translate():
        connection.execute("delete from api_key where name = %s", (name,))
