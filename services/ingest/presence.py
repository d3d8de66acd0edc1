"""Which of two status messages is the newer one, and what a device's row says after it. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from dermafleet.contracts.status import Status
from dermafleet.storage.status import Presence
from services.ingest.times import EARLIEST_MS, MAX_AHEAD_MS


def advance(known: Presence | None, reports: Iterable[tuple[Status, datetime]]) -> Presence | None:
    """What is known of a device after more reports, each with its receive time, in any order.

    The pair (connection, n) orders them: older ones and repeats are ignored, so a late will cannot overtake a birth.
    """
    for status, received_at in sorted(reports, key=lambda report: report[0].order):
        if known is None or status.order > _order(known):
            known = _follow(known, status, received_at)
    return known


def is_change(before: Presence | None, after: Presence) -> bool:
    """Whether a page that shows the device looks different now (a heartbeat alone is no change)."""
    return before is None or (before.online, before.state) != (after.online, after.state)


def _order(known: Presence) -> tuple[int, int]:
    return Status(connection=known.connection, n=known.n, online=known.online).order


def _follow(known: Presence | None, status: Status, received_at: datetime) -> Presence:
    is_same = known is not None and known.online == status.online
    changed_at = known.changed_at if known is not None and is_same else received_at
    if status.n is None:  # a last will: it knows nothing but that its connection is gone
        past = known or Presence(connection=0, n=0, online=False, received_at=received_at, changed_at=changed_at)
        return replace(
            past,
            connection=status.connection,
            n=None,
            online=False,
            received_at=received_at,
            changed_at=changed_at,
        )
    return Presence(
        connection=status.connection,
        n=status.n,
        online=status.online,
        received_at=received_at,
        changed_at=changed_at,
        state=status.state,
        boot=status.boot,
        head_epoch=status.head[0] if status.head else None,
        head_seq=status.head[1] if status.head else None,
        latest=status.latest,
        latest_at=_told_at(status.at, received_at) if status.latest else None,
        agent=status.agent,
    )


def _told_at(at_ms: int | None, received_at: datetime) -> datetime:
    """By the device's clock, if it tells a possible time."""
    if at_ms is None or not EARLIEST_MS <= at_ms <= received_at.timestamp() * 1000 + MAX_AHEAD_MS:
        return received_at
    return datetime.fromtimestamp(at_ms / 1000, UTC)
