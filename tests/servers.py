"""Debian's PostgreSQL 15 and Mosquitto 2, started by the tests: what production may bring in place of our own."""

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dermafleet.contracts.topics import Topics
from dermafleet.embedded import broker
from dermafleet.embedded.broker import User, client_url, connection_problem
from dermafleet.embedded.files import write_private
from dermafleet.embedded.program import Program, free_port
from tests.missing import missing

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
DEVICES = [*(f"D-{number:04d}" for number in range(1, 33)), "GUEST-1"]


def users() -> list[User]:
    """The users of every broker under test: `ingest`, `spy` and the devices."""
    topics = Topics()
    return [
        broker.service("ingest", topics),
        broker.spy("spy", topics),
        *(broker.device(each, topics) for each in DEVICES),
    ]


def postgres_15() -> Path:
    """Its folder of binaries; skips the test when it is not installed."""
    if not (POSTGRES_15 / "postgres").exists():
        missing("PostgreSQL 15", "postgresql-15")
    return POSTGRES_15


@dataclass(frozen=True, slots=True)
class Mosquitto:
    """Mosquitto with a password file and an access list, on a free port of the loopback address."""

    folder: Path
    binary: Path
    port: int
    users: Mapping[str, User]

    def url(self, username: str) -> str:
        return client_url(self.port, self.users[username])

    @property
    def program(self) -> Program:
        some = next(iter(self.users.values()))
        return Program(
            name="mosquitto",
            argv=(str(self.binary), "-c", str(self.folder / "mosquitto.conf")),
            ready=lambda: connection_problem(client_url(self.port, some)),
        )


def open_mosquitto(folder: Path, users: Iterable[User]) -> Mosquitto:
    """Write its configuration; skips the test when it is not installed."""
    binary, passwd = _find("mosquitto"), _find("mosquitto_passwd")
    server = Mosquitto(folder, binary, free_port(), broker.by_name(users))
    passwords, access = folder / "passwords", folder / "access"
    write_private(passwords, "".join(f"{user.name}:{user.password}\n" for user in server.users.values()))
    subprocess.run([passwd, "-U", passwords], check=True)
    write_private(access, "\n".join(_access(user) for user in server.users.values()))
    write_private(
        folder / "mosquitto.conf",
        f"listener {server.port} 127.0.0.1\nallow_anonymous false\nuser root\n"
        f"password_file {passwords}\nacl_file {access}\npersistence false\nlog_dest stdout\nset_tcp_nodelay true\n",
    )
    return server


def _access(user: User) -> str:
    rights = [f"topic write {topic}" for topic in user.publish] + [f"topic read {topic}" for topic in user.subscribe]
    return "\n".join((f"user {user.name}", *rights, ""))


def _find(name: str) -> Path:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if found is None:
        missing(name, "mosquitto")
    return Path(found)
