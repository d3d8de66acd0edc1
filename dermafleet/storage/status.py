"""The latest status of each device."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from datetime import datetime

from psycopg.types.json import Jsonb

from dermafleet.storage.ledger import Connection, add_change


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """One row of `device_status`; what its fields mean is told there and in `dermafleet.contracts.status`."""

    connection: int
    n: int | None
    online: bool
    received_at: datetime
    changed_at: datetime
    state: str | None = None
    boot: str | None = None
    head_epoch: str | None = None
    head_seq: int | None = None
    latest: Mapping[str, float | None] = field(default_factory=dict)
    latest_at: datetime | None = None
    agent: str | None = None


_COLUMNS = tuple(f.name for f in fields(Presence))


def read_presence(connection: Connection, devices: Iterable[int]) -> dict[int, Presence]:
    """The stored status of each of these (locked) devices; one that never told any is absent."""
    rows = connection.execute(
        f"select device_id, {', '.join(_COLUMNS)} from device_status where device_id = any(%s)",  # noqa: S608
        [list(devices)],
    )
    return {device: Presence(**dict(zip(_COLUMNS, values, strict=True))) for device, *values in rows}


def write_presence(connection: Connection, rows: Sequence[tuple[int, Presence]]) -> None:
    """Store the status of locked devices."""
    with connection.cursor() as cursor:
        cursor.executemany(_WRITE, [(device, *_values(presence)) for device, presence in rows])


def tell_presence(connection: Connection, device: int, presence: Presence) -> None:
    """Put a change of presence or activity into the feed."""
    add_change(connection, "device", device, {"online": presence.online, "state": presence.state})


_WRITE = f"""
    insert into device_status (device_id, {", ".join(_COLUMNS)})
    values (%s{", %s" * len(_COLUMNS)})
    on conflict (device_id) do update set {", ".join(f"{c} = excluded.{c}" for c in _COLUMNS)}
    """  # noqa: S608  # names of our own columns


def _values(presence: Presence) -> list[object]:
    return [
        Jsonb(value) if name == "latest" else value for name, value in zip(_COLUMNS, astuple(presence), strict=True)
    ]
