"""The embedded PostgreSQL where it tends to fail: as root, in odd folders, after a crash."""

import os
import signal
import socket
import stat
import time
from pathlib import Path

import psycopg
import pytest

from dermafleet.embedded.postgres import Cluster, embedded_bin_dir, ensure_database, open_cluster
from dermafleet.embedded.processes import Process
from dermafleet.embedded.program import Child
from dermafleet.errors import PermanentError

LONG = "a folder with spaces and more letters than a socket address holds/" * 3


@pytest.mark.parametrize("name", ["with space", "ünïcode", LONG], ids=["space", "letters", "long"])
def test_server_runs_in_any_folder(tmp_path: Path, name: str) -> None:
    cluster = open_cluster(tmp_path / name, durable=False)
    with Child(cluster.program, tmp_path / "log"):
        ensure_database(cluster)
        ensure_database(cluster)
        with psycopg.connect(cluster.url()) as connection:
            row = connection.execute("select current_setting('server_encoding'), version()").fetchone()
    assert row is not None
    assert row[0] == "UTF8"
    assert row[1].startswith("PostgreSQL 18.")


def test_folders_stay_closed_to_others(tmp_path: Path) -> None:
    parent = tmp_path / "private"
    parent.mkdir(mode=0o700)
    before = {each: each.stat() for each in (*parent.parents, parent)}
    cluster = open_cluster(parent / "server", durable=False)
    with Child(cluster.program, tmp_path / "log") as child:
        assert not [each for each, old in before.items() if (old.st_mode, old.st_uid) != _owner(each)]
        assert _mode(cluster.folder) == _mode(cluster.data) == 0o700
        assert _mode(cluster.folder / "password") == 0o600
        assert Path(f"/proc/{child.pid}/status").read_text().startswith("Name:\tpostgres")


def test_server_demands_the_password_and_listens_on_loopback_only(tmp_path: Path) -> None:
    cluster = open_cluster(tmp_path / "server", durable=False)
    with Child(cluster.program, tmp_path / "log") as child:
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(cluster.url("postgres").replace(cluster.password, "wrong"))
        with psycopg.connect(cluster.url("postgres")) as connection:
            row = connection.execute("show unix_socket_directories").fetchone()
        assert row == ("",)
        assert _listening_addresses(child.pid) == {"0100007F"}


def test_data_survives_a_kill_of_the_server(tmp_path: Path) -> None:
    cluster = open_cluster(tmp_path / "server")
    with Child(cluster.program, tmp_path / "log") as child:
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
            connection.execute("create table kept (n int)")
            connection.execute("insert into kept values (1)")
        child.kill()
        assert (cluster.data / "postmaster.pid").exists()
        child.start()
        with psycopg.connect(cluster.url("postgres")) as connection:
            assert connection.execute("select n from kept").fetchone() == (1,)


def test_pid_file_naming_another_process_does_not_stop_the_start(tmp_path: Path) -> None:
    cluster = open_cluster(tmp_path / "server", durable=False)
    with Child(cluster.program, tmp_path / "log"):
        text = (cluster.data / "postmaster.pid").read_text()
    stale = "\n".join([str(os.getppid()), *text.split("\n")[1:]])
    (cluster.data / "postmaster.pid").write_text(stale)
    with Child(cluster.program, tmp_path / "log"), psycopg.connect(cluster.url("postgres")):
        pass
    assert Process.find(os.getppid()) is not None


def test_orphaned_server_is_ended_before_the_next_starts(tmp_path: Path) -> None:
    cluster = open_cluster(tmp_path / "server")
    orphan = Child(cluster.program, tmp_path / "log")
    orphan.start()
    known = Process.find(orphan.pid)
    assert known is not None
    with Child(cluster.program, tmp_path / "log"):
        assert not known.is_alive()
    orphan.stop()


def test_interrupted_initdb_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "server" / "data.unfinished" / "base").mkdir(parents=True)
    cluster = open_cluster(tmp_path / "server", durable=False)
    with Child(cluster.program, tmp_path / "log"):
        pass


def test_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    cluster = open_cluster(tmp_path / "server", durable=False)
    (cluster.data / "PG_VERSION").write_text("16\n")
    with pytest.raises(PermanentError, match="PostgreSQL 16, not 18"):
        open_cluster(tmp_path / "server")


def test_fast_stop_ends_open_connections(tmp_path: Path) -> None:
    cluster = open_cluster(tmp_path / "server", durable=False)
    child = Child(cluster.program, tmp_path / "log")
    child.start()
    connection = psycopg.connect(cluster.url("postgres"))
    started = time.monotonic()
    child.stop()
    assert time.monotonic() - started < 3
    connection.close()


def test_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    cluster = open_cluster(tmp_path / "server", durable=False)
    with socket.socket() as other:
        other.bind(("127.0.0.1", cluster.port))
        other.listen()
        with pytest.raises(PermanentError, match="could not bind"):
            Child(cluster.program, tmp_path / "log").start()


def test_binaries_come_from_the_wheel() -> None:
    assert (embedded_bin_dir() / "initdb").exists()


def test_process_number_given_to_another_is_not_taken_for_the_old_one() -> None:
    me = Process.find(os.getpid())
    assert me is not None
    assert me.is_alive()
    impostor = Process(me.pid, "another boot:1")
    assert not impostor.is_alive()
    impostor.end(signal.SIGKILL, timeout_s=1)  # ends nobody


def _listening_addresses(pid: int) -> set[str]:
    """Local addresses (hex, as the kernel prints them) of the process's listening TCP sockets."""
    sockets = {os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mode, found.st_uid


def test_url_is_quoted(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, tmp_path, 5432, "p@ss/word")
    assert cluster.url("my db") == "postgresql://dermafleet:p%40ss%2Fword@127.0.0.1:5432/my%20db"
