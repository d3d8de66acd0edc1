"""Rows for tests that read: put into the database as ingest and alerts would, without either of them."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from dermafleet.contracts.channels import CHANNEL_BY_NAME
from dermafleet.storage.accounts import create_api_key, create_user

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
"""The time that tests of decisions pass in."""

EPOCH = "00000000000000aa"
EMAIL = "service@example.org"
PASSWORD = "correct horse battery"

Values = Sequence[float | None]


@dataclass
class Builder:
    """Adds rows and commits each. Ids of devices are the internal ones."""

    connection: psycopg.Connection[Any]
    seqs: dict[int, int] = field(default_factory=dict)

    def user(self, email: str = EMAIL, password: str = PASSWORD, role: str = "admin") -> uuid.UUID:
        created = create_user(self.connection, email, password, role=role)
        self.connection.commit()
        return created

    def key(self, email: str = EMAIL, expires_at: datetime | None = None) -> str:
        created = create_api_key(self.connection, email, "test", expires_at=expires_at)
        self.connection.commit()
        return created

    def model(self, id: str = "crystal-m1", profile: str = "full") -> str:
        self._do(
            "insert into device_model (id, name, profile, limits) values (%s, %s, %s, '{\"filter_dp_kpa\": 5}')"
            " on conflict do nothing",
            (id, id.title(), profile),
        )
        return id

    def device(self, device_id: str = "D-1", *, state: str = "active", model: str | None = None) -> int:
        return int(
            self._one(
                "insert into device (device_id, label, state, model_id) values (%s, %s, %s, %s) returning id",
                (device_id, f"SN {device_id}", state, model),
            )
        )

    def id_of(self, device_id: str) -> int:
        return int(self._one("select id from device where device_id = %s", (device_id,)))

    def devices(self, count: int) -> list[str]:
        """Many devices at once, in no order; returns their ids."""
        ids = [f"D-{(i * 7919) % count:06d}" for i in range(count)]
        with (
            self.connection.cursor() as cursor,
            cursor.copy("copy device (device_id, label, state) from stdin") as copy,
        ):
            for device_id in ids:
                copy.write_row((device_id, device_id, "active"))
        self.connection.commit()
        return ids

    def place(self, device: int, site: str = "Lyon", zone: str = "Europe/Paris") -> None:
        organization = self._one(
            "insert into organization (id, name, kind) values (%s, %s, 'clinic_owner') returning id",
            (uuid.uuid4(), f"Owner of {site}"),
        )
        placed = self._one(
            "insert into site (id, organization_id, name, time_zone) values (%s, %s, %s, %s) returning id",
            (uuid.uuid4(), organization, site, zone),
        )
        self._do(
            "insert into placement (id, device_id, organization_id, site_id, from_at) values (%s, %s, %s, %s, %s)",
            (uuid.uuid4(), device, organization, placed, NOW - timedelta(days=30)),
        )

    def status(
        self,
        device: int,
        *,
        online: bool = True,
        received_at: datetime = NOW,
        state: str | None = "ready",
        latest: Mapping[str, float | None] | None = None,
        latest_at: datetime | None = None,
        head: tuple[str, int] | None = None,
    ) -> None:
        self._do(
            "insert into device_status (device_id, connection, n, online, received_at, changed_at, state, latest,"
            " latest_at, head_epoch, head_seq, agent) values (%s, 1, 1, %s, %s, %s, %s, %s, %s, %s, %s, '1.0')",
            (device, online, received_at, received_at, state, Jsonb(latest or {}), latest_at, *(head or (None, None))),
        )

    def samples(
        self,
        device: int,
        at: Sequence[datetime],
        channels: Mapping[str, Values],
        *,
        epoch: str = EPOCH,
        received_at: datetime = NOW,
    ) -> int:
        """One telemetry entry; channels that the registry does not know go into ``extra``. Returns its number."""
        entry = self.entry(device, at[0], at[-1], len(at), epoch=epoch, received_at=received_at)
        known = [name for name in channels if name in CHANNEL_BY_NAME]
        columns = ", ".join(["device_id", "event_at", "entry", "extra", *known])
        with self.connection.cursor() as cursor, cursor.copy(f"copy telemetry ({columns}) from stdin") as copy:
            for i, when in enumerate(at):
                extra = {name: values[i] for name, values in channels.items() if name not in known}
                values = [channels[name][i] for name in known]
                copy.write_row((device, when, entry, Jsonb(extra) if extra else None, *values))
        self.connection.commit()
        return entry

    def entry(
        self,
        device: int,
        first_at: datetime,
        last_at: datetime,
        samples: int,
        *,
        epoch: str = EPOCH,
        received_at: datetime = NOW,
    ) -> int:
        seq = self.seqs[device] = self.seqs.get(device, 0) + 1
        sql = (
            "insert into log_entry (device_id, epoch, seq, entry, kind, hash, boot, up, time_source, first_at, last_at,"
            " received_at, stored_at, samples, late)"
            " values (%s, %s, %s, nextval('entry_number'), 'telemetry', %s, 'boot', 0, 'device', %s, %s, %s, %s, %s,"
            " false) returning entry"
        )
        hash = hashlib.sha256(str(seq).encode()).digest()[:16]
        row = (device, epoch, seq, hash, first_at, last_at, received_at, received_at, samples)
        found = self.connection.execute(sql, row).fetchone()
        assert found is not None
        return int(found[0])

    def log(self, device: int, columns: Mapping[str, object], *, epoch: str = EPOCH, number: int = 1) -> None:
        """One epoch's ledger. Ranges are given as PostgreSQL writes them: ``{[3,5)}``."""
        names = ["device_id", "epoch", "number", *columns]
        places = ", ".join(["%s"] * len(names))
        self._do(
            f"insert into device_log ({', '.join(names)}) values ({places})",
            (device, epoch, number, *columns.values()),
        )

    def alarm(
        self,
        device: int,
        *,
        raised_at: datetime = NOW,
        standing: str = "raised",
        severity: int = 2,
        fault: str = "filter_clogged",
        component: str = "main",
        detail: Mapping[str, object] | None = None,
    ) -> uuid.UUID:
        id = uuid.uuid4()
        cleared_at = raised_at + timedelta(hours=1) if standing in ("cleared", "closed") else None
        self._do(
            "insert into alarm (id, device_id, component, fault, severity, standing, confidence, raised_at, last_at,"
            " cleared_at, detector, detector_version, detail)"
            " values (%s, %s, %s, %s, %s, %s, 0.9, %s, %s, %s, 'filter_clogged', 1, %s)",
            (
                id,
                device,
                component,
                fault,
                severity,
                standing,
                raised_at,
                raised_at,
                cleared_at,
                Jsonb(dict(detail or {})),
            ),
        )
        self._do(
            "insert into alarm_event (alarm_id, transition, event_at, actor, reason)"
            " values (%s, 'raised', %s, 'detector', 'at 84 %% of the rated limit')",
            (id, raised_at),
        )
        return id

    def session(
        self,
        device: int,
        session_id: str,
        *,
        started_at: datetime | None,
        last_at: datetime,
        ended: bool = True,
        purpose: str = "treatment",
    ) -> None:
        self._do(
            "insert into session (device_id, session_id, started_at, last_at, ended_at, outcome, purpose, pump_s,"
            " strokes) values (%s, %s, %s, %s, %s, %s, %s, 60, 12)",
            (
                device,
                session_id,
                started_at,
                last_at,
                last_at if ended else None,
                "completed" if ended else None,
                purpose,
            ),
        )

    def forecast(self, device: int, *, share_left: float, sessions: tuple[float, float, float]) -> None:
        self._do(
            "insert into forecast (device_id, component, made_at, ratio, share_left, remaining, basis, filters)"
            " values (%s, 'main', now(), 0.4, %s, %s, 'library', 9)",
            (device, share_left, Jsonb({"sessions": sessions, "hours": [2.0, 3.0, 5.0]})),
        )

    def observability(self, device: int, fault: str, *, reason: str = "") -> None:
        """A fault can be seen, or cannot for this reason."""
        self._do(
            "insert into observability (device_id, component, fault, observable, reason, ambiguous_with, since_at)"
            " values (%s, 'main', %s, %s, %s, '[]', now()) on conflict (device_id, component, fault)"
            " do update set observable = excluded.observable, reason = excluded.reason",
            (device, fault, not reason, reason),
        )

    def refusal(self, device_id: str | None, reason: str = "not JSON") -> None:
        payload = uuid.uuid4().bytes
        self._do(
            "insert into quarantine (device_id, topic, epoch, seq, field, reason, payload, payload_bytes, hash,"
            " received_at) values (%s, 'a/topic', %s, 1, 'telemetry', %s, %s, %s, %s, %s)",
            (device_id, EPOCH, reason, payload, len(payload), hashlib.sha256(payload).digest(), NOW),
        )

    def change(self, topic: str, device: int, body: Mapping[str, object] | None = None) -> None:
        self._do(
            "insert into change (topic, device_id, body) values (%s, %s, %s)", (topic, device, Jsonb(dict(body or {})))
        )

    def worker(self, shards: str, *, seen_at: datetime = NOW) -> None:
        self._do(
            "insert into worker (id, kind, shards, seen_at) values (%s, 'ingest', %s, %s)",
            (uuid.uuid4().hex, shards, seen_at),
        )

    def _do(self, sql: str, values: Sequence[object]) -> None:
        self.connection.execute(sql, values)
        self.connection.commit()

    def _one(self, sql: str, values: Sequence[object]) -> Any:  # one value of the table's type
        row = self.connection.execute(sql, values).fetchone()
        self.connection.commit()
        assert row is not None
        return row[0]


def every(seconds: float, count: int, *, until: datetime = NOW) -> list[datetime]:
    """Instants at equal distances, the last one just before ``until``."""
    step = timedelta(seconds=seconds)
    return [until - step * (count - i) for i in range(count)]
