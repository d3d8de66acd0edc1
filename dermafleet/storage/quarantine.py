"""The quarantine: messages refused, whole, each with the reason."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from dermafleet.storage.engine import translate
from dermafleet.storage.ledger import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One message to keep.

    Attributes:
        device_id, epoch, seq: whose entry it is, as far as it could be read.
        field, reason: what is wrong with it.
        payload: as it came, cut at the payload limit; ``payload_bytes`` is its true size.
        hash: with the topic the identity of the message: what repeats is counted, not kept again.
    """

    topic: str
    device_id: str | None
    epoch: str | None
    seq: int | None
    field: str
    reason: str
    payload: bytes
    payload_bytes: int
    hash: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message in quarantine, without its payload."""

    id: int
    device_id: str | None
    topic: str
    epoch: str | None
    seq: int | None
    field: str
    reason: str
    payload_bytes: int
    count: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Choice:
    """Messages in quarantine that fit all of what is given: the reason in part, the age by when they were received."""

    device_id: str | None = None
    reason: str | None = None
    older_than: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes in quarantine: of entries refused by number, and of messages without a usable header."""

    numbered: int
    unnumbered: int


def usage(connection: Connection) -> Usage:
    """How full the quarantine is; reads every row's length, so ask seldom."""
    row = connection.execute(
        """
        select coalesce(sum(octet_length(payload)) filter (where seq is not null), 0),
               coalesce(sum(octet_length(payload)) filter (where seq is null), 0)
        from quarantine
        """
    ).fetchone()
    assert row is not None
    return Usage(int(row[0]), int(row[1]))


def add(connection: Connection, messages: Sequence[Refused]) -> None:
    """Keep messages; one that is there already is counted."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into quarantine as old
              (device_id, topic, epoch, seq, field, reason, payload, payload_bytes, hash, received_at)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            on conflict (topic, hash) do update set count = old.count + 1
            """,
            [
                (
                    _storable(m.device_id),
                    _storable(m.topic),
                    m.epoch,
                    m.seq,
                    _storable(m.field),
                    _storable(m.reason),
                    m.payload,
                    m.payload_bytes,
                    m.hash,
                    m.received_at,
                )
                for m in sorted(messages, key=lambda m: (m.topic, m.hash))
            ],
        )


def list_newest(connection: Connection, choice: Choice, *, limit: int) -> list[Refusal]:
    """At most ``limit`` of the messages chosen, newest first."""
    query = (
        f"select {', '.join(Refusal.__dataclass_fields__)} from quarantine {_CHOSEN} order by id desc limit %(limit)s"  # noqa: S608
    )
    with translate():
        rows = connection.execute(query.encode(), {**asdict(choice), "limit": limit}).fetchall()
    return [Refusal(*row) for row in rows]


def drop(connection: Connection, choice: Choice) -> int:
    """Remove the messages chosen for ever; returns how many. Their entries stay refused."""
    with translate():
        return connection.execute(f"delete from quarantine {_CHOSEN}".encode(), asdict(choice)).rowcount  # noqa: S608


_CHOSEN = """
    where (%(device_id)s::text is null or device_id = %(device_id)s)
      and (%(reason)s::text is null or strpos(reason, %(reason)s) > 0)
      and (%(older_than)s::interval is null or received_at < now() - %(older_than)s)"""


def _storable(text: str | None) -> str | None:
    """Text from outside without what PostgreSQL refuses, at most 500 characters."""
    return None if text is None else text[:500].encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
