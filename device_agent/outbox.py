"""The outbox: the device's log on its own disk. What it confirms survives a power cut until the server has it.

One connection, one lock: the recorder appends, the publisher takes and settles. Encoding happens before, once.
"""

import logging
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dermafleet.contracts.envelope import Position
from dermafleet.contracts.ranges import NOTHING, Range, RangeSet
from dermafleet.contracts.records import OPENED
from device_agent import eviction
from device_agent.clock import Clock, Instant, anchor_of
from device_agent.entries import CLOCK_FLOOR, NO_FACTS, Backlog, Entry, Facts, NewEntry, event_entry
from device_agent.outbox_file import (
    BrokenOutbox,
    affordable_bytes,
    find_files,
    make_folder,
    open_existing,
    open_file,
    storage_error,
)

log = logging.getLogger(__name__)

PENDING, ACKED, REFUSED = 0, 1, 2

_PAGE_BYTES = 4096
_RESERVE_PAGES = 64
"""Beyond SQLite's own limit for appending; an ack moves an index entry, which may take a new page."""
_MIN_EVICTED_SHARE = 100
"""Evict at least 1/100 of the budget at a time: otherwise every append at the limit would evict, and announce it."""

_EVICTION_EVERY_MS = 60_000


class Outbox:
    """An open outbox. Every start of the agent opens it once and begins a new epoch in it.

    Once its file proves to be damaged or deleted, every call raises `BrokenOutbox`: it must not confirm what it may not
    give back.
    """

    def __init__(self, connection: sqlite3.Connection, *, budget_bytes: int, keep_acked_ms: int) -> None:
        """Use `open_outbox`."""
        self._connection = connection
        self._lock = threading.RLock()
        self._broken: BrokenOutbox | None = None
        self._quota_pages = connection.execute("pragma max_page_count").fetchone()[0]
        self._budget_bytes = budget_bytes
        self._keep_acked_ms = keep_acked_ms
        self._in_flight: set[int] = set()
        self._announced: dict[str, RangeSet] = {}
        self._evicted_at = 0
        self._life = 0
        self._head = 0
        self.epoch = ""
        self._path: Path | None = None
        self._files: tuple[tuple[int, int], ...] = ()

    def append(self, entries: Sequence[NewEntry], now: Instant, facts: Facts = NO_FACTS) -> list[Position]:
        """Number, store and fsync entries in one transaction; evicts older ones when the budget is reached.

        ``facts`` are remembered in the same transaction, so that they agree with the entries after a power cut.

        Returns:
            their positions, in order: from here on they survive a power cut.

        Raises:
            TransientError: the disk is full or failing; nothing was stored, and the numbers are not used up.
        """
        with self._access():
            try:
                positions = self._append(entries, now, facts)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_FULL:
                    raise
                self._append([], now, NO_FACTS, spare_bytes=self._budget_bytes // 10)
                positions = self._append(entries, now, facts)
            if self._path is not None and find_files(self._path) != self._files:
                raise BrokenOutbox(f"{self._path}: the outbox was replaced by another file")
            return positions

    def take(self, count: int, payload_bytes: int, *, only_fitting: bool) -> list[Entry]:
        """The oldest pending entries not in flight, now in flight: they stay on disk until they are settled.

        As many as fit ``payload_bytes``, at most ``count``; the first whatever its size unless ``only_fitting``.
        """
        with self._access():
            rows = self._connection.execute(
                "select e.id, l.epoch, e.seq, e.kind, e.raw, l.head, l.boot, l.anchor"
                " from (select id from entry where state = 0 order by id limit ?) as oldest"
                " join entry e using (id) join life l using (life) order by e.id",
                (count + len(self._in_flight),),
            )
            taken: list[Entry] = []
            for row in rows:
                entry = Entry(*row)
                if entry.id in self._in_flight:
                    continue
                payload_bytes -= len(entry.raw)
                if len(taken) == count or (payload_bytes < 0 and (taken or only_fitting)):
                    break
                taken.append(entry)
            rows.close()
            self._in_flight.update(entry.id for entry in taken)
            return taken

    def read(self, entry_id: int) -> Entry | None:
        """One entry, to send it again."""
        with self._access():
            row = self._connection.execute(
                "select e.id, l.epoch, e.seq, e.kind, e.raw, l.head, l.boot, l.anchor"
                " from entry e join life l using (life) where e.id = ?",
                (entry_id,),
            ).fetchone()
        return Entry(*row) if row else None

    def settle(self, acked: Iterable[int], refused: Iterable[int], now: Instant) -> None:
        """Note what the server has committed or refused, by id. Lost in a power cut, it is only sent again."""
        answers = [(ACKED, now.at, i) for i in acked] + [(REFUSED, now.at, i) for i in refused]
        with self._lock:
            self._in_flight.difference_update(entry_id for _, _, entry_id in answers)
            with self._transaction(durable=False) as connection:
                connection.executemany("update entry set state = ?, acked_at = ? where id = ?", answers)

    def want(self, epoch: str, ranges: Sequence[Range], now: Instant) -> None:
        """Make settled entries pending again; announce what is no longer on disk as dropped, once per start."""
        with self._access():
            life = self._connection.execute("select life, head from life where epoch = ?", (epoch,)).fetchone()
            wanted = RangeSet(ranges)
            on_disk = NOTHING
            if life is not None:
                wanted = wanted - RangeSet([(life[1] + 1, 2**53)])
                on_disk = self._reopen(life[0], wanted)
            known = self._announced.get(epoch, NOTHING)
            gone = wanted - on_disk - known
            if gone:
                self._announced[epoch] = known | gone
                self.append([event_entry("dropped", now, {"ranges": {epoch: gone.ranges}})], now)

    def low(self) -> Position:
        """The oldest entry on disk, or the next number if there is none."""
        with self._access():
            row = self._connection.execute(
                "select epoch, seq from entry join life using (life) order by id limit 1"
            ).fetchone()
        return (row[0], row[1]) if row else (self.epoch, self._head + 1)

    def head(self) -> Position:
        """The newest entry of this start."""
        return self.epoch, self._head

    def has_pending(self) -> bool:
        with self._access():
            return self._connection.execute("select 1 from entry where state = 0 limit 1").fetchone() is not None

    def backlog(self) -> Backlog:
        """Count what is pending; reads an index over all of it, so for a person's question, not for a loop."""
        with self._access():
            count, size, oldest = self._connection.execute(
                "select count(*), coalesce(sum(bytes), 0), min(appended_at) from entry where state = 0"
            ).fetchone()
            refused = self._connection.execute("select count(*) from entry where state = 2").fetchone()[0]
        return Backlog(count, size, oldest, refused)

    def list_entries(self, limit: int = 1000) -> dict[str, Any]:  # a JSON document for people
        """How many entries there are in all, and the newest of them, oldest first, without their content."""
        with self._access():
            total = self._connection.execute("select count(*) from entry").fetchone()[0]
            rows = self._connection.execute(
                "select epoch, seq, kind, bytes, appended_at, state from entry join life using (life)"
                " order by id desc limit ?",
                (limit,),
            ).fetchall()
        states = ("pending", "acked", "refused")
        entries = [
            {"epoch": e, "seq": s, "kind": k, "bytes": b, "appended_at": at, "state": states[state]}
            for e, s, k, b, at, state in reversed(rows)
        ]
        return {"total": total, "entries": entries}

    def last_telemetry(self) -> bytes | None:
        """The newest telemetry entry of the epochs before this one."""
        with self._access():
            row = self._connection.execute(
                "select raw from entry where kind = 'telemetry' and life < ? order by id desc limit 1", (self._life,)
            ).fetchone()
        return bytes(row[0]) if row else None

    def recall(self, name: str) -> str | None:
        """A remembered fact about this device."""
        with self._access():
            row = self._connection.execute("select value from meta where name = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    def remember(self, facts: Facts, *, durable: bool = False) -> None:
        """Remember facts (value None: forget it); durable = fsync before returning.

        Raises:
            TransientError: the disk is full or failing.
        """
        with self._transaction(durable=durable):
            self._set_facts(facts)

    def note_anchor(self, now: Instant) -> None:
        """Keep the anchor of the running boot, so that entries from before the clock was set can be dated."""
        anchor = anchor_of(now)
        if anchor is not None:
            with self._transaction(durable=False) as connection:
                connection.execute("update life set anchor = ? where boot = ? and anchor is null", (anchor, now.boot))

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _begin_epoch(self, now: Instant) -> None:
        """Start a new epoch with its entry 1; the numbers of the one before are never continued."""
        with self._access(), self._raw_transaction() as connection:
            previous = connection.execute("select epoch, head from life order by life desc limit 1").fetchone()
            connection.execute(
                "delete from life where life not in (select life from entry) and life < (select max(life) from life)"
            )
            self.epoch = secrets.token_hex(8)
            cursor = connection.execute(
                "insert into life (epoch, boot, anchor) values (?, ?, ?)", (self.epoch, now.boot, anchor_of(now))
            )
            assert cursor.lastrowid is not None
            self._life = cursor.lastrowid
            self._insert([event_entry(OPENED, now, {"previous": previous})], now)
        self._head = 1

    def _show_newest_epoch(self) -> None:
        row = self._connection.execute("select epoch, head from life order by life desc limit 1").fetchone()
        self.epoch, self._head = row or ("", 0)

    def _append(
        self, entries: Sequence[NewEntry], now: Instant, facts: Facts, *, spare_bytes: int = 0
    ) -> list[Position]:
        with self._raw_transaction():
            needed = spare_bytes + sum(len(entry.raw) for entry in entries)
            dropped = self._make_room(needed, now)
            self._insert([*dropped, *entries], now)
            self._set_facts(facts)
        first = self._head + len(dropped) + 1
        self._head = first + len(entries) - 1
        return [(self.epoch, first + i) for i in range(len(entries))]

    def _insert(self, batch: Sequence[NewEntry], now: Instant) -> None:
        """Number and store entries; the caller moves the head after its commit."""
        self._connection.executemany(
            "insert into entry (life, seq, kind, raw, bytes, appended_at) values (?, ?, ?, ?, ?, ?)",
            [(self._life, self._head + 1 + i, e.kind, e.raw, len(e.raw), now.at) for i, e in enumerate(batch)],
        )
        head = self._head + len(batch)
        self._connection.execute("update life set head = ? where life = ?", (head, self._life))

    def _set_facts(self, facts: Facts) -> None:
        for name, value in facts.items():
            self._connection.execute("delete from meta where name = ?", (name,))
            if value is not None:
                self._connection.execute("insert into meta values (?, ?)", (name, value))

    def _make_room(self, needed_bytes: int, now: Instant) -> list[NewEntry]:
        """Forget acked entries past their time and keep within the budget; the ``dropped`` event to append, if any."""
        connection = self._connection
        if now.at - self._evicted_at > _EVICTION_EVERY_MS:
            self._evicted_at = now.at
            eviction.delete_acked_before(connection, now.at - self._keep_acked_ms)
        over = self._used_bytes() + needed_bytes - self._budget_bytes
        if over <= 0:
            return []
        dropped = eviction.evict(connection, max(over, self._budget_bytes // _MIN_EVICTED_SHARE), self._in_flight)
        if not dropped:
            return []
        log.warning(
            "the outbox reached its budget: %d entries that the server does not have were dropped",
            sum(map(len, dropped.values())),
        )
        return [event_entry("dropped", now, {"ranges": {epoch: gone.ranges for epoch, gone in dropped.items()}})]

    def _used_bytes(self) -> int:
        pages = self._connection.execute("pragma page_count").fetchone()[0]
        free = self._connection.execute("pragma freelist_count").fetchone()[0]
        return int(pages - free) * _PAGE_BYTES

    def _reopen(self, life: int, wanted: RangeSet) -> RangeSet:
        """Make the settled ones among the wanted entries pending; returns all of the wanted that are on disk."""
        on_disk: list[int] = []
        with self._transaction(durable=False) as connection:
            for first, last in wanted.ranges:
                connection.execute(
                    "update entry set state = 0, acked_at = null where life = ? and seq between ? and ? and state <> 0",
                    (life, first, last),
                )
                on_disk += (
                    row[0]
                    for row in connection.execute(
                        "select seq from entry where life = ? and seq between ? and ?", (life, first, last)
                    )
                )
        return RangeSet.of(on_disk)

    @contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[sqlite3.Connection]:
        """A transaction of bookkeeping: it may use a reserve, because a full outbox is emptied by what it notes."""
        run = self._connection.execute
        with self._access():
            try:
                run(f"pragma max_page_count = {self._quota_pages + _RESERVE_PAGES}")
                run(f"pragma synchronous = {'full' if durable else 'normal'}")
                with self._raw_transaction() as connection:
                    yield connection
            finally:
                run("pragma synchronous = full")
                run(f"pragma max_page_count = {self._quota_pages}")

    @contextmanager
    def _access(self) -> Iterator[None]:
        """The connection for this thread alone; errors of SQLite leave it as errors of ours."""
        with self._lock:
            if self._broken is not None:
                raise self._broken
            try:
                yield
            except BrokenOutbox as error:
                self._broken = error
                raise
            except sqlite3.Error as error:
                ours = storage_error(error)
                self._broken = ours if isinstance(ours, BrokenOutbox) else None
                raise ours from error

    @contextmanager
    def _raw_transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("begin immediate")
        try:
            yield self._connection
            self._connection.execute("commit")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
            raise


def open_outbox(path: Path, clock: Clock, *, budget_bytes: int, keep_acked_ms: int) -> Outbox:
    """Open the outbox, tell the clock its floor, and begin a new epoch.

    Raises:
        SettingError: the file cannot be used by this process.
        TransientError: the disk is full or failing.
    """
    make_folder(path.parent)
    budget = affordable_bytes(path, budget_bytes)
    connection, replaced = open_file(path, budget)
    outbox = Outbox(connection, budget_bytes=budget, keep_acked_ms=keep_acked_ms)
    floor = outbox.recall(CLOCK_FLOOR)
    if floor is not None and floor.isdigit():
        clock.raise_floor(int(floor))
    now = clock.now()
    outbox._begin_epoch(now)
    outbox._path, outbox._files = path, find_files(path)
    if replaced is not None:
        outbox.append([event_entry("outbox_replaced", now, {"reason": replaced[:200]})], now)
    return outbox


def open_to_read(path: Path) -> Outbox:
    """Look into the outbox of an agent that is not running; begins no epoch.

    Raises:
        SettingError: there is none, it cannot be read, or an agent holds it.
    """
    outbox = Outbox(open_existing(path), budget_bytes=0, keep_acked_ms=0)
    outbox._show_newest_epoch()
    return outbox
