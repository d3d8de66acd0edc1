"""The register of devices as its operator edits it: list, add, approve, suspend. The caller commits."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg

from dermafleet.contracts.topics import check_segment
from dermafleet.errors import PermanentError
from dermafleet.storage.engine import translate
from dermafleet.storage.ledger import add_change

State = Literal["pending", "active", "suspended", "revoked", "retired"]

_FROM: dict[State, tuple[State, ...]] = {"active": ("pending", "suspended"), "suspended": ("pending", "active")}
"""From which states an operator may move a device; revoked and retired are final here."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A device on the register; times in UTC."""

    device_id: str
    label: str
    state: State
    model: str | None
    created_at: datetime


def list_devices(connection: psycopg.Connection[Any], *, state: str | None = None) -> list[Registered]:
    """All devices, or those in one state, by their id."""
    with translate():
        rows = connection.execute(
            "select device_id, label, state, model_id, created_at from device "
            "where %(state)s::text is null or state = %(state)s order by device_id",
            {"state": state},
        ).fetchall()
    return [Registered(*row) for row in rows]


def add_device(
    connection: psycopg.Connection[Any], device_id: str, *, label: str | None = None, model: str | None = None
) -> None:
    """Register a device before it is first heard of: active at once.

    Raises:
        PermanentError: the id is taken or not usable in a topic, or there is no such model.
    """
    check_segment(device_id, "device id")
    with translate():
        if model is not None and connection.execute("select from device_model where id = %s", (model,)).rowcount == 0:
            raise PermanentError(f"there is no device model {model!r}")
        row = connection.execute(
            "insert into device (device_id, label, state, model_id) values (%s, %s, 'active', %s) "
            "on conflict (device_id) do nothing returning id",
            (device_id, label or device_id, model),
        ).fetchone()
        if row is None:
            raise PermanentError(f"device {device_id} exists already")
        add_change(connection, "device", row[0], {"state": "active"})


def set_state(connection: psycopg.Connection[Any], device_id: str, state: Literal["active", "suspended"]) -> bool:
    """Approve (or resume) or suspend a device. Returns whether that changed anything.

    Raises:
        PermanentError: there is no such device, or its state does not allow it.
    """
    with translate():
        row = connection.execute(
            "select id, state from device where device_id = %s for no key update", (device_id,)
        ).fetchone()
        if row is None:
            raise PermanentError(f"there is no device {device_id}")
        if row[1] == state:
            return False
        if row[1] not in _FROM[state]:
            raise PermanentError(f"device {device_id} is {row[1]}: it cannot become {state}")
        connection.execute("update device set state = %s where id = %s", (state, row[0]))
        add_change(connection, "device", row[0], {"state": state})
    return True
