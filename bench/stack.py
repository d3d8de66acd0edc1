"""What the benchmarks run on: embedded PostgreSQL and broker, the services as processes, and what they cost."""

import os
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dermafleet.contracts.topics import Topics
from dermafleet.embedded import broker, fleet, parts
from dermafleet.embedded.broker import EmbeddedBroker
from dermafleet.embedded.postgres import Cluster, ensure_database, open_cluster
from dermafleet.embedded.program import Child, Program
from dermafleet.errors import PermanentError
from dermafleet.storage import migrate
from dermafleet.storage.accounts import create_api_key, create_user
from dermafleet.storage.engine import connect

_TICKS = os.sysconf("SC_CLK_TCK")
_EMAIL = "bench@dermafleet.example"


@dataclass(slots=True)
class Stack:
    """Running servers. Everything started through it ends with it.

    Attributes:
        folder: for files; removed at the end.
        children: what runs, by name.
    """

    folder: Path
    cluster: Cluster
    device_ids: Sequence[str]
    children: dict[str, Child] = field(default_factory=dict)
    _ends: ExitStack = field(default_factory=ExitStack)

    @property
    def database_url(self) -> str:
        return self.cluster.url()

    def start(self, program: Program) -> Child:
        """Start a program and wait until it is ready."""
        child = Child(program, self.folder / f"{program.name}.log")
        self.children[program.name] = self._ends.enter_context(child)
        return child

    def start_broker(self) -> EmbeddedBroker:
        """A broker with the users ``ingest``, ``load`` (may act for every device) and one per device."""
        topics = Topics()
        users = [broker.service("ingest", topics), broker.spy("load", topics)]
        server = broker.open_broker(
            self.folder / "broker", [*users, *(broker.device(each, topics) for each in self.device_ids)]
        )
        self.start(server.program)
        return server

    def start_service(self, name: str, **environ: str) -> Child:
        """``ingest`` or ``alerts`` on this database."""
        return self.start(parts.service(name, {"DERMAFLEET_DATABASE_URL": self.database_url, **environ}))

    def start_ingest(self, server: EmbeddedBroker) -> Child:
        return self.start_service("ingest", DERMAFLEET_MQTT_URL=server.url("ingest"))

    def start_api(self) -> tuple[str, str]:
        """The API on a free port; returns its address and a key."""
        with connect(self.database_url) as connection:
            create_user(connection, _EMAIL, os.urandom(12).hex())
            key = create_api_key(connection, _EMAIL, "bench")
        port = parts.choose_api_port(0)
        self.start(parts.api({"DERMAFLEET_DATABASE_URL": self.database_url}, port, key))
        return f"http://{parts.HOST}:{port}/api/v1", key

    def start_machines(self, server: EmbeddedBroker, *options: str, ready: Callable[[], str | None]) -> Child:
        """The simulated machines, one per device."""
        machines = parts.Machines(
            mqtt_urls={each: server.url(each) for each in self.device_ids},
            traits=fleet.traits(fleet.machines(len(self.device_ids), model=fleet.CRYSTAL), seed=1),
            arguments=["simulate", *options],
            once=True,
        )
        return self.start(machines.program(self.folder / "machines", None, ready))

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds used so far, by process; of PostgreSQL with all its children, alive and ended."""
        return {name: _cpu_of_tree(child.pid) for name, child in self.children.items()}


@contextmanager
def running(devices: int) -> Iterator[Stack]:
    """A durable PostgreSQL with our schema and so many devices of the demo, in a folder that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="dermafleet-bench-"))
    try:
        stack = Stack(folder, open_cluster(folder / "postgres"), fleet.device_ids(devices))
        with stack._ends:
            stack.start(stack.cluster.program)
            ensure_database(stack.cluster)
            migrate.upgrade(stack.database_url)
            with connect(stack.database_url) as connection:
                fleet.plant(connection, fleet.machines(devices, model=fleet.CRYSTAL))
            yield stack
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def used(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """CPU seconds between two looks."""
    return {name: after[name] - before.get(name, 0.0) for name in after}


def rss_mb(pid: int) -> float:
    """Memory that a process holds, MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def await_true(condition: Callable[[], bool], *, timeout_s: float, what: str, every_s: float = 0.05) -> None:
    """Wait until a condition holds.

    Raises:
        PermanentError: it does not in time.
    """
    ends_at = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends_at:
            raise PermanentError(f"waited {timeout_s:.0f} s in vain: {what}")
        time.sleep(every_s)


def get(url: str, key: str) -> bytes:
    """The body of a page of the API."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"}), timeout=60) as answer:
        return bytes(answer.read())


def python(name: str, *arguments: str) -> Program:
    """A module of ours as a program."""
    return Program(name=name, argv=(sys.executable, "-m", *arguments), once=True)


def _cpu_of_tree(pid: int) -> float:
    """User and system time of a process, of its ended children and of those that live."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    own = sum(int(ticks) for ticks in fields[11:15]) / _TICKS
    return own + sum(_cpu_of_tree(int(child)) for child in children)
