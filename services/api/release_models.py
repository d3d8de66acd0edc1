"""What the API answers about versions of the detectors. As `services.api.models`."""

from datetime import datetime
from typing import Any

from dermafleet.contracts.releases import Mode
from services.api.models import Model


class Release(Model):
    """A version put to work, in shadow or for real."""

    id: int
    version: int
    mode: Mode
    models: list[str]
    """Ids of device models; empty = all."""
    percent: int
    """Of the devices of these models; the same ones at every number."""
    created_at: datetime
    created_by: str
    ended_at: datetime | None
    """Null while it holds. Of those that hold and cover a device the newest one counts, per mode."""


class Releases(Model):
    """Releases, newest first."""

    data: list[Release]


class ShadowReport(Model):
    """What a version in shadow would change."""

    version: int
    report: dict[str, Any]  # a `dermafleet.contracts.releases.ReleaseReport`
