"""The file under the outbox: its schema, how it is opened, and what happens when it cannot be read."""

import logging
import os
import secrets
import shutil
import sqlite3
from pathlib import Path

from dermafleet.errors import DermafleetError, PermanentError, SettingError, TransientError

log = logging.getLogger(__name__)

FILE_NAME = "outbox.db"

_VERSION = 1
_PAGE_BYTES = 4096
_MIN_BUDGET_BYTES = 1024 * 1024
_KEPT_BROKEN_FILES = 2
_WAL_PAGES = 256
"""Checkpoint at 1 MiB: a small write-ahead log leaves room for deletions on a full disk."""
_CACHE_KIB = 512
"""A small board's memory is for other things; the entries to send are few and next to each other."""

_SCHEMA = """
create table if not exists life (
  life integer primary key autoincrement,
  epoch text not null unique,
  boot text not null,
  anchor integer,
  head integer not null default 0
);
create table if not exists entry (
  id integer primary key autoincrement,
  life integer not null references life,
  seq integer not null,
  kind text not null,
  raw blob not null,
  bytes integer not null,
  appended_at integer not null,
  state integer not null default 0, -- 0 pending, 1 acked, 2 refused
  acked_at integer,
  unique (life, seq)
);
create index if not exists entry_pending on entry (id, bytes, appended_at) where state = 0;
create index if not exists entry_settled on entry (state, id) where state > 0;
create table if not exists meta (name text primary key, value text not null);
"""


class BrokenOutbox(PermanentError):
    """The open file is damaged or deleted: what it takes in may never come out. The next start replaces it."""


class _Unreadable(Exception):
    """The file cannot serve as an outbox."""


def open_file(path: Path, budget_bytes: int) -> tuple[sqlite3.Connection, str | None]:
    """Open or create the outbox file for this process alone.

    A file that cannot be read is moved aside and a new one made: monitoring goes on.

    Returns:
        the connection, and why the file was replaced (None if it was not).

    Raises:
        SettingError: the file cannot be made, another agent holds it, or a newer version wrote it.
        TransientError: the disk is full.
    """
    try:
        return _open(path, budget_bytes), None
    except _Unreadable as error:
        reason = str(error)
    log.error("the outbox cannot be read and is replaced: %s", reason)
    _move_aside(path)
    try:
        return _open(path, budget_bytes), reason
    except _Unreadable as error:
        raise SettingError(f"data_dir: {path}: {error}") from error


def open_existing(path: Path) -> sqlite3.Connection:
    """Open a file that is there, and leave it as it is.

    Raises:
        SettingError: it is not there, cannot be read, or an agent holds it.
    """
    if not path.exists():
        raise SettingError(f"data_dir: {path}: there is no outbox yet")
    try:
        return _open(path, path.stat().st_size)
    except _Unreadable as error:
        raise SettingError(f"data_dir: {path}: {error}") from error


def find_files(path: Path) -> tuple[tuple[int, int], ...]:
    """Which files stand under the names of an open outbox, database and WAL; other ones once somebody deletes them.

    Raises:
        BrokenOutbox: one of them is gone.
    """
    try:
        found = [path.stat(), path.with_name(path.name + "-wal").stat()]
    except OSError as error:
        raise BrokenOutbox(f"{error.filename}: the outbox was removed: {error.strerror}") from error
    return tuple((file.st_dev, file.st_ino) for file in found)


def make_folder(folder: Path) -> None:
    """Make the data folder, for this user alone.

    Raises:
        SettingError: it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"data_dir: {folder}: {error.strerror}") from error


def affordable_bytes(path: Path, budget_bytes: int) -> int:
    """The budget, or less where the disk has less than twice that to spare for the outbox."""
    used = path.stat().st_size if path.exists() else 0
    free = shutil.disk_usage(path.parent).free + used
    return max(min(budget_bytes, free // 2), _MIN_BUDGET_BYTES)


def _open(path: Path, budget_bytes: int) -> sqlite3.Connection:
    try:
        # Ours alone; SQLite gives its other files the same mode.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(path, timeout=0.2, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise _Unreadable(str(error)) from error
    try:
        _configure(connection, budget_bytes)
        return connection
    except sqlite3.Error as error:
        connection.close()
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise SettingError(f"data_dir: {path} is in use by another agent") from error
        if code == sqlite3.SQLITE_FULL:
            raise storage_error(error) from error
        raise _Unreadable(str(error)) from error
    except BaseException:
        connection.close()
        raise


def _configure(connection: sqlite3.Connection, budget_bytes: int) -> None:
    run = connection.execute
    run(f"pragma page_size = {_PAGE_BYTES}")
    # Exclusive before WAL: no shared memory, and no second connection that could race a checkpoint.
    run("pragma locking_mode = exclusive")
    run("pragma journal_mode = wal")
    run("pragma synchronous = full")
    run(f"pragma wal_autocheckpoint = {_WAL_PAGES}")
    run(f"pragma cache_size = -{_CACHE_KIB}")
    run(f"pragma journal_size_limit = {_WAL_PAGES * _PAGE_BYTES}")
    # A tenth above the budget: evicting starts at the budget, so SQLite's own limit is the second line.
    run(f"pragma max_page_count = {budget_bytes * 11 // 10 // _PAGE_BYTES + 64}")
    verdict = run("pragma quick_check(1)").fetchone()
    if verdict != ("ok",):
        raise _Unreadable(f"quick_check: {verdict[0] if verdict else 'no answer'}")
    version = run("pragma user_version").fetchone()[0]
    if version > _VERSION:
        raise SettingError(f"data_dir: the outbox was written by a newer agent (version {version}, not {_VERSION})")
    if version < _VERSION:
        # One transaction: a new file costs one fsync, and a power cut leaves none half made.
        connection.executescript(f"begin; {_SCHEMA} pragma user_version = {_VERSION}; commit;")


def _move_aside(path: Path) -> None:
    """Keep the broken file for a person to look at, the newest two only."""
    name = f"{path.name}.broken-{secrets.token_hex(4)}"
    try:
        for suffix in ("-wal", "-shm", ""):
            source = path.with_name(path.name + suffix)
            if source.exists():
                source.rename(path.with_name(name + suffix))
        broken = sorted(path.parent.glob(f"{path.name}.broken-????????"), key=lambda f: f.stat().st_mtime)
        for old in broken[:-_KEPT_BROKEN_FILES]:
            for file in path.parent.glob(old.name + "*"):
                file.unlink() if file.is_file() else shutil.rmtree(file)
    except OSError as error:
        raise SettingError(f"data_dir: {path} cannot be read nor moved aside: {error.strerror}") from error


def storage_error(error: sqlite3.Error) -> DermafleetError:
    """What the rest of the agent sees: a disk that fails may work again later, a damaged file will not."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return BrokenOutbox(f"outbox: {error}; it is replaced at the next start")
    return TransientError(f"outbox: {error}")
